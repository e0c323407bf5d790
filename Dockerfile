# Two images from one file, both with `headrace` as their command:
#   docker build --target service -t headrace-service:0.1.0 .    ingress, notifier, setup and the command
#   docker build --target workers -t headrace-workers:0.1.0 .    the same, and what the workers' domains compute with
# Neither has the embedded stack (`headrace up`).

FROM python:3.12-slim-bookworm AS python

FROM python AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/headrace

FROM build AS wheel
COPY deploy/build.lock /build/
RUN pip install --require-hashes --no-deps -r /build/build.lock
COPY pyproject.toml README.md LICENSE /build/
COPY schemas /build/schemas
COPY ingress /build/ingress
COPY workers /build/workers
COPY notifier /build/notifier
COPY headrace /build/headrace
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheel /build

FROM build AS service-packages
COPY deploy/service.lock /
RUN pip --python /opt/headrace/bin/python install --require-hashes --no-deps --only-binary :all: -r /service.lock
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/headrace/bin/python install --no-deps --no-index /wheel/*.whl

FROM python AS runtime
RUN groupadd --gid 10001 headrace && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin headrace
# Nothing is written but below /tmp: the root file system may be read-only.
ENV PATH=/opt/headrace/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib HF_HOME=/tmp/huggingface \
    HEADRACE_HEALTH_HOST=0.0.0.0 HEADRACE_HEALTH_PORT=8080
# Python looks for modules in the working folder first: it is one that nobody can write.
WORKDIR /opt/headrace
EXPOSE 8080
# With bash alone: the base has no curl, and a Python for each question would cost more than the service when it is idle.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$HEADRACE_HEALTH_PORT && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r status <&3 && [[ $status == *' 200 '* ]]"]
USER 10001:10001
ENTRYPOINT ["headrace"]
CMD ["--help"]

FROM runtime AS service
COPY --from=service-packages /opt/headrace /opt/headrace

FROM build AS workers-packages
COPY deploy/workers.lock /
# The libraries' own tests and C++ headers are a fifth of them.
RUN pip --python /opt/headrace/bin/python install --require-hashes --no-deps --only-binary :all: -r /workers.lock \
 && cd /opt/headrace/lib/python3.12/site-packages \
 && find matplotlib numpy pandas pyarrow scipy sklearn -type d -name tests -prune -exec rm -r {} + \
 && rm -r pyarrow/include
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/headrace/bin/python install --no-deps --no-index /wheel/*.whl

FROM runtime AS workers
COPY --from=workers-packages /opt/headrace /opt/headrace

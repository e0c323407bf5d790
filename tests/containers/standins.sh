#!/bin/sh
# For a machine that can pull nothing but has local images of the same programs under other tags: gives them the versions that
# docker-compose.yml and the tests pin, and makes the schema registry from Maven Central. Grafana stays out: compose.standins.yml.
# Where images can be pulled this is not wanted: it would hide the official ones.
set -eu
cd "$(dirname "$0")/../.."

docker tag postgres:17 postgres:17.6
docker tag chrislusf/seaweedfs:latest chrislusf/seaweedfs:4.48
docker tag prom/prometheus:latest prom/prometheus:v3.5.0

registry=apicurio/apicurio-registry:3.3.3
if ! docker image inspect "$registry" >/dev/null 2>&1; then
  folder=$("${PYTHON:-.venv/bin/python}" -c 'import sys; from tests.support.registry import installed; print(installed(lambda line: print(line, file=sys.stderr)))')
  docker build --tag "$registry" --file - "$folder" <<'DOCKERFILE'
FROM apache/kafka:4.3.1
COPY . /deployments/
ENV QUARKUS_HTTP_HOST=0.0.0.0
CMD ["sh", "-c", "exec java $JAVA_OPTS_APPEND -jar /deployments/quarkus-run.jar"]
DOCKERFILE
fi

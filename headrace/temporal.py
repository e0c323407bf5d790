"""The Temporal client. Connection settings are Temporal's own, so Temporal Cloud works unchanged."""

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RetryConfig

from headrace import payloads, tracing
from headrace.lifecycle import Misconfigured
from headrace.settings import Settings


def runtime(settings: Settings) -> Runtime | None:
    """One that serves the SDK's own metrics, once for a process; None: the SDK's default, which serves none. Raises `Misconfigured`."""
    if settings.temporal_metrics_port == 0:
        return None
    served = PrometheusConfig(
        bind_address=f"{settings.health_host}:{settings.temporal_metrics_port}",
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
    )
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=served))
    except (RuntimeError, ValueError) as error:
        raise Misconfigured(
            f"HEADRACE_TEMPORAL_METRICS_PORT: {served.bind_address} cannot be served ({error}): take a free port"
        ) from error


async def connect(settings: Settings, *, lazy: bool = False, own_retries: bool = True, runtime: Runtime | None = None) -> Client:
    """A connected client, or with `lazy` one that connects at its first call.

    Address and namespace come from the environment or Temporal's own profile file, then from the embedded stack's.
    Without `own_retries` a call fails as soon as the server does not answer or is busy: for callers that see to that themselves.
    Raises `RuntimeError` when the server cannot be reached, and `headrace.settings.SettingsError`.
    """
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", settings.temporal_address)
    config.setdefault("namespace", settings.temporal_namespace)
    retries = None if own_retries else RetryConfig(max_retries=1, max_elapsed_time_millis=100)
    return await Client.connect(
        **config,
        data_converter=payloads.converter(settings),
        lazy=lazy,
        retry_config=retries,
        plugins=tracing.plugins(),
        runtime=runtime,
    )

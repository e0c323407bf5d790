"""The Temporal client. Connection settings are Temporal's own, so Temporal Cloud works unchanged."""

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RetryConfig, TLSConfig

from headrace import payloads, tracing
from headrace.lifecycle import Misconfigured
from headrace.settings import Settings, SettingsError
from headrace.temporal_refusals import NotConnected, why


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


def options(settings: Settings) -> ClientConnectConfig:
    """Where the server is and how it is spoken to: Temporal's variables, then its profile file, then the settings.

    An API key turns TLS on, unless TLS is turned off. Raises `SettingsError`.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except (OSError, RuntimeError, ValueError) as error:
        # The first line only: a TOML error's next ones repeat the line of the file, which may hold a key.
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise SettingsError(
            f"Temporal's settings cannot be used: {said} (TEMPORAL_TLS_*, TEMPORAL_CONFIG_FILE, TEMPORAL_PROFILE)"
        ) from None
    tls = config.get("tls")
    if isinstance(tls, TLSConfig) and bool(tls.client_cert) != bool(tls.client_private_key):
        raise SettingsError(
            "of the client's certificate and its key one is missing: TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH"
        )
    config.setdefault("target_host", settings.temporal_address)
    config.setdefault("namespace", settings.temporal_namespace)
    if settings.temporal_api_key is not None and "api_key" not in config:
        config["api_key"] = settings.temporal_api_key.get_secret_value()
        config.setdefault("tls", True)
    return config


def address(settings: Settings) -> str:
    """The server's, for people."""
    try:
        return options(settings)["target_host"]
    except SettingsError:
        return settings.temporal_address


async def connect(settings: Settings, *, lazy: bool = False, own_retries: bool = True, runtime: Runtime | None = None) -> Client:
    """A connected client, or with `lazy` one that connects at its first call.

    Without `own_retries` a call fails as soon as the server does not answer or is busy: for callers that see to that themselves.
    Raises `NotConnected` (a `RuntimeError`) when the server cannot be reached or refuses, and `headrace.settings.SettingsError`.
    """
    config = options(settings)
    retries = None if own_retries else RetryConfig(max_retries=1, max_elapsed_time_millis=100)
    try:
        return await Client.connect(
            **config,
            data_converter=payloads.converter(settings),
            lazy=lazy,
            retry_config=retries,
            plugins=tracing.plugins(),
            runtime=runtime,
        )
    except RuntimeError as error:
        raise NotConnected(why(error)) from error


async def entered(settings: Settings, *, runtime: Runtime | None = None) -> Client:
    """A connected client whose namespace is there and lets it in: a server may connect with whom it refuses every call later.

    Raises as `connect`, and `temporalio.service.RPCError`.
    """
    client = await connect(settings, runtime=runtime)
    await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    return client

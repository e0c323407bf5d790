"""The Temporal client. Connection settings are Temporal's own, so Temporal Cloud works unchanged."""

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RetryConfig

from headrace import payloads, tracing
from headrace.settings import Settings


async def connect(settings: Settings, *, lazy: bool = False, own_retries: bool = True) -> Client:
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
        **config, data_converter=payloads.converter(settings), lazy=lazy, retry_config=retries, plugins=tracing.plugins()
    )

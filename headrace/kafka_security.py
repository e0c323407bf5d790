"""How Kafka clients authenticate and encrypt: aiokafka's options, made of the settings."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError
from aiokafka.helpers import create_ssl_context

from headrace.settings import Settings, SettingsError

_TOKEN_SECONDS = 10.0
_EARLY_SECONDS = 30.0
"""A token is fetched anew so long before it ends."""


def options(settings: Settings) -> dict[str, Any]:
    """For every aiokafka client. To be called in a running event loop. Raises `SettingsError` for a file that cannot be used."""
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    found: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        found["ssl_context"] = _ssl_context(settings)
    if protocol.startswith("SASL"):
        found["sasl_mechanism"] = mechanism
        if mechanism == "OAUTHBEARER":
            found["sasl_oauth_token_provider"] = ClientCredentials(settings)
        else:
            password = settings.kafka_sasl_password
            found["sasl_plain_username"] = settings.kafka_sasl_username
            found["sasl_plain_password"] = password.get_secret_value() if password else ""
    return found


def hint(settings: Settings) -> str:
    """What to look at when no broker can be reached: aiokafka tells a wrong password from a closed port in its log only."""
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return "is it up, and does its listener take plain text (HEADRACE_KAFKA_SECURITY_PROTOCOL=PLAINTEXT)?"
    means = "certificates" if protocol == "SSL" else f"{settings.kafka_sasl_mechanism} credentials"
    return f"is it up, does its listener speak {protocol}, and are the {means} right (HEADRACE_KAFKA_*)?"


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    password = settings.kafka_ssl_key_password
    try:
        made: ssl.SSLContext = create_ssl_context(
            cafile=settings.kafka_ssl_ca_file,
            certfile=settings.kafka_ssl_certificate_file,
            keyfile=settings.kafka_ssl_key_file,
            # Without one OpenSSL would ask at the terminal.
            password=password.get_secret_value() if password else "",
        )
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"the HEADRACE_KAFKA_SSL_* files cannot be used: {error}") from error
    return made


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka is untyped
    """OAUTHBEARER tokens by the client credentials grant (RFC 6749, section 4.4), kept until shortly before they end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token = ""
        self._ends = 0.0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """Raises `KafkaConnectionError`: the clients try again as if the broker were away."""
        async with self._lock:
            if time.monotonic() >= self._ends:
                await self._fetch()
            return self._token

    async def _fetch(self) -> None:
        import httpx

        given, secret = self._settings, self._settings.kafka_oauth_client_secret
        form = {"grant_type": "client_credentials", **({"scope": given.kafka_oauth_scope} if given.kafka_oauth_scope else {})}
        try:
            async with httpx.AsyncClient(timeout=_TOKEN_SECONDS) as client:
                answer = await client.post(
                    given.kafka_oauth_token_url or "",
                    data=form,
                    auth=(given.kafka_oauth_client_id or "", secret.get_secret_value() if secret else ""),
                )
                answer.raise_for_status()
                fields = answer.json()
            self._token = str(fields["access_token"])
            self._ends = time.monotonic() + float(fields.get("expires_in", 60)) - _EARLY_SECONDS
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            # Not the error's own text: it may repeat what was sent.
            reason = f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else type(error).__name__
            raise KafkaConnectionError(f"no token from HEADRACE_KAFKA_OAUTH_TOKEN_URL: {reason}") from None

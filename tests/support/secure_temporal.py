"""A Temporal server that refuses the wrong credentials.

The development server knows neither TLS nor keys: before it stands a gRPC server that does, and refuses as Temporal Cloud does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped] # grpcio ships no types

from tests.support.authority import Authority
from tests.support.temporal_proxy import TemporalProxy

API_KEY = "tmprl-key-81c2f0"
UNKNOWN_KEY = ("UNAUTHENTICATED", "Request unauthenticated: invalid API key")
NO_RIGHT = ("PERMISSION_DENIED", "Request unauthorized.")

Refuse = Callable[[str, Mapping[str, str]], tuple[str, str] | None]
"""From the method's name and the call's metadata to the status and words with which it is refused; None admits it."""


def asks_for_key(method: str, metadata: Mapping[str, str]) -> tuple[str, str] | None:  # noqa: ARG001 - the signature of `Refuse`
    """`API_KEY` is admitted, and no other."""
    return None if metadata.get("authorization") == f"Bearer {API_KEY}" else UNKNOWN_KEY


class SecureTemporal(TemporalProxy):
    """TLS with a certificate of `authority`, and with `clients` also for a client's certificate of that authority.

    `refuse` may be changed at any time: a key is revoked in a running system.
    """

    def __init__(self, address: Callable[[], str], authority: Authority, clients: Authority | None = None) -> None:
        certificate, key = authority.issue("temporal")
        credentials = grpc.ssl_server_credentials(
            [(key.read_bytes(), certificate.read_bytes())],
            root_certificates=clients.file.read_bytes() if clients else None,
            require_client_auth=clients is not None,
        )
        super().__init__(address, credentials)
        self.authority = authority
        self.refuse: Refuse = lambda _method, _metadata: None
        self.refused = 0

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    async def _serve(self, method: str, request: bytes, context: Any) -> bytes:
        answer = self.refuse(method.rpartition("/")[2], dict(context.invocation_metadata()))
        if answer is None:
            return await super()._serve(method, request, context)
        self.refused += 1
        await context.abort(getattr(grpc.StatusCode, answer[0]), answer[1])
        raise AssertionError("abort raises")


def environment(server: SecureTemporal, **more: str | Path) -> dict[str, str]:
    """The environment of a client that trusts the server, with more `TEMPORAL_` variables."""
    named = {f"TEMPORAL_{name.upper()}": str(value) for name, value in more.items()}
    return {
        "TEMPORAL_ADDRESS": server.address,
        "TEMPORAL_TLS": "true",
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(server.authority.file),
        **named,
    }

"""What it means that Temporal refuses a client, in words that name the variable to look at."""

from __future__ import annotations

import re

from temporalio.service import RPCError, RPCStatusCode

from schemas.errors import bounded

NOT_PERMITTED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)

_CREDENTIALS = "TEMPORAL_API_KEY or the client's certificate, and its rights in the namespace (TEMPORAL_NAMESPACE)"
_ENDS = (
    "the server ends the connection: does it speak TLS (TEMPORAL_TLS), does it ask for a certificate of the client"
    " (TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH)?"
)
_PAIR = "the client's certificate and key cannot be used together: TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH"
_ANSWER = re.compile(r'code: (PermissionDenied|Unauthenticated), message: "([^"]*)"')
# The SDK has no types for these: what its text contains, and what that means.
_SIGNS = (
    ("UnknownIssuer", "the server's certificate is of an authority that is not trusted here: TEMPORAL_TLS_SERVER_CA_CERT_PATH"),
    ("NotValidForName", "the server's certificate is for another host: TEMPORAL_ADDRESS, TEMPORAL_TLS_SERVER_NAME"),
    ("InvalidContentType", "the server does not speak TLS: TEMPORAL_TLS_* and TEMPORAL_API_KEY turn it on, TEMPORAL_TLS=false off"),
    ("KeyMismatch", _PAIR),
    ("PrivateKeyParseError", _PAIR),
    ("AlertReceived", _ENDS),
    ("transport error", _ENDS),
    ("connection closed", _ENDS),
)


class NotConnected(RuntimeError):  # noqa: N818 - what is to be mended, not what crashed
    """The server cannot be reached, or refuses the client; the text says what to look at."""


def why(error: BaseException) -> str:
    """One bounded sentence without a key in it, for anything that a client raises."""
    if isinstance(error, NotConnected):
        return str(error)
    if isinstance(error, RPCError):
        return refused(error.status.name, error.message) if error.status in NOT_PERMITTED else bounded(error.message, 300)
    text = str(error) or type(error).__name__
    if error.__cause__ is not None:  # S3's, of a payload that is to lie there
        text = f"{error.__cause__} ({text})"
    if (answer := _ANSWER.search(text)) is not None:
        return refused(*answer.groups())
    return next((means for sign, means in _SIGNS if sign in text), bounded(text, 300))


def refused(status: str, message: str) -> str:
    """What an answer of `NOT_PERMITTED` means; the status may be spelled in any way."""
    return f"these credentials are refused ({status}: {bounded(message, 100)}): {_CREDENTIALS}"

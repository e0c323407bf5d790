"""What a database's error means: a sentence without statement, values or passwords, that names the setting to look at."""

from __future__ import annotations

import ssl

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from schemas.errors import bounded

_CHARACTERS = 300
_CERTIFICATE = (
    "the server's certificate is not accepted: PGSSLROOTCERT names the file of its authority, HEADRACE_DATABASE_URL the host that the"
    " certificate is for"
)
_TLS = "TLS with the server fails: look at PGSSLROOTCERT, and at PGSSLCERT and PGSSLKEY where it asks for a client certificate"
_BY_STATE = {
    "28P01": "HEADRACE_DATABASE_URL has another password than the server, or another user",
    "28000": "the server does not let this user in from here, or not without TLS or a client certificate (PGSSLCERT, PGSSLKEY);"
    " look at the user in HEADRACE_DATABASE_URL and at pg_hba.conf",
    "3D000": "HEADRACE_DATABASE_URL names a database that is not there",
    "42P01": "is it set up? run `headrace setup`",
    "42703": "is it set up by an older Headrace? run `headrace setup`",
    "53300": "the server has no connection left: HEADRACE_DATABASE_POOL_SIZE counts for each engine of each process",
    "57014": "a statement took longer than HEADRACE_DATABASE_STATEMENT_SECONDS, or somebody cancelled it",
}
_BY_WORDS = {
    "rejected SSL upgrade": "HEADRACE_DATABASE_URL asks for TLS (ssl=...), and this server has none",
    "closed in the middle of operation": "the server has ended the connection: it stops, or it does not accept PGSSLCERT",
    "root certificate file": "PGSSLROOTCERT names the file of the server's certificate authority",
    "database is locked": "somebody else wrote for longer than HEADRACE_DATABASE_STATEMENT_SECONDS",
    "no such table": _BY_STATE["42P01"],
    "no such column": _BY_STATE["42703"],
}


def why(error: BaseException) -> str:
    """The sentence, at most 300 characters of the driver's own words in it."""
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig
    said = bounded(str(cause) or type(cause).__name__, _CHARACTERS)
    hint = _hint(error, cause, said)
    return f"{said}; {hint}" if hint else said


def _hint(error: BaseException, cause: BaseException, said: str) -> str | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _CERTIFICATE
    if isinstance(cause, ssl.SSLError):
        return _TLS
    if isinstance(error, PoolTimeoutError):
        return "all connections are in use: HEADRACE_DATABASE_POOL_SIZE"
    if isinstance(cause, FileNotFoundError) and cause.filename is None:
        return "the file that PGSSLROOTCERT, PGSSLCERT or PGSSLKEY names is not there, or the socket of HEADRACE_DATABASE_URL"
    by_state = _BY_STATE.get(getattr(cause, "sqlstate", None) or "")
    return by_state or next((hint for words, hint in _BY_WORDS.items() if words in said), None)

"""What it means that S3 refuses, in words that name the variable to look at."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)

from schemas.errors import bounded

MISSING = frozenset(("404", "NoSuchKey", "NotFound"))
"""Codes of an object that is not there; the first is S3's to HEAD, which has no body."""

_FORBIDDEN = (401, 403)
_REFUSED = frozenset(
    (
        *("403", "AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"),
        *("ExpiredToken", "InvalidToken", "TokenRefreshRequired"),  # of temporary credentials, and answered with 400
    )
)
_NO_BUCKET = "NoSuchBucket"
_WITHOUT = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
_SENTENCES = {
    "InvalidAccessKeyId": "S3 does not know the key ID: HEADRACE_S3_ACCESS_KEY_ID, or AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN",
    "SignatureDoesNotMatch": "the secret is not that of its key ID: HEADRACE_S3_SECRET_ACCESS_KEY, or AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "this machine's clock is too far from that of S3: set it by NTP",
    "ExpiredToken": "the temporary credentials have ended: AWS_SESSION_TOKEN",
    "InvalidToken": "the temporary credentials are none: AWS_SESSION_TOKEN",
    _NO_BUCKET: "there is no such bucket: HEADRACE_S3_BUCKET, `headrace setup`",
}
_TLS = "no TLS with S3: is its authority trusted (AWS_CA_BUNDLE), does HEADRACE_S3_ENDPOINT_URL speak TLS"
_PLAIN = "S3 ends the connection: does HEADRACE_S3_ENDPOINT_URL speak TLS (https://)"
_WRONG = "S3 answers 400: does HEADRACE_S3_ENDPOINT_URL speak TLS (https://), have temporary credentials ended (AWS_SESSION_TOKEN)"


def code_of(error: BaseException) -> str:
    """S3's own code; empty for an error that S3 has not sent."""
    return error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""


def is_refused(error: BaseException) -> bool:
    """Whether the credentials, their rights or the bucket's name are at fault, and not S3 or the network."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in _FORBIDDEN or code_refuses(code_of(error))
    return isinstance(error, _WITHOUT)


def code_refuses(code: str) -> bool:
    """The same of a code alone, as an answer about several objects has it for each."""
    return code in _REFUSED or code == _NO_BUCKET


def why(error: BotoCoreError | ClientError) -> str:
    """One bounded sentence, without a secret in it."""
    said = bounded(str(error), 300)
    if isinstance(error, _WITHOUT):
        return f"there are no credentials for S3: HEADRACE_S3_ACCESS_KEY_ID and HEADRACE_S3_SECRET_ACCESS_KEY, or AWS's own ({said})"
    if isinstance(error, SSLError):
        return f"{_TLS} ({said})?"
    if isinstance(error, ConnectionClosedError):
        return f"{_PLAIN} ({said})?"
    if code_of(error) == "400":  # an answer without a body: to HEAD, or of a server that wants TLS
        return f"{_WRONG} ({said})?"
    if isinstance(error, ClientError) and is_refused(error):
        means = _SENTENCES.get(code_of(error), "S3 refuses it: the key (HEADRACE_S3_ACCESS_KEY_ID, or AWS's own) and its rights")
        return f"{means} ({error.operation_name}: {code_of(error)})"
    return said

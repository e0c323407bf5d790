"""Settings of every process, read once by its composition root.

Sources, strongest first: the environment, then the file `env` in the state folder (written by `headrace up`), then the files of the folder
`HEADRACE_SECRETS_DIR`, one for a setting and named like its variable (`headrace_kafka_sasl_password`), then the defaults here.
Temporal's own variables (`TEMPORAL_ADDRESS`, `TEMPORAL_TLS`, ...) and its profile file are read by `headrace.temporal`, and win over these.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

STATE_DIR_VARIABLE = "HEADRACE_STATE_DIR"
SECRETS_DIR_VARIABLE = "HEADRACE_SECRETS_DIR"


def state_dir() -> Path:
    """The folder in which the embedded stack keeps its state, `.headrace` below the working folder unless set."""
    return Path(os.environ.get(STATE_DIR_VARIABLE, ".headrace")).absolute()


class Settings(BaseSettings):
    """Every field is the environment variable `HEADRACE_<FIELD>`, or the standard one named beside it."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", extra="ignore", frozen=True, populate_by_name=True)

    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_oauth_token_url: str | None = None
    """With OAUTHBEARER: where the client credentials below are given for a token."""
    kafka_oauth_client_id: str | None = None
    kafka_oauth_client_secret: SecretStr | None = None
    kafka_oauth_scope: str | None = None
    kafka_ssl_ca_file: Path | None = None
    """None: the system's certificate authorities."""
    kafka_ssl_certificate_file: Path | None = None
    """The client's own, PEM, for brokers that ask for one."""
    kafka_ssl_key_file: Path | None = None
    kafka_ssl_key_password: SecretStr | None = None
    topic_prefix: str = ""
    schema_registry_url: SecretStr | None = None
    """A secret, since a key may be in it: `https://key:secret@host/path`."""

    temporal_address: str = Field("127.0.0.1:7233", validation_alias="TEMPORAL_ADDRESS")
    temporal_namespace: str = Field("default", validation_alias="TEMPORAL_NAMESPACE")
    temporal_api_key: SecretStr | None = Field(None, validation_alias="TEMPORAL_API_KEY")
    """Here for the folder of secrets, which Temporal's own configuration does not know: the file `temporal_api_key`."""

    payload_keys: SecretStr | None = None
    """`NAME:BASE64[,NAME:BASE64...]`: payloads in Temporal are encrypted with the first key and decrypted with any; None: not encrypted."""
    payload_s3_bytes: int | None = Field(None, ge=1024)
    """Payloads larger than this lie in the bucket, and Temporal keeps a reference; None: all lie in Temporal."""

    database_url: str = "sqlite+aiosqlite:///.headrace/headrace.db"
    """An SQLAlchemy URL: `sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://USER:PASSWORD@HOST/NAME`."""
    database_pool_size: int = Field(10, ge=2)
    """Connections that one engine opens, at the most. A process has one engine; one that works for every domain has one for each."""
    database_statement_seconds: float = Field(10.0, ge=0.1)
    """PostgreSQL ends a statement that takes longer; SQLite ends one that waits so long for the file's lock. Both are tried again."""

    s3_endpoint_url: str | None = None
    """None: AWS itself."""
    s3_public_endpoint_url: str | None = None
    """What presigned URLs begin with, where those who open them reach S3 at another address than the workers do; None: the same."""
    s3_region: str = "us-east-1"
    s3_bucket: str = "headrace"
    s3_access_key_id: str | None = None
    """None: boto3's own chain (`AWS_ACCESS_KEY_ID`, profiles, instance roles)."""
    s3_secret_access_key: SecretStr | None = None
    s3_url_seconds: int = Field(7 * 24 * 3600, ge=60, le=7 * 24 * 3600)
    """How long a presigned URL is valid; seven days is the most that S3 allows."""

    routes_file: Path | None = None
    """None: the routes that ship with Headrace, `schemas/routes.toml`."""
    worker_modules: Annotated[tuple[str, ...], NoDecode] = ()
    """Python modules of a team's own, separated by commas: each has `DOMAINS` as `workers/registry.py` has."""
    worker_deployment: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,100}$")
    """The workers of a domain are the Temporal worker deployment `<this>-<domain>`, their runs pinned to their build; None: unversioned."""
    worker_build_id: str | None = Field(None, min_length=1, max_length=200)
    """What tells one build of it from another; None: Headrace's own version."""
    ingress_group: str = "headrace-ingress"
    ingress_max_in_flight: int = Field(1000, ge=8)
    """Records read and without a disposition, at the most."""
    ingress_max_bytes: int = Field(64 * 1024 * 1024, ge=1024 * 1024)
    """The sum of their sizes, at the most; one record is always let in. A request by reference may have so many bytes."""
    ingress_min_starts: int = Field(4, ge=1)
    ingress_max_starts: int = Field(256, ge=1)
    """Between these two the number of calls to Temporal at one time follows the server."""
    ingress_start_target_seconds: float = Field(0.25, gt=0)
    """A start that takes longer means that there are too many at one time: well above what an idle server takes."""
    ingress_command_wait_seconds: float = Field(30.0, ge=0)
    """How long a command waits for the event that it is for; then it is dead-lettered as unknown_target."""
    ingress_watchdog_seconds: float = Field(60.0, ge=10)
    """A consumer that stands still for so long without a reason ends its process."""
    breaker_consecutive: int = Field(50, ge=1)
    breaker_window: int = Field(200, ge=10)
    breaker_share: float = Field(0.5, gt=0, le=1)
    """A route stops at so many dead letters in a row, or at this share of the last `breaker_window` records."""
    ledger_days: float | None = Field(None, gt=0)
    """Events older than this are forgotten, and would run again; None: never."""
    temporal_max_payload_bytes: int = Field(2 * 1024 * 1024, ge=1024)
    """The server's `limit.blobSize.error`."""
    ingress_session_seconds: float = Field(10.0, gt=0)
    """After so long without a heartbeat the group gives a process's partitions to others; not below the broker's own minimum, 6."""
    ingress_drain_seconds: float = Field(5.0, gt=0)
    ingress_start_seconds: float = Field(10.0, gt=0)
    """One start's bound; after it the start counts as failed in passing and is tried again."""

    openai_api_key: SecretStr | None = Field(None, validation_alias=AliasChoices("OPENAI_API_KEY", "HEADRACE_OPENAI_API_KEY"))
    openai_base_url: str | None = Field(None, validation_alias=AliasChoices("OPENAI_BASE_URL", "HEADRACE_OPENAI_BASE_URL"))
    openai_image_model: str = "gpt-image-2.6-flare"
    openai_text_model: str = "gpt-5.4-mini"
    """Composes learning paths where there is a key; without one the shipped curriculum does."""
    huggingface_token: SecretStr | None = Field(None, validation_alias=AliasChoices("HF_TOKEN", "HEADRACE_HUGGINGFACE_TOKEN"))
    huggingface_base_url: str | None = None
    huggingface_image_model: str = "black-forest-labs/FLUX.1-schnell"
    learning_resources_url: str | None = None
    """A search for learning resources, as docs/workflows.md describes it; None: the catalogue that ships with the curriculum."""
    content_filter_file: Path | None = None
    """None: the list that ships with Headrace, `workers/image/content_filter.toml`."""

    health_host: str = "127.0.0.1"
    analysis_buckets: Annotated[tuple[str, ...], NoDecode] = ()
    """Other buckets whose objects any request may have analysed, separated by commas. In `s3_bucket` a user has `uploads/<user_id>/`."""
    analysis_max_bytes: int = Field(512 * 1024 * 1024, ge=1024)
    """The size of a data set's file, at the most."""
    analysis_max_rows: int = Field(2_000_000, ge=1)
    analysis_processes: int = Field(1, ge=1, le=64)
    """How many steps of analyses compute at one time, each in a process of its own."""
    analysis_memory_bytes: int = Field(1536 * 1024 * 1024, ge=256 * 1024 * 1024)
    """Resident memory of one such process, at the most; a data set that needs more is refused."""
    temporary_hours: float = Field(24.0, ge=1)
    """Temporary objects and files older than this are removed by maintenance: longer than any run needs its own."""

    health_port: int = Field(0, ge=0, le=65535)
    """Where a service answers `/healthz`, `/readyz` and `/metrics`; 0 takes a free port."""
    temporal_metrics_port: int = Field(0, ge=0, le=65535)
    """Where the workers serve the Temporal SDK's own metrics (task slots, time from schedule to start, ...), on that host; 0: nowhere."""
    log_level: str = "INFO"

    @field_validator("worker_modules", "analysis_buckets", mode="before")
    @classmethod
    def _by_commas(cls, given: Any) -> Any:
        return [name for part in given.split(",") if (name := part.strip())] if isinstance(given, str) else given

    @field_validator("schema_registry_url", "learning_resources_url")
    @classmethod
    def _is_http(cls, given: SecretStr | str | None) -> SecretStr | str | None:
        url = given.get_secret_value() if isinstance(given, SecretStr) else given
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError("not an address like http://host:8081 or https://key:secret@host/path")
        return given

    @model_validator(mode="after")
    def _kafka_credentials_are_whole(self) -> Self:
        mechanism = self.kafka_sasl_mechanism
        if self.kafka_security_protocol.startswith("SASL") != (mechanism is not None):
            raise ValueError(
                "HEADRACE_KAFKA_SASL_MECHANISM goes with HEADRACE_KAFKA_SECURITY_PROTOCOL SASL_PLAINTEXT or SASL_SSL, and they with it"
            )
        needed: tuple[str, ...] = ("kafka_sasl_username", "kafka_sasl_password") if mechanism else ()
        if mechanism == "OAUTHBEARER":
            needed = ("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret")
        missing = [f"HEADRACE_{name.upper()}" for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{mechanism} needs {' and '.join(missing)}")
        if self.kafka_ssl_key_file is not None and self.kafka_ssl_certificate_file is None:
            raise ValueError("HEADRACE_KAFKA_SSL_KEY_FILE needs HEADRACE_KAFKA_SSL_CERTIFICATE_FILE")
        return self


class SettingsError(Exception):
    """A setting cannot be used; the text names its variable and says why, without repeating its value."""


def load() -> Settings:
    """The settings of this process. Raises `SettingsError`."""
    try:
        return Settings(_env_file=state_dir() / "env", _env_file_encoding="utf-8", _secrets_dir=os.environ.get(SECRETS_DIR_VARIABLE))
    except ValidationError as error:
        wrong = "; ".join(f"{_variable(found['loc'])}: {found['msg']}" for found in error.errors(include_input=False))
        raise SettingsError(f"the settings cannot be used: {wrong}") from None


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "HEADRACE_*"
    return f"HEADRACE_{name.upper()}" if name in Settings.model_fields else name

"""The search for secrets finds them, and no setting that is one is left out of it."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from headrace.settings import Settings, SettingsError, load
from headrace.store.engine import engine_of, shown
from tests.support.planted import Planted, secret_settings, undeclared_settings

URLS = ("kafka_oauth_token_url", "s3_endpoint_url", "s3_public_endpoint_url", "openai_base_url", "huggingface_base_url")


@pytest.mark.parametrize("before", ["", "k", "ke", "key:"])
def test_a_secret_is_found_in_every_form(before: str) -> None:
    planted = Planted.everywhere()
    secret = planted.secret("openai_api_key")
    encoded = base64.b64encode(f"{before}{secret}".encode()).decode()
    for form in (secret, quote(secret, safe=""), repr(secret), json.dumps(secret), f"Basic {encoded}", f"{encoded[:30]}\n{encoded[30:]}"):
        assert planted.found_in(f"... {form} ...") == ["openai_api_key"], form
    assert planted.found_in("pl4nt") == []


def test_a_new_setting_that_is_called_like_a_secret_is_one_by_its_type() -> None:
    assert undeclared_settings() == set()
    assert {"database_url", "schema_registry_url", "learning_resources_url", "payload_keys", "openai_api_key"} <= secret_settings()


def test_settings_show_no_secret() -> None:
    planted = Planted.everywhere()
    given = {name: planted.secret(name) for name in secret_settings()} | {
        name: f"https://key:{quote(planted.secret(name), safe='')}@host/path" for name in ("schema_registry_url", "learning_resources_url")
    }
    assert planted.found_in(f"{Settings.model_validate(given)!r} {Settings.model_validate(given)}") == []
    with pytest.raises(ValueError, match="HEADRACE_KAFKA_SASL_MECHANISM") as raised:
        Settings.model_validate({**given, "kafka_sasl_mechanism": "PLAIN"})
    assert planted.found_in(f"{raised.value} {raised.value!r}") == []


@pytest.mark.parametrize("name", [*URLS, "schema_registry_url", "learning_resources_url"])
def test_an_address_that_cannot_be_used_is_refused_and_not_repeated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = Planted.everywhere()
    core = planted.cores["openai_api_key"]
    # The last: U+2100 becomes "a/c", which the standard library refuses with the whole address.
    wrong = [core, f"ftp://user:{core}@host/", f"http://{core}\u2100host/", f"http://[{core}"]
    for value in [*wrong, f"https://user:{core}@host/", f"https://{core}@host/"] if name in URLS else wrong:
        variable = f"HEADRACE_{name.upper()}"
        monkeypatch.setenv(variable, value)
        with pytest.raises(SettingsError, match="not an address like") as raised:
            load()
        assert planted.found_in(str(raised.value)) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://me:{}@host:port/name",
        "postgresql+asyncpg://me:a/{}@host:port/name",
        "unknown://me:{}@host/name",
        "postgresql://me:{}@host/name",
        "{}",
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(url: str) -> None:
    planted = Planted.everywhere()
    given = url.format(planted.cores["database_url"])
    with pytest.raises(SettingsError, match="HEADRACE_DATABASE_URL") as raised:
        engine_of(Settings(database_url=given))
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__, "nothing of it in a trace"
    assert planted.found_in(str(raised.value)) == []
    assert planted.found_in(shown(given)) == []


def test_a_database_is_shown_by_its_address() -> None:
    assert shown("postgresql+asyncpg://me:hidden@host:5432/name") == "postgresql+asyncpg://me:***@host:5432/name"
    assert shown("postgresql+asyncpg:///name?user=me&password=hidden&host=/run/pg") == "postgresql+asyncpg:///name?host=%2Frun%2Fpg"
    assert shown("sqlite+aiosqlite:////state/headrace.db") == "sqlite+aiosqlite:////state/headrace.db"

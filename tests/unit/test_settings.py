"""A setting that cannot be used ends in a sentence that names its variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.settings import SettingsError, load


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADRACE_INGRESS_MAX_IN_FLIGHT", "none"),
        ("HEADRACE_S3_URL_SECONDS", "999999999"),
        ("HEADRACE_SCHEMA_REGISTRY_URL", "admin:hunter2@registry"),
        ("HEADRACE_HEALTH_PORT", "-1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str
) -> None:
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"{variable}: ") as raised:
        load()
    assert value not in str(raised.value) or value == "-1"


def test_several_modules_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("HEADRACE_WORKER_MODULES", "acme.orders, acme.billing,")
    assert load().worker_modules == ("acme.orders", "acme.billing")


def test_the_environment_is_stronger_than_the_stacks_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("HEADRACE_KAFKA_BOOTSTRAP_SERVERS=file:1\nTEMPORAL_ADDRESS=file:2\n")
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "environment:2")
    settings = load()
    assert (settings.kafka_bootstrap_servers, settings.temporal_address) == ("file:1", "environment:2")

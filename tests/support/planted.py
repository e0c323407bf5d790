"""Secrets of a test's own, one in every setting that is one, and the search for what became of them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from headrace.settings import Settings

STANDARD = ("temporal_api_key", "otel_exporter_otlp_headers")
"""Secrets of libraries, which read them from the environment themselves."""
_SOUNDS_SECRET = re.compile("password|secret|token|credential|(^|_)keys?(_|$)")
_SOUNDS_ONLY = {"kafka_ssl_key_file", "kafka_oauth_token_url", "s3_access_key_id"}


def secret_settings() -> set[str]:
    """The settings that hold a secret: those whose type says so, and addresses that may have one in them, which `repr` leaves out."""
    typed = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    return typed | {name for name, field in Settings.model_fields.items() if not field.repr}


def undeclared_settings() -> set[str]:
    """Those that are called as a secret is and are none by their type."""
    return {name for name in Settings.model_fields if _SOUNDS_SECRET.search(name)} - secret_settings() - _SOUNDS_ONLY


@dataclass(frozen=True)
class Planted:
    """A core by setting: letters and digits, so that it survives quoting and escapes, beside characters that do not."""

    cores: dict[str, str]

    @classmethod
    def everywhere(cls) -> Planted:
        return cls({name: f"pl4nt{uuid4().hex}" for name in (*sorted(secret_settings()), *STANDARD)})

    def secret(self, name: str) -> str:
        return f"{self.cores[name]}+/='\\"

    def found_in(self, text: str) -> list[str]:
        """The settings whose secret is in the text, as it is or in base64."""
        flat = text.replace("\n", "")
        return [name for name, core in self.cores.items() if any(form in flat for form in _forms(core))]


def _forms(core: str) -> Iterator[str]:
    yield core
    for before in range(3):
        # What stands before moves its bits; the letters at both ends share them with what stands beside.
        encoded = base64.b64encode(b"\0" * before + core.encode()).decode()
        yield encoded[(before * 8 + 5) // 6 : (before + len(core)) * 8 // 6]


def assert_nowhere(planted: Planted, texts: Iterable[tuple[str, str]]) -> None:
    """`texts`: what is looked through, and its name. Each must have something in it."""
    leaks, empty = [], []
    for where, text in texts:
        if not text.strip():
            empty.append(where)
        leaks += [f"{name} in {where}: {_around(text, planted.cores[name])}" for name in planted.found_in(text)]
    assert not leaks, "\n".join(leaks)
    assert not empty, f"nothing to look through in {', '.join(empty)}"


def _around(text: str, core: str) -> str:
    at = text.find(core)
    return text[max(0, at - 300) : at + 60] if at >= 0 else "in base64"


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")

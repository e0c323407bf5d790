"""What a command imports: most of the time that a short one takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

_SETUP = ("boto3", "botocore", "alembic")
_OPTIONAL = ("httpx", "cryptography", "opentelemetry.sdk", "prometheus_client", "pandas")
_SERVERS = ("aiokafka", "sqlalchemy", "temporalio", "httpx", "boto3")

_IMPORTED = """
import sys
from headrace.cli.main import main
code = main(sys.argv[2:])
print("imported:", *(each for each in sys.argv[1].split() if each in sys.modules))
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("arguments", "code", "heavy"),
    [
        (["--version"], 0, (*_SERVERS, *_SETUP, *_OPTIONAL, "pydantic", "structlog", "rich", "schemas.routes")),
        (["--help"], 0, (*_SERVERS, *_SETUP, *_OPTIONAL, "pydantic", "structlog", "schemas.routes")),
        (["produce", "NoSuchRecord", "--json", "-"], 2, ("sqlalchemy", "temporalio", *_SETUP, *_OPTIONAL)),
        (["completions", "nodomain"], 2, ("sqlalchemy", "temporalio", *_SETUP, *_OPTIONAL)),
        (["explain", str(UUID(int=0))], 2, (*_SETUP, *_OPTIONAL, "rich.syntax")),
        (["dlq", "show", "noplace"], 2, (*_SETUP, *_OPTIONAL)),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_a_command_does_not_wait_for_libraries_that_it_does_not_use(
    arguments: list[str], code: int, heavy: tuple[str, ...], tmp_path: Path
) -> None:
    """Each is wrong or says only itself, so that it ends once everything is imported."""
    root = Path(__file__).parents[2]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "OTEL_", "TEMPORAL_"))}
    ended = subprocess.run(
        [sys.executable, "-c", _IMPORTED, " ".join(heavy), *arguments],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (code, "imported:"), ended.stderr

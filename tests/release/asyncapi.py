"""`python -m tests.release.asyncapi`: writes `docs/asyncapi.yaml`, the topics of the routes that ship."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

from headrace.asyncapi import document
from headrace.settings import Settings
from schemas.routes import load_routes

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "asyncapi.yaml"
_HEAD = "# Made by `python -m tests.release.asyncapi` from the schemas and the routes.\n"


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the name is PyYAML's
        """What comes twice is written twice: not every reader of AsyncAPI knows YAML's anchors."""
        return True


def _string(dumper: _Dumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _string)


def text() -> str:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    made = document(Settings(topic_prefix=""), load_routes(), version)
    return _HEAD + yaml.dump(made, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")

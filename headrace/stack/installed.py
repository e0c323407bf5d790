"""Where the servers are that the package registries give as programs."""

from __future__ import annotations

import platform
import shutil
import sysconfig
from importlib import metadata
from pathlib import Path

from headrace.stack.errors import StackError

PLATFORMS = "Linux and macOS on x86-64 and ARM64"


def program(name: str, distribution: str) -> str:
    """The path of a program that a distribution has installed; raises `StackError` where it has none."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        files = []
    installed = [Path(str(file.locate())) for file in files if file.name == name]
    beside_python = [Path(sysconfig.get_path("scripts")) / name]
    for path in (*installed, *beside_python):
        if path.exists():
            return str(path.resolve())
    if found := shutil.which(name):
        return found
    raise StackError(
        f"the program `{name}` of the package {distribution} is not installed for {platform.system()} on {platform.machine()}: it exists "
        f"for {PLATFORMS}, so install Headrace there (`pip install {distribution}`), or run the stack with `docker compose up`"
    )

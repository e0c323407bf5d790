"""`python -m tests.release.sbom FILE`: the bill of materials of the run-time dependencies, CycloneDX 1.6 as JSON."""

from __future__ import annotations

import argparse
from importlib.metadata import Distribution
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.release.dependencies import PROJECT, expression, licence_names, runtime


def text() -> str:
    """Headrace, every dependency with its version and licence, and which needs which."""
    dependencies = runtime()
    components = {name: _component(name, dependency.distribution) for name, dependency in dependencies.items()}
    root = Component(
        type=ComponentType.APPLICATION,
        name=PROJECT["name"],
        version=PROJECT["version"],
        bom_ref=PROJECT["name"],
        purl=PackageURL("pypi", None, PROJECT["name"], PROJECT["version"]),
        licenses=[LicenseExpression(PROJECT["license"])],
    )
    bom = Bom(components=components.values())
    bom.metadata.component = root
    direct = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    bom.register_dependency(root, [components[name] for name in sorted(direct)])
    for name, dependency in dependencies.items():
        bom.register_dependency(components[name], [components[other] for other in sorted(dependency.needs)])
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _component(name: str, distribution: Distribution) -> Component:
    spdx = expression(distribution)
    licences = [LicenseExpression(spdx)] if spdx else [DisjunctiveLicense(name=found) for found in licence_names(distribution)]
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=distribution.version,
        bom_ref=name,
        purl=PackageURL("pypi", None, name, distribution.version),
        licenses=licences,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.release.sbom")
    parser.add_argument("file", type=Path)
    file: Path = parser.parse_args().file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text(), encoding="utf-8")

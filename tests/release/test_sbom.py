"""The bill of materials names what Headrace is delivered with."""

from __future__ import annotations

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.release import sbom
from tests.release.dependencies import PROJECT, runtime


def test_the_bill_of_materials_is_valid_and_whole() -> None:
    text = sbom.text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert bill["metadata"]["component"]["version"] == PROJECT["version"]
    assert {(part["name"], part["version"]) for part in bill["components"]} == {
        (name, found.distribution.version) for name, found in runtime().items()
    }
    assert [part["name"] for part in bill["components"] if not part.get("licenses")] == []
    depends = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    assert "temporalio" in depends["headrace"]
    assert "botocore" in depends["boto3"]
    assert "greenlet" in depends["sqlalchemy"]

"""`python -m tests.contract.publish`: makes every changed `.avsc` a published version, with golden bytes that stay readable for ever.

Writes `schemas/avro/<domain>/<record>/<n>.avsc`, which ships, and `tests/contract/golden/<full name>/<n>.json`. What is there is never
written again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from schemas import codec
from schemas.catalog import AVRO, read_schema, versions
from schemas.codec import Schema, meaning
from tests.support.records import MODELS

GOLDEN = Path(__file__).parent / "golden"
SCHEMA_ID = 7
"""In the Confluent frame of every golden file."""

EXAMPLES: dict[str, dict[str, Any]] = {
    "headrace.learning.LearningPathRequested": {"skill_level": "intermediate", "time_commitment_hours": 6},
    "headrace.workflow.WorkflowCommandIssued": {"command": "pause"},
    "headrace.analysis.DataAnalysisRequested": {"file_path": "s3://headrace/uploads/ada/mühle.csv", "file_type": "csv"},
    "headrace.transaction.TransactionRequested": {"amount": 250},
}
"""By full name: values of fields for which the model refuses those of `example`."""

_EXAMPLE_OF = {
    "null": None,
    "boolean": True,
    "int": 1024,
    "long": 1_234_567_890_123,
    "float": 0.5,
    "double": 12.75,
    "string": "a mill wheel under the headrace, naïve style 🎡",
    "uuid": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
    "timestamp-millis": "2026-03-04T05:06:07.089Z",
}


def current() -> list[Path]:
    return sorted(AVRO.glob("*/*.avsc"))


def is_published(path: Path) -> bool:
    """Whether the newest version means the same as `path`."""
    published = versions(path)
    return bool(published) and meaning(json.loads(published[-1].read_text("utf-8"))) == meaning(json.loads(path.read_text("utf-8")))


def example(schema: Any, *, full: bool) -> Any:  # noqa: PLR0911 - one for each kind of type
    """A value as JSON: with everything in it, or with only what must be."""
    if isinstance(schema, list):
        return example(schema[-1] if full else schema[0], full=full)
    if isinstance(schema, str):
        return _EXAMPLE_OF[schema]
    match schema["type"]:
        case "record":
            return {field["name"]: _field(field, full=full) for field in schema["fields"]}
        case "enum":
            return schema["symbols"][0]
        case "array":
            return (
                [example(schema["items"], full=full), example(schema["items"], full=False)]
                if full
                else [example(schema["items"], full=True)]
            )
        case "map":
            return {"key": example(schema["values"], full=full)}
        case kind:
            return _EXAMPLE_OF[schema.get("logicalType", kind)]


def _field(field: Any, *, full: bool) -> Any:
    default = field.get("default")
    return default if "default" in field and (default or not full) else example(field["type"], full=full)


def _golden(schema: Schema) -> dict[str, Any]:
    cases = []
    for full in (True, False):
        value = {**example(json.loads(schema.text), full=full), **EXAMPLES.get(schema.name, {})}
        model = MODELS[schema.name].model_validate(value)
        body = codec.encode_body(schema, model.model_dump())
        cases.append(
            {
                "value": model.model_dump(mode="json"),
                "single_object": codec.frame_single_object(schema, body).hex(),
                "confluent": codec.frame_confluent(SCHEMA_ID, body).hex(),
            }
        )
    return {"fingerprint": schema.fingerprint.hex(), "cases": cases}


def publish(path: Path) -> str:
    """Writes the next version; returns what was written."""
    number = len(versions(path)) + 1
    schema = read_schema(path)
    golden = json.dumps(_golden(schema), indent=2, ensure_ascii=False) + "\n"
    version = path.with_suffix("") / f"{number}.avsc"
    version.parent.mkdir(exist_ok=True)
    version.write_text(schema.text, "utf-8")
    home = GOLDEN / schema.name / f"{number}.json"
    home.parent.mkdir(parents=True, exist_ok=True)
    home.write_text(golden, "utf-8")
    return f"{schema.name} version {number}: {version.relative_to(AVRO.parent.parent)}, {home.relative_to(AVRO.parent.parent)}"


def main() -> None:
    said = [publish(path) for path in current() if not is_published(path)]
    sys.stdout.write("\n".join(said or ["every schema is published"]) + "\n")


if __name__ == "__main__":
    main()

"""The dashboard and the alert rules name only metrics that the services have, with the labels that they have."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "observability"
OPERATING = (ROOT / "docs" / "operating.md").read_text()
MODULES = (
    "ingress.metrics",
    "ingress.ledger",
    "ingress.breaker",
    "notifier.producer",
    "notifier.reconcile.activities",
    "notifier.reconcile.watch",
    "notifier.redrive.activities",
    "headrace.interceptors",
)
for module in MODULES:
    importlib.import_module(module)

ALERTS: list[dict[str, Any]] = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
EXPRESSIONS = [rule["expr"] for rule in ALERTS] + [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def known() -> dict[str, set[str]]:
    """Every series that a service of ours exposes, and its labels."""
    found: dict[str, set[str]] = {}
    for collector, names in REGISTRY._collector_to_names.items():
        for family in collector.describe() if hasattr(collector, "describe") else []:
            labels = set(getattr(collector, "_labelnames", ()))
            for suffix in _SUFFIXES.get(family.type, ()):
                if family.name.startswith("headrace_") and family.name + suffix in names:
                    found[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


SERIES = known()


def test_there_is_something_to_check() -> None:
    assert len(SERIES) > 30
    assert len(ALERTS) >= 10
    assert len(EXPRESSIONS) > 30


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_of_an_expression_exists_with_its_labels(expression: str) -> None:
    named = set(re.findall(r"headrace_\w+", expression))
    assert named
    assert named <= SERIES.keys(), named - SERIES.keys()
    labels = set.union(*(SERIES[name] for name in named))
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    matched = set(re.findall(r"(\w+)=~?\"", expression))
    assert grouped | matched <= labels


@pytest.mark.parametrize("panel", [panel for panel in PANELS if panel["type"] != "row"], ids=lambda panel: panel["title"])
def test_a_legend_uses_only_labels_that_its_expression_keeps(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        kept = {label.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(",")}
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do_and_has_its_paragraph(rule: dict[str, Any]) -> None:
    assert set(rule["annotations"]) == {"summary", "action"}
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert f"`{rule['alert']}`" in OPERATING


def test_every_metric_of_ours_is_in_the_table_of_metrics() -> None:
    families = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in SERIES}
    listed = {re.sub(r"_total$", "", name) for name in re.findall(r"`(headrace_\w+)`", OPERATING)}
    assert families - listed == set()
    assert listed - families == set()

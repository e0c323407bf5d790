"""What is found in a data set, and how it is told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from headrace.demo.datasets import customers
from workers.analysis.child import answer
from workers.analysis.compute.cluster import describe
from workers.analysis.compute.explore import explore
from workers.analysis.compute.refusal import Refused
from workers.analysis.compute.validate import validate
from workers.analysis.compute.wording import listed, number, share


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes that compute: on a busy machine threads wait for each other."""
    with threadpool_limits(1):
        yield


def test_the_demos_data_set_is_the_same_in_every_run() -> None:
    assert customers() == customers()
    assert customers(rows=10).csv.count("\n") == 11


def test_groups_of_known_number_are_found_with_their_rows_and_again_the_same() -> None:
    points, truth = make_blobs(n_samples=1500, centers=6, n_features=5, cluster_std=1.0, center_box=(-12, 12), random_state=3)
    frame = pd.DataFrame(points, columns=list("abcde"))
    suggested = explore(frame).suggested_clusters
    assert suggested == 6
    groups, labels = describe(frame, suggested)
    assert adjusted_rand_score(labels, truth) >= 0.95
    again, same = describe(frame, suggested)
    assert (groups, labels.tolist()) == (again, same.tolist())
    assert [profile.rows for profile in groups.profiles] == sorted((profile.rows for profile in groups.profiles), reverse=True)


def test_crescents_which_k_means_would_cut_are_found_by_density() -> None:
    points, truth = make_moons(n_samples=1500, noise=0.05, random_state=3)
    groups, labels = describe(pd.DataFrame(points, columns=["x", "y"]), 2)
    assert groups.method == "HDBSCAN"
    assert adjusted_rand_score(labels, truth) >= 0.95


def test_noise_is_not_told_as_groups() -> None:
    frame = pd.DataFrame(np.random.default_rng(1).uniform(size=(800, 6)), columns=list("abcdef"))
    assert "no clear groups" in explore(frame).grouping


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"a": range(5), "b": range(5)}), pd.DataFrame({"a": ["x"] * 50, "b": [f"t {number} t" for number in range(50)]})]
)
def test_too_few_rows_or_no_column_that_tells_them_apart_is_nothing_to_cluster(frame: pd.DataFrame) -> None:
    with pytest.raises(Refused) as raised:
        describe(frame, 3)
    assert raised.value.code == "NothingToCluster"


@pytest.mark.parametrize(
    ("columns", "kind", "code"),
    [
        ({"a": [], "b": []}, "exploratory", "DatasetEmpty"),
        ({"a": [None, None], "b": [None, None]}, "exploratory", "DatasetAllMissing"),
        ({"a": [1, 2]}, "clustering", "DatasetOneColumn"),
        ({f"c{number}": [1] for number in range(501)}, "exploratory", "DatasetTooLarge"),
        ({"a": list(range(101))}, "exploratory", "DatasetTooLarge"),
    ],
)
def test_a_data_set_with_nothing_to_analyse_is_an_error(columns: dict[str, Any], kind: str, code: str) -> None:
    checked = validate(pd.DataFrame(columns), kind, 100)
    assert (checked.valid, checked.errors[0].code) == (False, code)


def test_what_a_reader_should_know_is_a_warning_with_its_column() -> None:
    frame = pd.DataFrame({"a": [1, 1, 2, 2] * 5, "b": [1, 1, 2, 2] * 5, "c": [None] * 20, "d": [1.0] + [None] * 19, "e": ["x"] * 20})
    checked = validate(frame, "exploratory", 100)
    assert checked.valid
    assert {(finding.code, finding.column) for finding in checked.warnings} == {
        ("duplicate_rows", None),
        ("duplicate_columns", "b"),
        ("all_missing", "c"),
        ("many_missing", "d"),
        ("constant_columns", None),
    }


HOSTILE = "<script>alert(1)</script>"


def report(folder: Path, data: str, kind: str = "exploratory", user: str = HOSTILE) -> str:
    """The report of a csv, by way of every step."""
    (folder / "source").write_text(data)

    def step(name: str, **given: Any) -> dict[str, Any]:
        told = answer({"step": name, "folder": str(folder), "given": given})
        assert "result" in told, told
        result: dict[str, Any] = told["result"]
        return result

    dataset = step("load_dataset", file_type="csv", max_rows=10_000, max_bytes=10**7)
    found = step("perform_exploratory_analysis")
    grouped = step("apply_clustering", n_clusters=found["suggested_clusters"] or 3) if kind == "clustering" else None
    drawn = step("generate_visualizations")
    event_id = str(uuid4())
    given = {
        "event_id": event_id,
        "user_id": user,
        "file_path": f"s3://headrace/uploads/u/{HOSTILE}.csv",
        "file_type": "csv",
        "analysis_type": kind,
        "requested_at": datetime.now(UTC).isoformat(),
        "dataset": {"event_id": event_id, "key": "k", "size_bytes": 1, "sha256": "s", **dataset},
        "findings": dataset["findings"] + found["findings"],
        "exploration": {"key": "k", **found},
        "clustering": {"key": "k", "labels_key": "l", **grouped} if grouped else None,
        "visualizations": {"pictures": [{**picture, "key": "k", "url": "u"} for picture in drawn["pictures"]]},
    }
    step("save_analysis_results", **given)
    return (folder / "report.html").read_text()


@pytest.mark.parametrize("kind", ["exploratory", "clustering"])
def test_html_in_names_values_and_texts_is_shown_and_not_run(tmp_path: Path, kind: str) -> None:
    rows = [f'{HOSTILE},{number},{number % 5},"{HOSTILE} {number} words here","=cmd|\' /C calc\'!A0"' for number in range(60)]
    page = report(
        tmp_path,
        "\n".join(
            [f"level,$x_1$,{HOSTILE},text,{HOSTILE}", *(row.replace(HOSTILE, "<b>v</b>", number % 2) for number, row in enumerate(rows))]
        ),
        kind,
    )
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


SHAPES = {
    "one row": "a,b\n1,x\n",
    "one column": "a\n" + "\n".join(map(str, range(30))),
    "all the same": "a,b\n" + "1,x\n" * 30,
    "huge and tiny": "a,b\n" + "".join(f"{10.0 ** (number * 20 - 300)},{number * 1e-9}\n" for number in range(30)),
    "text only": "t\n" + "".join(f"word{number} and word{number + 1}\n" for number in range(80)),
    "centuries": "day,n\n" + "".join(f"{1700 + number * 5}-01-01,{number}\n" for number in range(80)),
    "one day": "at,n\n" + "".join(f"2026-01-01 {number % 24:02}:{number % 60:02}:00,{number}\n" for number in range(80)),
    "other alphabets": "温度,Größe,имя\n" + "".join(f"{number * 1.5},{number % 3},имя{number % 4}\n" for number in range(60)),
    "two values": "a,b\n" + "".join(f"{number % 2},{number % 2}\n" for number in range(40)),
    "true and false": "ok,n\n" + "".join(f"{'true' if number % 3 else 'false'},{number * 7 % 11}\n" for number in range(40)),
    "next to each other": "a,b\n" + "".join(f"{1e15 + number % 2},{1 + (number % 3) * 2.3e-16}\n" for number in range(40)),
}


@pytest.mark.parametrize("data", SHAPES.values(), ids=SHAPES.keys())
def test_a_data_set_of_an_odd_shape_has_a_report(tmp_path: Path, data: str) -> None:
    page = report(tmp_path, data)
    assert "Every column" in page
    assert "nan" not in page.replace("data:image/png", "").split("base64,")[0].lower()
    json.loads((tmp_path / "exploration.json").read_text(), parse_constant=pytest.fail)


@given(st.one_of(st.floats(-1e300, 1e300), st.sampled_from([math.nan, math.inf])))
def test_a_number_is_short_and_reads_back_as_nearly_itself(value: float) -> None:
    text = number(value)
    assert len(text) <= 14
    if math.isfinite(value):
        assert float(text.replace(",", "")) == pytest.approx(value, rel=1e-3, abs=1e-300)


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_share_is_none_or_all_only_when_it_is(part: int, whole: int) -> None:
    text = share(part, whole)
    assert (text == "0 %") == (part == 0)
    assert (text == "100 %") == (part >= whole)


def test_lists_are_read_as_people_say_them() -> None:
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"]), listed(list("abcdef"))] == [
        "none",
        "a",
        "a, b and c",
        "a, b, c, d and 2 more",
    ]

"""Files as they come: dialects, encodings, types, and those that are none of it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.analysis.child import answer
from workers.analysis.compute.limits import Limits
from workers.analysis.compute.text import detect_dialect, unique_names

LIMITS = Limits(max_rows=1000, max_bytes=200_000)


def load(folder: Path, data: bytes, file_type: str) -> dict[str, Any]:
    (folder / "source").write_bytes(data)
    return answer(
        {"step": "load_dataset", "folder": str(folder), "given": {"file_type": file_type, "max_rows": 1000, "max_bytes": 200_000}}
    )


def loaded(folder: Path, data: bytes, file_type: str = "csv") -> tuple[pd.DataFrame, set[str]]:
    told = load(folder, data, file_type)
    assert "result" in told, told
    return pd.read_parquet(folder / "dataset.parquet"), {finding["code"] for finding in told["result"]["findings"]}


def refused(folder: Path, data: bytes, file_type: str) -> str:
    told = load(folder, data, file_type)
    assert "refused" in told, told
    code: str = told["refused"]["code"]
    return code


CSV = "name;price;day\nMüller;1,50;2026-01-31\nØrsted;2,25;2026-02-28\nCafé;-3,00;2026-03-01\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_csv_from_a_spreadsheet_abroad_is_read_as_it_was_meant(tmp_path: Path, encoding: str) -> None:
    frame, findings = loaded(tmp_path, (CSV * 1).encode(encoding))
    assert list(frame["name"]) == ["Müller", "Ørsted", "Café"]
    assert list(frame["price"]) == [1.5, 2.25, -3.0]
    assert str(frame["day"].dtype).startswith("datetime64")
    assert ("encoding_guessed" in findings) == (encoding == "cp1252")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimiter_is_found_though_fields_hold_the_others(delimiter: str) -> None:
    rows = [["a", "b", "c"], ["1;2", "x,y", "p|q"], ["3\t4", "z", "r"]]
    sample = "\n".join(delimiter.join(f'"{field}"' if delimiter in field else field for field in row) for row in rows * 3)
    assert detect_dialect(sample).delimiter == delimiter


def test_names_that_repeat_are_blank_or_hold_html_are_kept_apart(tmp_path: Path) -> None:
    frame, findings = loaded(tmp_path, "größe,größe,,<script>alert(1)</script>\n1,2,3,=1+1\n".encode())
    assert list(frame.columns) == ["größe", "größe (2)", "column 3", "<script>alert(1)</script>"]
    assert list(frame.iloc[0])[3] == "=1+1"
    assert "duplicate_names" in findings


def test_numbers_among_which_a_few_are_not_are_numbers_and_it_is_told(tmp_path: Path) -> None:
    frame, findings = loaded(tmp_path, b"a,b\n" + b"1,x\n" * 95 + b"n.v.t.,y\n" * 5)
    assert frame["a"].isna().sum() == 5
    assert findings == {"mixed_types"}


def test_infinities_count_as_missing(tmp_path: Path) -> None:
    frame, findings = loaded(tmp_path, b"a,b\ninf,1\n-inf,2\n3,3\nnan,4\n")
    assert list(frame["a"].isna()) == [True, True, False, True]
    assert findings == {"infinite_values"}


def test_a_first_row_of_numbers_is_data(tmp_path: Path) -> None:
    frame, findings = loaded(tmp_path, b"1,2\n3,4\n")
    assert (len(frame), list(frame.columns), findings) == (2, ["column 1", "column 2"], {"no_header"})


@pytest.mark.parametrize(
    ("days", "first", "findings"),
    [
        (["31/01/2026", "01/02/2026"], "2026-01-31", set()),
        (["01/31/2026", "02/01/2026"], "2026-01-31", set()),
        (["01/02/2026", "03/04/2026"], "2026-02-01", {"ambiguous_dates"}),
        (["2026-01-31T10:00:00+02:00", "2026-02-01T10:00:00Z"], "2026-01-31", set()),
        (["31.01.2026", "01.02.2026"], "2026-01-31", set()),
    ],
)
def test_days_are_read_as_they_can_be_meant(tmp_path: Path, days: list[str], first: str, findings: set[str]) -> None:
    frame, found = loaded(tmp_path, "\n".join(["day,n", *(f"{day},1" for day in days)]).encode())
    assert (str(frame["day"][0])[:10], found) == (first, findings)


@pytest.mark.parametrize(
    ("data", "file_type"),
    [
        (json.dumps([{"a": 1, "b": {"c": "x"}}, {"a": 2, "b": {"c": "y"}}]), "json"),
        (json.dumps({"rows": [{"a": 1, "b": {"c": "x"}}, {"a": 2, "b": {"c": "y"}}]}), "json"),
        (json.dumps({"a": [1, 2], "b.c": ["x", "y"]}), "json"),
        ('{"a": 1, "b": {"c": "x"}}\n\n{"a": 2, "b": {"c": "y"}}\n', "jsonl"),
    ],
)
def test_json_in_its_usual_shapes_is_the_same_table(tmp_path: Path, data: str, file_type: str) -> None:
    frame, _ = loaded(tmp_path, data.encode(), file_type)
    assert frame.to_dict("list") == {"a": [1, 2], "b.c": ["x", "y"]}


def test_json_of_mixed_nested_and_broken_values_is_a_table(tmp_path: Path) -> None:
    records = [{"a": 1, "b": [1, {"c": 2}], "d": True}, {"a": "x", "b": None, "d": False}, {"a": "\ud800", "e": 2**70, "d": None}]
    frame, _ = loaded(tmp_path, json.dumps(records).encode(), "json")
    assert list(frame["a"]) == ["1", "x", "?"]
    assert frame["b"][0] == '[1, {"c": 2}]'


def test_parquet_with_nested_decimal_and_categorical_columns_is_plain(tmp_path: Path) -> None:
    made = pd.DataFrame({"c": pd.Categorical(["x", "y"]), "l": [[1], [2, 3]], "n": [1, None]})
    buffer = io.BytesIO()
    made.to_parquet(buffer)
    frame, _ = loaded(tmp_path, buffer.getvalue(), "parquet")
    assert list(frame["c"]) == ["x", "y"]
    assert list(frame["l"]) == ["[1]", "[2, 3]"]


def workbook(*sheets: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"S{number}")
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def test_the_first_sheet_with_values_is_read_without_its_blank_rows(tmp_path: Path) -> None:
    frame, findings = loaded(tmp_path, workbook([], [[None], ["a", "b"], [1, "x"], [2, "=1+1"], [None, None]]), "xlsx")
    assert frame.columns.tolist() == ["a", "b"]
    assert frame["a"].tolist() == [1, 2]
    assert findings == {"several_sheets"}


def rewritten(replace: dict[str, bytes], data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            new.writestr(part, replace.get(part, old.read(part)))
    return buffer.getvalue()


SHEET = "xl/worksheets/sheet1.xml"
LAUGHS = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><worksheet><sheetData>&b;</sheetData></worksheet>'
PNG = b"\x89PNG\r\n\x1a\n" + bytes(300)


def declared(data: bytes, size: int) -> bytes:
    """A workbook whose directory understates what a part unpacks to."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        true = archive.getinfo(SHEET).file_size
    return data.replace(true.to_bytes(4, "little"), size.to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("data", "file_type", "code"),
    [
        (b"", "csv", "DatasetEmpty"),
        (b"\n \n", "csv", "DatasetEmpty"),
        (PNG, "csv", "DatasetUnreadable"),
        (PNG, "json", "DatasetUnreadable"),
        (PNG, "jsonl", "DatasetUnreadable"),
        (PNG, "parquet", "DatasetUnreadable"),
        (PNG, "xlsx", "DatasetUnreadable"),
        (b"<!DOCTYPE html><html>", "csv", "DatasetUnreadable"),
        (b"a,b\n1,\x00\x01\x02\n", "csv", "DatasetUnreadable"),
        (b"a,b\n" + b"1,2,3\n" * 9, "json", "DatasetUnreadable"),
        (b'{"a": 1}', "json", "DatasetUnreadable"),
        (b"[" * 100_000, "json", "DatasetUnreadable"),
        (b'{"a": 1}\n[1]\n', "jsonl", "DatasetUnreadable"),
        (b"PAR1" + bytes(50), "parquet", "DatasetUnreadable"),
        (b"", "parquet", "DatasetEmpty"),
        (b"", "xlsx", "DatasetEmpty"),
        (b"PK\x03\x04" + bytes(50), "xlsx", "DatasetUnreadable"),
        (workbook([]), "xlsx", "DatasetEmpty"),
        (rewritten({SHEET: LAUGHS}, workbook([["a"]])), "xlsx", "DatasetUnreadable"),
        (rewritten({SHEET: b" " * 10**7}, workbook([["a"]])), "xlsx", "DatasetTooLarge"),
        (declared(rewritten({SHEET: b" " * 10**7}, workbook([["a"]])), 100), "xlsx", "DatasetUnreadable"),
        (b"a,b\n" + b"1,2\n" * 1001, "csv", "DatasetTooLarge"),
        (b'{"a": 1}\n' * 1001, "jsonl", "DatasetTooLarge"),
        (",".join(map("c{}".format, range(501))).encode(), "csv", "DatasetTooLarge"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused_by_name(tmp_path: Path, data: bytes, file_type: str, code: str) -> None:
    assert refused(tmp_path, data, file_type) == code


def test_a_few_lines_with_too_many_fields_are_left_out_and_many_are_refused(tmp_path: Path) -> None:
    good = b"a,b\n" + b"1,2\n" * 500
    frame, findings = loaded(tmp_path, good + b"1,2,3\n")
    assert (len(frame), findings) == (500, {"lines_left_out"})
    assert refused(tmp_path, good + b"1,2,3\n" * 50, "csv") == "DatasetUnreadable"


@given(st.lists(st.one_of(st.none(), st.text(max_size=90), st.integers())))
def test_names_come_out_unique_printable_and_in_order(names: list[Any]) -> None:
    made, repeated = unique_names(names)
    assert len(set(made)) == len(made) == len(names)
    assert all((name and name.isprintable()) or not set(name) & set(map(chr, range(32))) for name in made)
    assert unique_names(made) == (made, [])
    assert set(repeated) <= set(made)


CELLS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))


@settings(max_examples=40)
@given(rows=st.lists(st.dictionaries(st.text(max_size=5), CELLS, max_size=4), min_size=1, max_size=20))
def test_any_json_records_become_a_table_with_as_many_rows(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    told = load(tmp_path_factory.mktemp("json"), json.dumps(rows).encode(), "json")
    assert told.get("result", {}).get("rows") == len(rows) if any(rows) else "fault" not in told, told


@settings(max_examples=60)
@given(data=st.binary(max_size=300), file_type=st.sampled_from(["csv", "json", "jsonl", "parquet", "xlsx"]))
def test_no_bytes_are_a_fault(tmp_path_factory: pytest.TempPathFactory, data: bytes, file_type: str) -> None:
    assert "fault" not in load(tmp_path_factory.mktemp("any"), data, file_type)

"""Excel workbooks, which are zip archives of XML: measured before they are opened."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
import pandas as pd
from defusedxml import DefusedXmlException
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet._read_only import ReadOnlyWorksheet

from schemas.analysis import Finding
from schemas.errors import FailureType
from workers.analysis.compute.limits import Limits
from workers.analysis.compute.refusal import Refused
from workers.analysis.compute.text import what_it_is

MAX_CELLS = 3_000_000
"""What openpyxl reads within the step's time-out; a larger table is better sent as csv or Parquet."""
_MAX_PARTS = 10_000
_CHUNK = 1024 * 1024

if not openpyxl.DEFUSEDXML:
    raise ImportError("openpyxl does not use defusedxml: OPENPYXL_DEFUSEDXML must not be set")


def read(path: Path, limits: Limits) -> tuple[pd.DataFrame, list[Finding]]:
    """The first sheet that has something. Raises `Refused`."""
    _measure(path, limits)
    try:
        with path.open("rb") as file:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = [sheet for sheet in book.worksheets if isinstance(sheet, ReadOnlyWorksheet)]
            for sheet in sheets:
                rows = _rows(sheet, limits)
                if rows:
                    return _frame(rows), _others(sheet.title, len(sheets))
    except DefusedXmlException as error:
        raise Refused(FailureType.DATASET_UNREADABLE, "the workbook's XML defines entities, which no spreadsheet needs") from error
    except (InvalidFileException, ParseError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, AttributeError) as error:
        raise Refused(FailureType.DATASET_UNREADABLE, f"the workbook is damaged ({type(error).__name__}): save it anew as xlsx") from error
    raise Refused(FailureType.DATASET_EMPTY, "the workbook has no sheet with a value in it")


def _measure(path: Path, limits: Limits) -> None:
    """What the archive says that it unpacks to, and what it does unpack to; nothing is kept of it."""
    if path.stat().st_size == 0:
        raise Refused(FailureType.DATASET_EMPTY, "the file is empty")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.startswith(b"PK"):
        found = what_it_is(head) or "something else"
        raise Refused(FailureType.DATASET_UNREADABLE, f"the file is not xlsx, it is {found}: check file_type")
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if len(parts) > _MAX_PARTS or sum(part.file_size for part in parts) > limits.max_bytes:
                raise _bomb(limits)
            left = limits.max_bytes
            for part in parts:
                with archive.open(part) as opened:
                    while chunk := opened.read(_CHUNK):
                        left -= len(chunk)
                        if left < 0:
                            raise _bomb(limits)
            if "[Content_Types].xml" not in archive.namelist():
                raise Refused(FailureType.DATASET_UNREADABLE, "the file is a zip archive, but no xlsx workbook: check file_type")
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise Refused(FailureType.DATASET_UNREADABLE, "the workbook is damaged or encrypted: save it anew, without a password") from error


def _bomb(limits: Limits) -> Refused:
    return Refused(FailureType.DATASET_TOO_LARGE, f"the workbook unpacks to more than {limits.max_bytes:,} bytes or {_MAX_PARTS:,} parts")


def _rows(sheet: ReadOnlyWorksheet, limits: Limits) -> list[tuple[Any, ...]]:
    """Without blank rows at both ends. The size that the sheet itself declares is not believed."""
    sheet.reset_dimensions()
    rows: list[tuple[Any, ...]] = []
    cells = blank = 0
    for row in sheet.iter_rows(values_only=True):  # type: ignore[misc]  # the stubs borrow another class's method
        while row and row[-1] is None:
            row = row[:-1]  # noqa: PLW2901
        if not row:
            blank += bool(rows)
            limits.hold(rows=len(rows) + blank)
            continue
        rows.extend([()] * blank)
        blank = 0
        rows.append(row)
        cells += len(row)
        limits.hold(rows=len(rows) - 1, columns=len(row))
        if cells > MAX_CELLS:
            said = f"the sheet has more than {MAX_CELLS:,} cells, which takes too long to read from xlsx: save it as csv or Parquet"
            raise Refused(FailureType.DATASET_TOO_LARGE, said)
    return rows


def _frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    width = max(map(len, rows))
    header = [*rows[0], *[None] * (width - len(rows[0]))]
    body = [row + (None,) * (width - len(row)) for row in rows[1:]]
    columns = list(zip(*body, strict=True)) if body else [()] * width
    frame = pd.DataFrame({number: pd.Series(list(values), dtype=object) for number, values in enumerate(columns)})
    frame.columns = pd.Index(header, dtype=object)
    return frame


def _others(title: str, sheets: int) -> list[Finding]:
    if sheets == 1:
        return []
    said = f"The workbook has {sheets} sheets; only {title[:40]!r} was read, the first with values."
    return [Finding(code="several_sheets", severity="warning", message=said)]

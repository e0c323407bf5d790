"""CSV of any dialect and encoding."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd

from schemas.analysis import Finding
from schemas.errors import FailureType
from workers.analysis.compute.limits import Limits
from workers.analysis.compute.refusal import Refused
from workers.analysis.compute.text import Dialect, detect_dialect, detect_encoding, refuse_other, sample_of

_TOLERATED = 0.01
_LEFT_OUT = "Skipping line"
_DELIMITER_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read(path: Path, limits: Limits) -> tuple[pd.DataFrame, list[Finding]]:
    """Raises `Refused`."""
    refuse_other(path, "csv")
    encoding = detect_encoding(path)
    dialect = detect_dialect(sample_of(path, encoding))
    limits.hold(columns=len(dialect.names))
    frame, left_out = _parse(path, encoding.name, dialect, limits)
    findings = []
    if encoding.guessed:
        said = f"The encoding is not UTF-8; it was read as {encoding.name}, by the frequency of letters. Check names with accents."
        findings.append(Finding(code="encoding_guessed", severity="warning", message=said))
    if dialect.delimiter != ",":
        said = f"The fields are separated by {_DELIMITER_WORDS[dialect.delimiter]}" + (
            "." if dialect.decimal == "." else ", decimals by commas."
        )
        findings.append(Finding(code="dialect", severity="info", message=said))
    if not dialect.header:
        said = "The first row is all numbers, so it was read as data; the columns have no names of their own."
        findings.append(Finding(code="no_header", severity="warning", message=said))
    if left_out:
        said = f"{left_out:,} lines have more fields than there are columns, and were left out."
        findings.append(Finding(code="lines_left_out", severity="warning", message=said))
    return frame, findings


def _parse(path: Path, encoding: str, dialect: Dialect, limits: Limits) -> tuple[pd.DataFrame, int]:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=dialect.delimiter,
                decimal=dialect.decimal,
                encoding=encoding,
                header=0 if dialect.header else None,
                names=range(len(dialect.names)),
                index_col=False,
                nrows=limits.max_rows + 1,
                low_memory=False,  # a column's type is decided by all of its values, not piece by piece
                on_bad_lines="warn",
            )
    except pd.errors.EmptyDataError as error:
        raise Refused(FailureType.DATASET_EMPTY, "the file has no rows and no columns") from error
    except (pd.errors.ParserError, UnicodeError, ValueError, OverflowError) as error:
        said = f"the file cannot be read as csv ({type(error).__name__}): check its quotes and its encoding"
        raise Refused(FailureType.DATASET_UNREADABLE, said) from error
    width = len(dialect.names)
    left_out = sum(str(warning.message).count(_LEFT_OUT) for warning in caught)
    if left_out > _TOLERATED * (len(frame) + left_out):
        said = f"{left_out:,} of {len(frame) + left_out:,} lines have more fields than {width} columns: check delimiter and quotes"
        raise Refused(FailureType.DATASET_UNREADABLE, said)
    frame.columns = pd.Index(dialect.names)
    return frame, left_out

"""What a text file is: its encoding, its delimiter, its header. Pure Python, on a sample of the file."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import charset_normalizer

from schemas.errors import FailureType
from workers.analysis.compute.refusal import Refused

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 256 * 1024
_AROUND = 32 * 1024
_LINES = 100
_MAX_NAME = 80
_WESTERN = "cp1252"
_ALIKE = 0.05

_MAGIC = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive, which xlsx is too",
    b"PK\x05\x06": "an empty zip archive",
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"PAR1": "a Parquet file",
    b"\xd0\xcf\x11\xe0": "a document of an old Office, such as xls",
    b"SQLite format 3": "an SQLite database",
    b"\x7fELF": "a program",
}
_BOMS = [
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d+)*|\d*[.,]\d+)([eE][-+]?\d+)?\s*%?\s*")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")
_DECIMAL_POINT = re.compile(r"\s*[-+]?\d+\.\d+\s*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Encoding:
    name: str
    guessed: bool
    """By the frequency of letters, since neither a mark nor UTF-8's own rules told."""


@dataclass(frozen=True, slots=True)
class Dialect:
    delimiter: str
    decimal: str
    header: bool
    names: list[str]
    """As they are in the first row; invented when it has none. Neither cleaned nor unique."""


def what_it_is(head: bytes) -> str | None:
    """In words, when the first bytes are those of something known that is no text."""
    for magic, words in _MAGIC.items():
        if head.startswith(magic):
            return words
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    return None


def refuse_other(path: Path, file_type: str) -> None:
    """Raises `Refused` for a file that is empty, or of a kind that says itself that it is no text."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.strip():
        raise Refused(FailureType.DATASET_EMPTY, "the file is empty: upload one with a header and rows")
    if (found := what_it_is(head)) is not None:
        raise Refused(FailureType.DATASET_UNREADABLE, f"the file is not {file_type}, it is {found}: name its type in file_type")


def detect_encoding(path: Path) -> Encoding:
    """By its mark, else UTF-8 if the whole file is, else the likeliest. Raises `Refused` for what is no text."""
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
    for mark, name in _BOMS:
        if head.startswith(mark):
            return Encoding(name, guessed=False)
    if b"\x00" in head:
        raise Refused(FailureType.DATASET_UNREADABLE, "the file is no text: it has zero bytes. Check file_type")
    wrong = _first_that_is_not_utf8(path)
    if wrong is None:
        return Encoding("utf-8", guessed=False)
    with path.open("rb") as file:
        file.seek(max(0, wrong - _AROUND))
        sample = file.read(2 * _AROUND)
    matches = charset_normalizer.from_bytes(sample)
    best = matches.best()
    if best is None or best.encoding.startswith("utf"):
        return Encoding(_WESTERN, guessed=True)
    # A few accents fit many encodings alike: then it is the one that most such files have.
    western = next((match for match in matches if match.encoding == _WESTERN), None)
    alike = western is not None and western.chaos <= best.chaos + _ALIKE and western.coherence >= best.coherence - _ALIKE
    return Encoding(_WESTERN if alike else best.encoding, guessed=True)


def _first_that_is_not_utf8(path: Path) -> int | None:
    decoder, offset = codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(4 * 1024 * 1024)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return max(0, offset + error.start)
            if not chunk:
                return None
            offset += len(chunk)


def sample_of(path: Path, encoding: Encoding) -> str:
    """The beginning, without the line that the sample cuts."""
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
        whole = not file.read(1)
    text = codecs.getincrementaldecoder(encoding.name)(errors="replace").decode(head)
    return text if whole else text[: text.rfind("\n") + 1] or text


def detect_dialect(sample: str) -> Dialect:
    """The delimiter that gives most lines the same number of fields, and more than one."""
    best: tuple[float, int, str] = (0.0, 1, ",")
    for delimiter in _DELIMITERS:
        rows = _rows(sample, delimiter)
        if not rows:
            continue
        width, count = Counter(map(len, rows)).most_common(1)[0]
        score = (count / len(rows) if width > 1 else 0.0, width, delimiter)
        if score[:2] > best[:2]:
            best = score
    delimiter = best[2]
    rows = _rows(sample, delimiter)
    first = rows[0] if rows else []
    width = max(len(first), Counter(map(len, rows)).most_common(1)[0][0]) if rows else 0
    header = not (first and all(_NUMBER.fullmatch(field) for field in first))
    names = [*first, *[""] * (width - len(first))] if header else [""] * width
    return Dialect(delimiter, _decimal(rows, delimiter), header, names)


def _rows(sample: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(sample.splitlines(keepends=True), delimiter=delimiter):
            if row and any(field.strip() for field in row):
                rows.append(row)
            if len(rows) == _LINES:
                break
    except csv.Error:
        return []
    return rows


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    fields = [field for row in rows[1:] for field in row]
    commas = sum(_DECIMAL_COMMA.fullmatch(field) is not None for field in fields)
    return "," if commas > sum(_DECIMAL_POINT.fullmatch(field) is not None for field in fields) else "."


def unique_names(names: Iterable[object]) -> tuple[list[str], list[str]]:
    """Names that can be shown and told apart, in order, and those that were there more than once.

    Control characters become spaces, a blank name `column 3`, a second `price` `price (2)`; 80 characters at the most.
    """
    made: list[str] = []
    taken: set[str] = set()
    repeated: list[str] = []
    for number, name in enumerate(names, 1):
        cleaned = str(name).encode("utf-8", "replace").decode() if name is not None else ""
        cleaned = _CONTROL.sub(" ", cleaned).strip()[:_MAX_NAME].strip() or f"column {number}"
        candidate, again = cleaned, 1
        while candidate in taken:
            again += 1
            candidate = f"{cleaned} ({again})"
        if candidate != cleaned and cleaned not in repeated:
            repeated.append(cleaned)
        taken.add(candidate)
        made.append(candidate)
    return made, repeated

"""Reads texts: from a file each, or from a table with their labels, a CSV or Parquet file. No torch.

Knows files; does not know words, or what the texts are for.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainables.file_kind import FileKind
from trainables.settings import printable

TEXT_FILES = FileKind("text file", "text", frozenset({".txt"}), ".txt")
TABLES = frozenset({".csv", ".parquet"})
"""Endings of the names of tables."""
TEXT, LABEL = "text", "label"
"""The columns of a table that are read."""
MAX_CHARACTERS = csv.field_size_limit()
"""Maximum number of characters of a text. A longer one is most likely a table with a quote that is not closed."""


class TextError(ValueError):
    """A text cannot be read; the message names the file."""


def read_text(path: Path) -> str:
    """Read a file of one text in UTF-8.

    Raises:
        TextError: the file does not exist, is empty or too long, or is not UTF-8.
    """
    name = printable(path)
    try:
        with path.open("rb") as file:
            content = file.read(4 * MAX_CHARACTERS + 1)  # at most 4 bytes per character
    except FileNotFoundError as error:
        raise TextError(f"{name}: there is no such file") from error
    except OSError as error:
        raise TextError(f"{name} cannot be read: {error.strerror}") from error
    if len(content) > 4 * MAX_CHARACTERS:
        raise TextError(f"{name} has more than {MAX_CHARACTERS:,} characters")
    try:
        return check_text(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise TextError(f"{name} is not UTF-8") from error


def read_table(path: Path) -> tuple[list[str], list[Any]]:
    """Read the texts of a table with the columns `text` and `label`, and their labels.

    Raises:
        TextError: the table cannot be read, or lacks a column, a text or a label; the message names the row.
    """
    name = printable(path)
    rows = _parquet_rows(path, name) if path.suffix.lower() == ".parquet" else _csv_rows(path, name)
    texts, labels = [], []
    for number, (text, label) in enumerate(rows, 1):
        where = f"row {number:,} of {name}"
        if label is None or not str(label).strip():
            raise TextError(f"{where} has no label")
        texts.append(check_text(text or "", where))
        labels.append(label)
    if not texts:
        raise TextError(f"{name} has no rows")
    return texts, labels


def check_text(text: str, where: str) -> str:
    """Return the text; TextError if it is empty or too long. `where` says where it is from."""
    if not text.strip():
        raise TextError(f"{where} has an empty text")
    if len(text) > MAX_CHARACTERS:
        raise TextError(f"{where} has {len(text):,} characters; a text can have at most {MAX_CHARACTERS:,}")
    return text


def _csv_rows(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """The text and the label of each row, after the header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            text, label = _columns(header, name)
            for number, row in enumerate((row for row in rows if row), 1):
                if len(row) != len(header):
                    raise TextError(
                        f"row {number:,} of {name} has {len(row)} fields, and the header has {len(header)}; a text "
                        "with commas must be in quotes"
                    )
                yield row[text], row[label]
    except UnicodeDecodeError as error:
        raise TextError(f"{name} is not UTF-8") from error
    except csv.Error as error:
        raise TextError(f"{name} is not a CSV file: {error} (after line {rows.line_num:,})") from error
    except OSError as error:
        raise TextError(f"{name} cannot be read: {error.strerror}") from error


def _parquet_rows(path: Path, name: str) -> Iterator[tuple[str | None, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        header = pq.read_schema(path).names
        _columns(header, name)
        table = pq.read_table(path, columns=[TEXT, LABEL])
        texts = table[TEXT].cast(pa.large_string()) if pa.types.is_dictionary(table[TEXT].type) else table[TEXT]
    except (pa.ArrowException, OSError) as error:
        raise TextError(f"{name} cannot be read as a Parquet file") from error
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        raise TextError(f"the column {TEXT!r} of {name} is {texts.type}; it must be text")
    yield from zip(texts.to_pylist(), table[LABEL].to_pylist(), strict=True)


def _columns(header: list[str], name: str) -> tuple[int, int]:
    """The places of the text and the label."""
    for column in (TEXT, LABEL):
        if header.count(column) != 1:
            found = ", ".join(repr(printable(one)) for one in header[:20]) or "none"
            wrong = "there twice" if column in header else "missing"
            raise TextError(f"{name} has the columns {found}; {column!r} is {wrong}")
    return header.index(TEXT), header.index(LABEL)

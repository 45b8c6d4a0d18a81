"""Data files: records go in, files of a bounded size come out, on this machine's disk until they are handed on."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote
from uuid import UUID

from .errors import LakeError, SettingsError
from .formats import Record
from .paging import found
from .watermark import day_of

FileFormat = Literal["jsonl", "jsonl.gz", "parquet"]
MAX_OPEN = 128
"""How many partitions are written to at once; the one that waited longest is finished when there are more."""
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_MAX_VALUE = 200


@dataclass(frozen=True)
class By:
    """Partitions by a field of the records, or by the day, month or year that it names."""

    field: str
    """Where in the record, like `customer.country`."""
    part: Literal["value", "day", "month", "year"] = "value"
    name: str | None = None
    """The partition's name; None = the field's, or the part's."""

    def folder(self, record: Record) -> str:
        """The folder of a record, like `country=de`, as Hive and all its heirs know it.

        Raises:
            LakeError: a date is asked for, and the field has none.
        """
        value = found(record, self.field)
        name = self.name or (self.field.rpartition(".")[2] if self.part == "value" else self.part)
        if self.part == "value":
            text = _NO_VALUE if value in (None, "") else str(value)
        else:
            day = day_of(value)
            if day is None and value is not None:
                raise LakeError(f"{self.field} is {value!r}, no date: partition by another field, or by its value")
            text = _NO_VALUE if day is None else day.isoformat()[: {"day": 10, "month": 7, "year": 4}[self.part]]
        if len(text) > _MAX_VALUE:
            raise LakeError(f"{self.field} is too long for a folder's name: {text[:40]!r}…; partition by another field")
        # A dot is no harm in a name, but two are.
        return f"{quote(name, safe='')}={quote(text, safe=' :').replace('..', '%2E%2E')}"


class Spool(Protocol):
    """One file that grows on this machine."""

    def write(self, record: Record) -> None:
        """Adds a record."""

    def size(self) -> int:
        """How many bytes it has so far."""

    def close(self) -> Iterator[tuple[Path, int]]:
        """Finishes it: the files that came of it, each with its number of records."""

    def discard(self) -> None:
        """Lets go of it."""


@dataclass(frozen=True)
class DataFile:
    """A finished file."""

    path: Path
    folder: str
    """Its partition; empty when there is none."""
    rows: int
    bytes: int


class DataFiles:
    """Spreads records over partitions, and hands files on as soon as they are finished."""

    def __init__(
        self,
        format: FileFormat,  # noqa: A002 - the public name
        max_bytes: int,
        schema: Any,
        folder: Callable[[Record], str],
        hand_on: Callable[[DataFile], None],
    ) -> None:
        """Writes into a temporary directory. What `hand_on` was given is removed when it returns."""
        self._format = format
        self._max_bytes = max_bytes
        self._schema = schema
        self._folder = folder
        self._hand_on = hand_on
        self._open: OrderedDict[str, Spool] = OrderedDict()
        self._directory = tempfile.TemporaryDirectory(prefix="haulier-")

    def write(self, record: Record) -> None:
        """Adds a record to its partition's file."""
        folder = self._folder(record)
        spool = self._open.get(folder)
        if spool is None:
            if len(self._open) == MAX_OPEN:
                self._finish(next(iter(self._open)))
            spool = self._open[folder] = self._begin()
        self._open.move_to_end(folder)
        spool.write(record)
        if spool.size() >= self._max_bytes:
            self._finish(folder)

    def finish(self) -> None:
        """Hands on what is open."""
        for folder in list(self._open):
            self._finish(folder)

    def close(self) -> None:
        """Removes what was not handed on."""
        while self._open:
            self._open.popitem()[1].discard()
        self._directory.cleanup()

    def _begin(self) -> Spool:
        descriptor, name = tempfile.mkstemp(dir=self._directory.name)
        os.close(descriptor)
        if self._format == "parquet":
            from .parquet import ParquetSpool

            return ParquetSpool(Path(name), self._schema)
        return _JsonLines(Path(name), compressed=self._format == "jsonl.gz")

    def _finish(self, folder: str) -> None:
        spool = self._open.pop(folder)
        try:
            for path, rows in spool.close():
                self._hand_on(DataFile(path, folder, rows, path.stat().st_size))
                path.unlink()
        finally:
            spool.discard()


class _JsonLines:
    def __init__(self, path: Path, *, compressed: bool) -> None:
        self._path = path
        self._rows = 0
        self._file = path.open("wb")
        # Without name and time: the same records make the same bytes.
        self._gzip = gzip.GzipFile("", "wb", 6, self._file, mtime=0) if compressed else None

    def write(self, record: Record) -> None:
        (self._gzip or self._file).write(line_of(record))
        self._rows += 1

    def size(self) -> int:
        return self._file.tell()

    def close(self) -> Iterator[tuple[Path, int]]:
        self.discard()
        yield self._path, self._rows

    def discard(self) -> None:
        if self._gzip:
            self._gzip.close()
        self._file.close()


def line_of(record: Mapping[str, Any]) -> bytes:
    """A record as one line of JSON.

    Raises:
        LakeError: it holds something that is not data.
    """
    try:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=_plain)
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        # Half a character: JSON can name it, UTF-8 cannot hold it.
        return json.dumps(record, separators=(",", ":"), default=_plain).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise LakeError(f"a record cannot be written as JSON: {error}; convert it first") from None


def _plain(value: Any) -> str:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    raise TypeError(f"there is a {type(value).__name__} in it")


def check_format(format: str) -> None:  # noqa: A002 - the public name
    """Raises `SettingsError` unless files can be written so here."""
    if format not in ("jsonl", "jsonl.gz", "parquet"):
        raise SettingsError(f"there is no format {format!r}: use jsonl, jsonl.gz or parquet")
    if format == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise SettingsError("parquet needs pyarrow: pip install 'haulier[parquet]'") from None

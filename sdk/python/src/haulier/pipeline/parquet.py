"""Parquet files through pyarrow, with a schema that is told or found in the records."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import LakeError
from .formats import Record

_BATCH_ROWS = 10_000
_BATCH_BYTES = 16 * 1024 * 1024
"""As the records wait, before they are a table."""


class ParquetSpool:
    """One file. Records wait on the disk, for one that has columns cannot grow by single records in little memory.

    Without a schema, the first batch of a file decides. A later one with other types, or with fields that are new,
    begins a file of its own; fields that are missing, and fields of which nothing but null is known, are no difference.
    """

    def __init__(self, path: Path, schema: pa.Schema | None) -> None:
        """Opens the waiting room."""
        self._path = path
        self._schema = schema
        self._waiting = path.with_suffix(".waiting").open("w+b")

    def write(self, record: Record) -> None:
        """Adds a record."""
        pickle.dump(record, self._waiting, pickle.HIGHEST_PROTOCOL)

    def size(self) -> int:
        """What waits, which is more than the file will have."""
        return self._waiting.tell()

    def close(self) -> Iterator[tuple[Path, int]]:
        """Writes it, or as many as there are schemas."""
        writer: pq.ParquetWriter | None = None
        rows = 0
        for batch in self._batches():
            table = self._table(batch)
            fitted = None if writer is None else _fitted(table, writer.schema)
            if writer is None or fitted is None:
                if writer is not None:
                    writer.close()
                    yield self._path, rows
                writer, rows = pq.ParquetWriter(self._path, table.schema, compression="zstd"), 0
            writer.write_table(fitted or table)
            rows += table.num_rows
        if writer is not None:
            writer.close()
            yield self._path, rows
        Path(self._waiting.name).unlink()

    def discard(self) -> None:
        """Closes the waiting room."""
        self._waiting.close()

    def _batches(self) -> Iterator[list[Record]]:
        end = self._waiting.tell()
        self._waiting.seek(0)
        batch: list[Record] = []
        begin = 0
        while self._waiting.tell() < end:
            batch.append(pickle.load(self._waiting))  # noqa: S301 - written above
            if len(batch) == _BATCH_ROWS or self._waiting.tell() - begin >= _BATCH_BYTES:
                yield batch
                batch, begin = [], self._waiting.tell()
        if batch:
            yield batch

    def _table(self, batch: list[Record]) -> pa.Table:
        # All fields of all records: from_pylist would go by the first record's alone.
        names = list(dict.fromkeys(name for record in batch for name in record))
        if self._schema is not None:
            unknown = [name for name in names if name not in self._schema.names]
            if unknown:
                raise LakeError(f"the records have fields that the schema has not: {', '.join(unknown[:10])}; add them")
        columns = {}
        for name in self._schema.names if self._schema is not None else names:
            kind = None if self._schema is None else self._schema.field(name).type
            try:
                columns[name] = pa.array([record.get(name) for record in batch], kind)
            except (pa.ArrowException, OverflowError) as error:
                raise LakeError(
                    f"{name} has values that do not go into one column ({error}): give a schema, or use JSON lines"
                ) from None
        table = pa.table(columns, schema=self._schema)
        return table if self._schema is not None else _storable(table)


def _storable(table: pa.Table) -> pa.Table:
    """The table, if Parquet can hold it: objects that never have a field cannot be written."""
    for column in table.schema:
        if _has_empty_struct(column.type):
            raise LakeError(
                f"{column.name} has objects without fields, which Parquet lacks: give a schema, or use JSON lines"
            )
    return table


def _has_empty_struct(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_has_empty_struct(each.type) for each in kind)
    if pa.types.is_list(kind):
        return _has_empty_struct(kind.value_type)
    return False


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table | None:
    """The table with this schema; None when something would be lost."""
    if any(name not in schema.names for name in table.schema.names):
        return None
    columns = []
    for field in schema:
        if field.name not in table.schema.names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        if column.type != field.type and not pa.types.is_null(column.type):
            return None
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=schema)

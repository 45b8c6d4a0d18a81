"""A data lake: datasets as folders of files, to which whole loads are added or nothing."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

import fsspec

from haulier import _protocol, run

from .commits import CONTROL, Commit, CommittedFile, Dataset
from .errors import LakeError, PipelineError, SettingsError
from .files import By, DataFile, DataFiles, FileFormat, check_format
from .formats import Record
from .meter import Meter
from .source import Page, Records
from .watermark import Tracker, kept, remembered

STATE_KEY = "pipeline"
"""Where in the job's state loads keep theirs, by dataset."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
_HERE = f"local-{secrets.token_hex(4)}"
_MB = 1024 * 1024


@dataclass(frozen=True)
class Budget:
    """How much one pass may take; the rest is for the next."""

    seconds: float | None = None
    """A pass ends with the page during which so much time is over."""
    pages: int | None = None
    """A pass ends after so many pages."""


@dataclass(frozen=True)
class Loaded:
    """What a load has added."""

    rows: int
    bytes: int
    files: tuple[str, ...]
    """Their paths in the lake."""
    complete: bool
    """False when the rest is for the next slice."""


class Lake:
    """A folder in any store that fsspec knows: a disk, `abfs://container/…`, `s3://bucket/…`.

    Logins come from the environment as adlfs and s3fs read them (`AZURE_STORAGE_CONNECTION_STRING`, `AWS_…`), or from
    `options`.
    """

    def __init__(
        self,
        url: str,
        *,
        format: FileFormat = "jsonl.gz",  # noqa: A002 - the word for it
        partition: Literal["date"] | By | None = None,
        file_mb: float = 128,
        schema: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Asks the store nothing yet.

        Args:
            format: `jsonl`, `jsonl.gz` or `parquet`.
            partition: `"date"` = the day of the load in UTC, or `By(field)`.
            file_mb: the largest file, in MiB as it is written; for Parquet it is measured before compression.
            schema: a `pyarrow.Schema` for Parquet; None = found in the records.
            options: for the fsspec file system of this kind of URL.
        """
        check_format(format)
        if file_mb <= 0:
            raise SettingsError(f"files of {file_mb} MiB cannot be: use some tens or hundreds")
        if partition not in (None, "date") and not isinstance(partition, By):
            raise SettingsError(f"cannot partition by {partition!r}: use 'date', or By('a_field')")
        self._partition = partition
        self._format = format
        self._max_bytes = int(file_mb * _MB)
        self._schema = schema
        # Listings must not be remembered, for other runs write here too; nor must earlier logins.
        own: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True, **(options or {})}
        if "://" not in url or url.startswith("file://"):
            own["auto_mkdir"] = True
        try:
            self._fs, root = fsspec.core.url_to_fs(url, **own)
        except ImportError as error:
            raise SettingsError(f"{url.partition(':')[0]}:// needs another package: {error}") from None
        except ValueError as error:
            raise SettingsError(
                f"{url} cannot be opened ({error}): check the address, and the login in the environment or `options`"
            ) from None
        self._root = root.rstrip("/")

    def load(self, dataset: str, records: Iterable[Record], *, budget: Budget | None = None) -> Loaded:
        """Adds records to a dataset: all of them, or none that anyone sees.

        Reports `rows`, `bytes` and `files` as metrics, of all passes together, and how far it is; keeps watermark and
        position in the job's state. With a budget, what is left over is for another slice (`run.continue_later`).

        Args:
            dataset: the folder in the lake, like `crm/orders`.
            records: a source's list, or any records.

        Raises:
            PipelineError: with a code, and words that say what to do. Nothing was added.
        """
        if not _NAME.fullmatch(dataset) or ".." in dataset or dataset.split("/")[0] == CONTROL:
            raise SettingsError(
                f"{dataset!r} cannot name a dataset: use letters, digits, '-', '_' and '.', like crm/orders"
            )
        load = _Load(self, dataset, records, (run.state or {}).get(STATE_KEY, {}).get(dataset, {}))
        loaded = load.all(budget)
        state = _with_load(dataset, load)
        if state is not None:
            _protocol.check_state(state)  # before it is too late
        load.commit()
        for name, value in load.totals.items():
            _totals[name] += value
        run.report(metrics=_totals, state=state)
        if not loaded.complete:
            run.continue_later()
        return loaded

    def forget(self, dataset: str, *, after: int) -> int:
        """Removes what was committed to a dataset after this number, for a state that was set back; says how many."""
        return self._dataset(dataset).forget(after)

    def _dataset(self, name: str) -> Dataset:
        return Dataset(self._fs, self._root, name)


_totals = {"rows": 0, "bytes": 0, "files": 0}
"""What all loads of this process have added, into whichever lake."""


class _Load:
    """One load: reads, stages, and then commits."""

    def __init__(self, lake: Lake, name: str, records: Iterable[Record], before: dict[str, Any]) -> None:
        self._lake = lake
        self._name = name
        self._records = records
        self.before = before
        self.after = before
        self._dataset = lake._dataset(name)
        self._number = int(before.get("commit", 0)) + 1
        now = run.context()
        self._by = f"{now.run_id}-{now.slice}-{now.attempt}" if now.run_id else _HERE
        self._folder = f"date={datetime.now(timezone.utc).date().isoformat()}" if lake._partition == "date" else ""
        self._staged: list[CommittedFile] = []
        self.totals: dict[str, int] = before.get("open", {}).get("totals", dict.fromkeys(_totals, 0)).copy()

    def all(self, budget: Budget | None) -> Loaded:
        """Reads and stages; `after` is the dataset's state then, `totals` what all passes have added."""
        with _telling(self._lake._root):
            if self._number > 1:
                self._dataset.check(self._number - 1, self.before.get("by"))
            removed = self._dataset.retract(self._number - 1)
        if removed:
            run.log.info("removed %d commit(s) of %s that a run left which did not succeed", removed, self._name)
        position = self._read(budget)
        rows, size = sum(file.rows for file in self._staged), sum(file.bytes for file in self._staged)
        for name, value in (("rows", rows), ("bytes", size), ("files", len(self._staged))):
            self.totals[name] += value
        if position is not None:
            self.after["open"]["totals"] = self.totals
        if self._staged:
            self.after = {**self.after, "commit": self._number, "by": self._by}
        paths = tuple(f"{self._lake._root}/{self._name}/{file.path}" for file in self._staged)
        return Loaded(rows, size, paths, position is None)

    def commit(self) -> None:
        """Makes what was staged data."""
        if self._staged:
            rows, size = sum(file.rows for file in self._staged), sum(file.bytes for file in self._staged)
            now = datetime.now(timezone.utc).isoformat()
            with _telling(self._lake._root):
                self._dataset.commit(Commit(self._number, self._by, self._staged, rows, size, now))

    def _read(self, budget: Budget | None) -> Any:
        """Takes pages until there are none, or the budget is used up; the position where it goes on."""
        records, lake = self._records, self._lake
        listed = records if isinstance(records, Records) else _Plain(records)
        watermark = listed.watermark
        open_ = self.before.get("open", {})
        tracker = None
        since = None
        if watermark:
            reached = self.before.get("watermark")
            # A pass that goes on asks for the same list as the one before it.
            since = open_.get("since", watermark.since(reached))
            tracker = Tracker(watermark, open_.get("reached", reached), remembered(self.before))
        pages = listed.pages(since, open_.get("position"))
        files = DataFiles(lake._format, lake._max_bytes, lake._schema, self._folder_of, self._stage)
        position = None
        begin = time.monotonic()
        with Meter(self._name) as meter, closing(files), closing(pages):
            for number, page in enumerate(pages, 1):
                for record in page.records:
                    if tracker is None or tracker.is_new(record):
                        files.write(record)
                        meter.row()
                meter.page()
                position = page.following
                if position is not None and budget and _is_used_up(budget, number, begin):
                    break
            files.finish()
        self._note(tracker, since, position)
        return position

    def _note(self, tracker: Tracker | None, since: Any, position: Any) -> None:
        after = {key: value for key, value in self.before.items() if key in ("commit", "by", "watermark")}
        if position is not None:
            after["open"] = {"position": position}
        if tracker is not None:
            if position is not None:
                after["open"] |= {"since": since, "reached": tracker.reached}
            elif tracker.reached is not None:
                after["watermark"] = tracker.reached
            if tracker.seen:
                after["seen"] = kept(tracker.to_remember())
        self.after = after

    def _folder_of(self, record: Record) -> str:
        partition = self._lake._partition
        return partition.folder(record) if isinstance(partition, By) else self._folder

    def _stage(self, file: DataFile) -> None:
        name = f"{self._number:08d}-{len(self._staged):05d}.{self._lake._format}"
        path = f"{file.folder}/{name}" if file.folder else name
        with _telling(self._lake._root):
            self._dataset.stage(str(file.path), self._by, path)
        self._staged.append(CommittedFile(path, file.rows, file.bytes))


@contextmanager
def _telling(where: str) -> Iterator[None]:
    """Puts a store's errors into words: each has its own kinds, with nothing in common."""
    try:
        yield
    except PipelineError:
        raise
    except FileNotFoundError as error:
        raise LakeError(f"{where} cannot be written to ({error}): make the container or bucket first") from error
    except Exception as error:
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LakeError(
            f"{where} cannot be used ({words}): check its address and login, and that it can be reached", retryable=True
        ) from error


def _with_load(dataset: str, load: _Load) -> dict[str, Any] | None:
    """The job's state after a load; None when that is as before."""
    if load.after == load.before:
        return None
    state = run.state or {}
    return {**state, STATE_KEY: {**state.get(STATE_KEY, {}), dataset: load.after}}


class _Plain(Records):
    """Any records, as one page."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records

    def pages(self, since: Any = None, position: Any = None) -> Generator[Page]:
        yield Page(iter(self._records))


def _is_used_up(budget: Budget, pages: int, begin: float) -> bool:
    return (budget.pages is not None and pages >= budget.pages) or (
        budget.seconds is not None and time.monotonic() - begin >= budget.seconds
    )

"""Which files of a lake count: numbered commits, each by one run, none of them half.

    orders/day=2026-01-31/00000007-00000.jsonl.gz     data, for all to read
    _haulier/orders/commits/00000007.json             what commit 7 consists of
    _haulier/orders/staging/…                         what is not committed yet

The number of the last commit is in the job's state, which Haulier keeps only if the run succeeds. So what lies beyond
that number was left by a run that did not, and the next load removes it before it begins.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import fsspec

from .errors import LakeError

CONTROL = "_haulier"
"""The folder that is not data. Readers like Spark leave out names that begin so."""
_AT_ONCE = 8
_COPY_PATIENCE = 600.0
"""How long a store may take to copy one file within itself, in seconds."""


@dataclass(frozen=True)
class CommittedFile:
    """A data file of a commit."""

    path: str
    """Below the dataset."""
    rows: int
    bytes: int


@dataclass(frozen=True)
class Commit:
    """What one load added."""

    number: int
    by: str
    """The run."""
    files: list[CommittedFile]
    rows: int
    bytes: int
    created_at: str
    """RFC 3339."""


class Dataset:
    """One dataset of a lake, as its commits tell it."""

    def __init__(self, fs: fsspec.AbstractFileSystem, root: str, name: str) -> None:
        """Looks at nothing yet."""
        self._fs = fs
        self._name = name
        self._data = f"{root}/{name}"
        self._commits = f"{root}/{CONTROL}/{name}/commits"
        self._all_staging = f"{root}/{CONTROL}/{name}/staging"

    def check(self, number: int, by: str | None) -> None:
        """Checks that the lake has the commit that the state names; of whichever run, if the state does not say.

        Raises:
            LakeError: it has not, or one of another run: state and lake have gone apart.
        """
        commit = self._read(number)
        if commit is None or by not in (None, commit.by):
            who = "no such commit" if commit is None else f"that of the run {commit.by}"
            raise LakeError(
                f"the state of {self._name} ends with commit {number} of the run {by}, and the lake has {who}: allow "
                "one run at a time (max_parallel: 1), and set the state back to before the loss to load it again",
                code="lake_diverged",
            )

    def retract(self, after: int) -> int:
        """Removes what was committed after this number and what was staged; says how many commits.

        Raises:
            LakeError: several runs have committed since, so no failed one left this: the state was set back.
        """
        self._fs.invalidate_cache()
        left: list[Commit] = []
        while True:
            commit = self._read(after + len(left) + 1) or self._read(after + len(left) + 1, pending=True)
            if commit is None:
                break
            left.append(commit)
        if len({commit.by for commit in left}) > 1:
            raise LakeError(
                f"the lake has the commits {left[0].number} to {left[-1].number} of {self._name}, by several runs, and "
                f"the state ends at {after}: it was set back. To load them again, remove them with Lake.forget("
                f"{self._name!r}, after={after}); to keep them, set `commit` in the state to {left[-1].number} and "
                "leave out `by`",
                code="state_set_back",
            )
        for commit in reversed(left):
            self.remove(commit)
        self._remove_all(self._all_staging)
        return len(left)

    def forget(self, after: int) -> int:
        """Removes all commits after this number, whoever made them; says how many."""
        self._fs.invalidate_cache()
        number = after
        while self._read(number + 1) or self._read(number + 1, pending=True):
            number += 1
        for each in range(number, after, -1):
            commit = self._read(each) or self._read(each, pending=True)
            if commit:
                self.remove(commit)
        return number - after

    def staged(self, by: str, path: str) -> str:
        """Where a file waits for its commit."""
        return f"{self._all_staging}/{by}/{path}"

    def stage(self, local: str, by: str, path: str) -> None:
        """Uploads a file to where nobody reads."""
        self._fs.put_file(local, self.staged(by, path))

    def commit(self, commit: Commit) -> None:
        """Makes the staged files data.

        What is written first says what is about to appear, so that whoever finds it half done can remove it.

        Raises:
            LakeError: another run has committed meanwhile.
        """
        if self._read(commit.number) is not None:
            raise self._busy()
        try:
            self._write(commit, pending=True)
        except FileExistsError:
            raise self._busy() from None
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            moves = [threads.submit(self._publish, commit.by, file) for file in commit.files]
            for move in moves:
                move.result()
        self._write(commit, pending=False)
        self._remove_file(self._path(commit.number, pending=True))
        self._remove_all(self._all_staging)

    def remove(self, commit: Commit) -> None:
        """Takes a commit back: its files first, for as long as it is there it can be found again."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for removal in [threads.submit(self._remove_file, f"{self._data}/{each.path}") for each in commit.files]:
                removal.result()
        for pending in (False, True):
            self._remove_file(self._path(commit.number, pending=pending))

    def _write(self, commit: Commit, *, pending: bool) -> None:
        """Writes what a commit consists of, in one step; while it is pending, only if no other is."""
        path = self._path(commit.number, pending=pending)
        document = json.dumps(asdict(commit), indent=1).encode()
        if "file" not in self._protocols():
            self._fs.pipe_file(path, document, mode="create" if pending else "overwrite")
            return
        # On a disk a file appears before it is written: only a name appears at once.
        beside = self.staged(commit.by, "commit.json")
        self._fs.pipe_file(beside, document)
        if pending:
            self._fs.makedirs(self._commits, exist_ok=True)
            self._fs.link(beside, path)
        else:
            self._fs.mv(beside, path)

    def _publish(self, by: str, file: CommittedFile) -> None:
        source, target = self.staged(by, file.path), f"{self._data}/{file.path}"
        try:
            if "file" in self._protocols():
                self._fs.mv(source, target)  # a rename, at once
                return
            self._fs.cp_file(source, target)
        except FileNotFoundError:
            # Whoever loads removes first what others have staged.
            raise self._busy() from None
        # A store may go on copying after it has answered.
        deadline = time.monotonic() + _COPY_PATIENCE
        while (size := self._copied(target)) != file.bytes:
            if size is not None or time.monotonic() > deadline:
                raise LakeError(f"{target} has {size} bytes instead of {file.bytes} after it was copied: run it again")
            time.sleep(0.1)

    def _busy(self) -> LakeError:
        return LakeError(
            f"another run is loading {self._name}: allow one at a time, with max_parallel: 1 in the job",
            code="lake_busy",
            retryable=True,
        )

    def _copied(self, path: str) -> int | None:
        """The size of a file that was copied; None while it is being copied."""
        if "abfs" in self._protocols():
            return _azure_copied(self._fs, path)
        self._fs.invalidate_cache()
        return int(self._fs.info(path)["size"])

    def _protocols(self) -> tuple[str, ...]:
        protocol = self._fs.protocol
        return (protocol,) if isinstance(protocol, str) else tuple(protocol)

    def _path(self, number: int, *, pending: bool = False) -> str:
        return f"{self._commits}/{number:08d}{'.pending' if pending else ''}.json"

    def _read(self, number: int, *, pending: bool = False) -> Commit | None:
        path = self._path(number, pending=pending)
        try:
            document = json.loads(self._fs.cat_file(path))
            return Commit(**{**document, "files": [CommittedFile(**each) for each in document["files"]]})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise LakeError(
                f"{path} cannot be read ({error}): restore it, or remove it with the files it names"
            ) from None

    def _remove_file(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(path)

    def _remove_all(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm(path, recursive=True)


def _azure_copied(fs: Any, path: str) -> int | None:
    container, blob, _ = fs.split_path(path)

    async def look() -> int | None:
        async with fs.service_client.get_blob_client(container, blob) as client:
            properties = await client.get_blob_properties()
        status = properties.copy.status
        if status not in (None, "success", "pending"):
            raise LakeError(f"{path} could not be copied ({status}): run it again", retryable=True)
        return None if status == "pending" else int(properties.size)

    size: int | None = fsspec.asyn.sync(fs.loop, look)
    return size

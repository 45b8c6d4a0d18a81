"""What must stay small does, however much there is to load."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from haulier.pipeline import LakeError
from haulier.pipeline import commits as lake_commits
from haulier.pipeline.commits import Commit, CommittedFile, Dataset
from served import clean_environment

from conftest import read_lake
from support.api import Api
from support.script import Job

# How much more memory it takes than before the load, in MiB.
SCRIPT = """
import os, re
from haulier import run
from haulier.pipeline import Lake, Source
import haulier.pipeline.lake
if os.environ["FORMAT"] == "parquet":
    import haulier.pipeline.parquet

def peak():
    # Not by getrusage, which also tells what the process had been before it became this one.
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

before = peak()
with Source(os.environ["API"], format=os.environ["KIND"]) as source:
    lake = Lake(os.environ["LAKE"], format=os.environ["FORMAT"], file_mb=16)
    loaded = lake.load("things", source.get("all/" + os.environ["KIND"]))
run.report(output={"rows": loaded.rows, "files": len(loaded.files), "grown": peak() - before})
"""


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
@pytest.mark.parametrize("file_format", ["jsonl.gz", "parquet"])
def test_memory_does_not_grow_with_what_is_loaded(kind: str, file_format: str, tmp_path: Path, api: Api) -> None:
    rows = 100_000
    note = "x" * 400
    api.records = [{"id": n, "updated_at": "2026-01-01", "country": "de", "note": note} for n in range(rows)]
    env = {"API": api.url, "KIND": kind, "FORMAT": file_format, "LAKE": str(tmp_path / "lake")}
    output = Job(SCRIPT, tmp_path, env).run().last("output")
    assert output["rows"] == rows
    # About 45 MB come, which would be several times as much as Python objects.
    assert output["grown"] < (30 if file_format == "jsonl.gz" else 150)


def test_a_person_sees_a_bar(tmp_path: Path) -> None:
    script = "from haulier.pipeline import Lake; Lake('lake').load('things', ({'id': n} for n in range(1000)))"
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(ours, "rb") as screen, os.fdopen(theirs, "wb") as terminal:
        command = [sys.executable, "-c", script]
        ended = subprocess.run(command, cwd=tmp_path, env=clean_environment(), stderr=terminal, timeout=60)
        terminal.close()
        shown = os.read(screen.fileno(), 10_000).decode()
    assert ended.returncode == 0
    assert "things: 1000 rows" in shown
    assert "progress:" not in shown


class SlowCopies:
    """A store that goes on copying after it has answered, as Azure may."""

    def __init__(self, sizes: list[int | None]) -> None:
        self._sizes = iter(sizes)

    def __call__(self, path: str) -> int | None:
        return next(self._sizes)


@pytest.fixture
def staged() -> Iterator[tuple[Dataset, Commit]]:
    """A dataset in memory with a file of three bytes staged."""
    fs = fsspec.filesystem("memory", skip_instance_cache=True)
    fs.store.clear()
    dataset = Dataset(fs, "/lake", "things")
    fs.pipe_file(dataset.staged("run", "a.jsonl"), b"{}\n")
    yield dataset, Commit(1, "run", [CommittedFile("a.jsonl", 1, 3)], 1, 3, "2026-01-01T00:00:00+00:00")
    fs.store.clear()


def test_a_commit_waits_for_copies(staged: tuple[Dataset, Commit], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, commit = staged
    monkeypatch.setattr(Dataset, "_copied", SlowCopies([None, None, 3]))
    dataset.commit(commit)
    dataset.check(1, "run")


@pytest.mark.parametrize("sizes", [[None, 2], [None] * 1000])
def test_a_copy_that_goes_wrong_or_never_ends_is_told(
    sizes: list[int | None], staged: tuple[Dataset, Commit], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, commit = staged
    monkeypatch.setattr(lake_commits, "_COPY_PATIENCE", 0.3)
    monkeypatch.setattr(Dataset, "_copied", SlowCopies(sizes))
    with pytest.raises(LakeError, match="instead of 3"):
        dataset.commit(commit)
    # What is half done can be found and removed.
    assert dataset.retract(0) == 1
    with pytest.raises(LakeError, match="no such commit"):
        dataset.check(1, "run")


def test_a_broken_document_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "_haulier" / "things" / "commits"
    folder.mkdir(parents=True)
    (folder / "00000001.json").write_text(json.dumps({"number": 1}))
    with pytest.raises(LakeError, match="cannot be read"):
        Dataset(fsspec.filesystem("file"), str(tmp_path), "things").retract(0)
    assert read_lake(tmp_path) == []

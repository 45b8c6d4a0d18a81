"""kill -9 at every step of a load: nothing is lost, nothing is there twice, nothing half is ever committed."""

from __future__ import annotations

import json
import shutil
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from haulier import run
from haulier.pipeline import By, Cursor, Lake, Source, Watermark

from conftest import read_lake
from support.api import Api, make_records
from support.script import Job

SINCE = Watermark("updated_at", parameter="since", key="id")

# Dies before or after the n-th thing that changes the lake or tells Haulier something.
SCRIPT = """
import os, signal, itertools
from fsspec.implementations.local import LocalFileSystem
from haulier import run
from haulier.pipeline import By, Cursor, Lake, Source, Watermark

steps = itertools.count()

def step():
    if next(steps) == int(os.environ.get("DIE_AT", -1)):
        os.kill(os.getpid(), signal.SIGKILL)

def dying(function):
    def wrapped(*args, **kwargs):
        step()
        result = function(*args, **kwargs)
        step()
        return result
    return wrapped

for name in ("put_file", "pipe_file", "mv", "link", "rm", "rm_file"):
    setattr(LocalFileSystem, name, dying(getattr(LocalFileSystem, name)))
run.report = dying(run.report)
with Source(os.environ["API"], paging=Cursor("next"), records="data.items") as source:
    lake = Lake(os.environ["LAKE"], partition=By("country"))
    lake.load("orders", source.get("cursor", since=Watermark("updated_at", parameter="since", key="id")))
step()
"""


def load(api: Api, folder: Path, state: dict[str, Any], run_id: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A run that lives; the state that it leaves."""
    monkeypatch.setattr(run, "_reported", state)
    monkeypatch.setenv("HAULIER_RUN_ID", run_id)
    with Source(api.url, paging=Cursor("next"), records="data.items") as source:
        Lake(str(folder), partition=By("country")).load("orders", source.get("cursor", since=SINCE))
    left = run.state
    assert left is not None
    return left


def ids(folder: Path) -> list[int]:
    return sorted(record["id"] for record in read_lake(folder))


def committed(folder: Path) -> list[int]:
    """What a reader sees who goes by the commits."""
    rows = 0
    for path in folder.glob("_haulier/orders/commits/*.json"):
        if not path.name.endswith(".pending.json"):
            commit = json.loads(path.read_text())
            assert all((folder / "orders" / file["path"]).stat().st_size == file["bytes"] for file in commit["files"])
            rows += commit["rows"]
    return list(range(rows))


@pytest.mark.parametrize("again", ["another attempt", "another run"])
def test_a_load_may_die_anywhere(again: str, tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.records = make_records(range(15))
    before = tmp_path / "before"
    state = load(api, before, {}, "run-1", monkeypatch)
    api.records += make_records(range(15, 27))
    deaths = 0
    for at in count():
        lake = tmp_path / f"lake-{at}"
        shutil.copytree(before, lake)
        job = Job(SCRIPT, tmp_path, {"API": api.url, "LAKE": str(lake), "DIE_AT": str(at)}, state)
        ended = job.attempt("run-2")
        if ended.code == 0:
            break
        assert ended.code == -signal.SIGKILL, ended.err
        deaths += 1
        # What was there stays, what comes is not there before its time, and by the commits never in part.
        seen = ids(lake)
        assert seen[:15] == list(range(15))
        assert len(set(seen)) == len(seen)
        assert committed(lake) in (list(range(15)), list(range(27)))
        if again == "another attempt":
            monkeypatch.setenv("HAULIER_ATTEMPT", "2")
        after = load(api, lake, state, "run-2" if again == "another attempt" else "run-3", monkeypatch)
        assert ids(lake) == list(range(27)), f"after dying at {at}"
        assert committed(lake) == list(range(27))
        assert list(lake.glob("_haulier/orders/staging/*")) == []
        assert list(lake.glob("_haulier/orders/commits/*.pending.json")) == []
        load(api, lake, after, "run-4", monkeypatch)
        assert ids(lake) == list(range(27))
    # Three partitions staged and published, two documents, cleaning up, and the report.
    assert deaths > 20
    assert job.state["pipeline"]["orders"]["commit"] == 2


def test_a_script_that_dies_removing_what_another_left(
    tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.records = make_records(range(27))
    left = tmp_path / "left"
    load(api, left, {}, "run-1", monkeypatch)  # it failed afterwards: its state was not kept
    deaths = 0
    for at in count():
        lake = tmp_path / f"lake-{at}"
        shutil.copytree(left, lake)
        ended = Job(SCRIPT, tmp_path, {"API": api.url, "LAKE": str(lake), "DIE_AT": str(at)}).attempt("run-2")
        if ended.code == 0:
            break
        deaths += 1
        load(api, lake, {}, "run-3", monkeypatch)
        assert ids(lake) == list(range(27)), f"after dying at {at}"
    assert deaths > 30


def test_nothing_is_visible_before_all_is_staged(tmp_path: Path, api: Api) -> None:
    lake = Lake(str(tmp_path), format="jsonl", file_mb=0.0001)

    def records() -> Any:
        for n in range(100):
            yield {"id": n}
            assert read_lake(tmp_path) == []

    assert len(lake.load("things", records()).files) > 1
    assert len(read_lake(tmp_path)) == 100

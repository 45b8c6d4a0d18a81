"""Lakes in blob stores: what holds on a disk holds there."""

from __future__ import annotations

import gzip
import json
import os
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest
from haulier import run
from haulier.pipeline import By, Cursor, Lake, LakeError, SettingsError, Source, Watermark

from support.api import Api, make_records
from support.script import Job
from support.stores import S3, Azurite

SINCE = Watermark("updated_at", parameter="since", key="id")


@dataclass
class Store:
    """A place of a test's own, and the variables with which a script finds it."""

    url: str
    env: dict[str, str]
    options: dict[str, Any]

    def records(self) -> list[int]:
        """What a reader sees: the ids in all data files."""
        fs, root = fsspec.core.url_to_fs(self.url, skip_instance_cache=True, **self.options)
        paths = [path for path in fs.find(root) if "_haulier" not in path]
        lines = [line for path in paths for line in gzip.decompress(fs.cat_file(path)).splitlines()]
        return sorted(int(json.loads(line)["id"]) for line in lines)

    def control(self) -> list[str]:
        """The names of what is not data."""
        fs, root = fsspec.core.url_to_fs(self.url, skip_instance_cache=True, **self.options)
        return sorted(path.rpartition("/")[2] for path in fs.find(f"{root}/_haulier"))


@pytest.fixture(scope="module", params=["azure", "s3"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite | S3]:
    """An empty store."""
    directory = tmp_path_factory.mktemp(request.param)
    server: Azurite | S3 = Azurite(directory) if request.param == "azure" else S3(directory)
    yield server
    server.stop()


@pytest.fixture
def store(server: Azurite | S3, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A container or bucket of its own, found by the environment as in production."""
    name = f"raw-{uuid.uuid4().hex[:8]}"
    if isinstance(server, Azurite):
        env = {"AZURE_STORAGE_CONNECTION_STRING": server.connection_string()}
        store = Store(f"abfs://{name}/crm", env, {"connection_string": server.connection_string()})
    else:
        env = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": server.url,
        }
        store = Store(f"s3://{name}/crm", env, {"key": "test", "secret": "test", "endpoint_url": server.url})
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    fs, _ = fsspec.core.url_to_fs(store.url, **store.options)
    fs.mkdir(name)
    return store


def load(api: Api, store: Store, **settings: Any) -> int:
    with Source(api.url, paging=Cursor("next"), records="data.items", patience=0.5) as source:
        return Lake(store.url, **settings).load("orders", source.get("cursor", since=SINCE)).rows


def test_deltas(store: Store, api: Api) -> None:
    api.records = make_records(range(25))
    assert load(api, store, partition=By("country")) == 25
    assert store.records() == list(range(25))
    assert load(api, store, partition=By("country")) == 0
    api.records += make_records(range(25, 30))
    assert load(api, store, partition=By("country")) == 5
    assert store.records() == list(range(30))
    assert store.control() == ["00000001.json", "00000002.json"]


def test_what_a_failed_run_committed_is_replaced(store: Store, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.records = make_records(range(25))
    load(api, store, partition="date")
    monkeypatch.setattr(run, "_reported", {})
    api.records += make_records(range(25, 30))
    load(api, store, partition="date")
    assert store.records() == list(range(30))
    assert store.control() == ["00000001.json"]


def test_parquet_in_several_files(store: Store) -> None:
    records = [{"id": n, "text": os.urandom(500).hex()} for n in range(3000)]
    loaded = Lake(store.url, format="parquet", file_mb=1).load("things", records)
    assert len(loaded.files) >= 3
    fs, _ = fsspec.core.url_to_fs(store.url, **store.options)
    assert sum(fs.size(path) for path in loaded.files) == loaded.bytes


def test_a_large_file(store: Store) -> None:
    text = os.urandom(1 << 20).hex()
    records = [{"id": n, "text": f"{n}{text}"} for n in range(20)]
    loaded = Lake(store.url, format="jsonl").load("things", records)
    fs, _ = fsspec.core.url_to_fs(store.url, **store.options)
    (path,) = loaded.files
    assert fs.size(path) == loaded.bytes > 40 << 20
    lines = fs.cat_file(path).splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(20))


def test_a_commit_is_made_once(store: Store, api: Api) -> None:
    """Two at once: whoever is second finds the number taken."""
    lake = Lake(store.url)

    def records() -> Any:
        yield {"id": 1}
        lake.load("orders", [{"id": 2}])
        yield {"id": 3}

    with pytest.raises(LakeError, match="max_parallel"):
        lake.load("orders", records())
    assert store.records() == [2]


def test_a_container_that_is_not_there_is_told(store: Store) -> None:
    kind = store.url.split(":")[0]
    with pytest.raises(LakeError, match="bucket"):
        Lake(f"{kind}://nowhere-{uuid.uuid4().hex[:8]}/x").load("orders", [{"id": 1}])


def test_a_wrong_login_is_told(store: Store, server: Azurite | S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in store.env:
        monkeypatch.delenv(variable)
    if isinstance(server, Azurite):
        with pytest.raises(SettingsError, match="login in the environment"):
            Lake(store.url)
        options = {"connection_string": server.connection_string().replace("AccountKey=E", "AccountKey=A")}
    else:
        options = {"endpoint_url": server.url}
    with pytest.raises(LakeError, match="check its address and login") as raised:
        Lake(store.url, options=options).load("orders", [{"id": 1}])
    assert "AccountKey" not in str(raised.value)


# Where a copy takes its time, or the process ends, in the very order of the steps on these stores.
SCRIPT = """
import os, signal, itertools
import fsspec
from haulier import run
from haulier.pipeline import Cursor, Lake, Source, Watermark

steps = itertools.count()

def dying(function):
    def wrapped(*args, **kwargs):
        result = function(*args, **kwargs)
        if next(steps) == int(os.environ.get("DIE_AT", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped

lake = Lake(os.environ["LAKE"])
for name in ("put_file", "pipe_file", "cp_file", "rm", "rm_file"):
    setattr(lake._fs, name, dying(getattr(lake._fs, name)))
with Source(os.environ["API"], paging=Cursor("next"), records="data.items") as source:
    lake.load("orders", source.get("cursor", since=Watermark("updated_at", parameter="since", key="id")))
"""


@pytest.mark.parametrize("at", range(1, 7))
def test_a_load_may_die(at: int, store: Store, api: Api, tmp_path: Path) -> None:
    job = Job(SCRIPT, tmp_path, {"API": api.url, "LAKE": store.url, **store.env})
    api.records = make_records(range(15))
    job.run()
    api.records += make_records(range(15, 27))
    ended = job.attempt("run-2", env={"DIE_AT": str(at)})
    assert ended.code in (-signal.SIGKILL, 0), ended.err
    if ended.code != 0:
        job.attempt("run-2", attempt=2)
    assert store.records() == list(range(27))
    assert store.control() == ["00000001.json", "00000002.json"]

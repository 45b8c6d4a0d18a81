"""Lakes on a disk: what is written where, deltas, passes that end early."""

from __future__ import annotations

import gzip
import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from haulier import run
from haulier.pipeline import (
    Budget,
    By,
    Cursor,
    Lake,
    LakeError,
    Loaded,
    Offset,
    PageNumber,
    PipelineError,
    SettingsError,
    Source,
    SourceUnavailable,
    UnexpectedAnswer,
    Watermark,
)
from haulier.pipeline import files as data_files
from haulier.pipeline import watermark as watermarks

from conftest import read_lake
from support.api import Api, make_records, moment

SINCE = Watermark("updated_at", parameter="since", key="id")


def load(api: Api, lake: Lake, since: Watermark | None = SINCE, **budget: Any) -> Loaded:
    """Loads orders as a script would."""
    with Source(api.url, paging=Cursor("next"), records="data.items", patience=0.5) as source:
        return lake.load("orders", source.get("cursor", since=since), budget=Budget(**budget) if budget else None)


def ids(folder: Path) -> list[int]:
    return sorted(int(record["id"]) for record in read_lake(folder))


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("partition", [None, "date", By("country"), By("updated_at", "month")])
def test_what_goes_in_is_there(tmp_path: Path, api: Api, kind: Any, partition: Any) -> None:
    api.records = make_records(range(35))
    loaded = load(api, Lake(str(tmp_path), format=kind, partition=partition))
    assert loaded.rows == 35
    assert loaded.complete
    assert loaded.bytes == sum(Path(path).stat().st_size for path in loaded.files)
    found = [path for path in tmp_path.rglob("*") if path.is_file() and "_haulier" not in path.parts]
    assert sorted(map(str, found)) == sorted(loaded.files)
    if kind == "parquet":
        rows = [row for path in found for row in pa.parquet.ParquetFile(path).read().to_pylist()]
        assert sorted(rows, key=lambda row: row["id"]) == api.records
    else:
        assert sorted(read_lake(tmp_path), key=lambda row: row["id"]) == api.records
    folder = partition.folder(api.records[0]) if isinstance(partition, By) else ""
    if partition == "date":
        folder = f"date={datetime.now(timezone.utc).date()}"
    assert list((tmp_path / "orders" / folder).glob(f"00000001-0000?.{kind}"))


def test_readers_know_the_partitions(tmp_path: Path) -> None:
    records = [{"id": n, "land": value} for n, value in enumerate(["de", "a/b", "..", "ü=1", None, "x" * 200])]
    Lake(str(tmp_path), format="parquet", partition=By("land")).load("things", records)
    table = pa.dataset.dataset(tmp_path / "things", partitioning="hive", exclude_invalid_files=False).to_table(
        ["id", "land"]
    )
    assert sorted(table["id"].to_pylist()) == list(range(6))
    assert {path.parent.parent for path in (tmp_path / "things").rglob("*.parquet")} == {tmp_path / "things"}


def test_files_have_a_size(tmp_path: Path) -> None:
    records = [{"id": n, "text": "x" * 1000} for n in range(1000)]
    loaded = Lake(str(tmp_path), format="jsonl", file_mb=0.1).load("things", records)
    assert len(loaded.files) == 10
    assert max(Path(path).stat().st_size for path in loaded.files) < 0.11 * 1024 * 1024
    assert ids(tmp_path) == list(range(1000))


def test_many_partitions_keep_few_files_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "MAX_OPEN", 3)
    records = [{"id": n, "kind": n % 10} for n in range(100)]
    Lake(str(tmp_path), partition=By("kind")).load("things", records)
    assert ids(tmp_path) == list(range(100))


def test_json_lines_hold_what_there_is(tmp_path: Path) -> None:
    record = {"id": 1, "at": datetime(2026, 1, 1, tzinfo=timezone.utc), "day": date(2026, 1, 1), "sum": Decimal("1.10")}
    Lake(str(tmp_path), format="jsonl").load("things", [record, {"id": 2, "half": "\ud800", "line": "\u2028\n"}])
    (path,) = (tmp_path / "things").iterdir()
    lines = path.read_bytes().split(b"\n")
    assert json.loads(lines[0]) == {"id": 1, "at": "2026-01-01T00:00:00+00:00", "day": "2026-01-01", "sum": "1.10"}
    assert json.loads(lines[1]) == {"id": 2, "half": "\ud800", "line": "\u2028\n"}


def test_parquet_types_and_new_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from haulier.pipeline import parquet

    monkeypatch.setattr(parquet, "_BATCH_ROWS", 10)
    records: list[dict[str, Any]] = [{"id": n, "late": None, "tags": ["a"], "in": {"x": n}} for n in range(10)]
    records += [{"id": n, "tags": None} for n in range(10, 20)]  # fewer fields: no other file
    records += [{"id": n, "late": 1.5, "new": "field"} for n in range(20, 30)]
    loaded = Lake(str(tmp_path), format="parquet").load("things", records)
    assert len(loaded.files) == 2
    rows = [row for path in loaded.files for row in pa.parquet.ParquetFile(path).read().to_pylist()]
    assert [row["id"] for row in rows] == list(range(30))
    assert rows[5]["in"] == {"x": 5}
    assert rows[25]["new"] == "field"
    assert rows[25]["late"] == 1.5


def test_parquet_with_a_schema(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.int32()), ("sum", pa.decimal128(12, 2)), ("note", pa.string())])
    lake = Lake(str(tmp_path), format="parquet", schema=schema)
    loaded = lake.load("things", [{"id": 1, "sum": Decimal("1.10")}])
    assert pa.parquet.read_schema(loaded.files[0]).equals(schema)
    with pytest.raises(LakeError, match="other"):
        lake.load("others", [{"id": 1, "other": 2}])


@pytest.mark.parametrize("records", [[{"a": 1}, {"a": "x"}], [{"a": {}}], [{"a": 2**70}], [{"a": object()}]])
def test_what_does_not_go_into_parquet_is_told(tmp_path: Path, records: list[Any]) -> None:
    with pytest.raises(LakeError):
        Lake(str(tmp_path), format="parquet").load("things", records)
    assert [path for path in tmp_path.rglob("*.parquet") if "_haulier" not in path.parts] == []


def test_a_second_load_brings_what_is_new(tmp_path: Path, api: Api) -> None:
    lake = Lake(str(tmp_path))
    api.records = make_records(range(25))
    assert load(api, lake).rows == 25
    assert load(api, lake).rows == 0
    api.records += make_records(range(25, 37))
    assert load(api, lake).rows == 12
    assert ids(tmp_path) == list(range(37))
    assert [json.loads(path.read_text())["rows"] for path in sorted(tmp_path.rglob("commits/*.json"))] == [25, 12]


def test_a_changed_record_comes_again(tmp_path: Path, api: Api) -> None:
    lake = Lake(str(tmp_path))
    api.records = make_records(range(5))
    load(api, lake)
    api.records[1]["updated_at"] = moment(100)
    assert load(api, lake).rows == 1
    assert ids(tmp_path) == [0, 1, 1, 2, 3, 4]


def test_records_of_the_same_moment_are_not_left_out(tmp_path: Path, api: Api) -> None:
    lake = Lake(str(tmp_path))
    api.records = [{"id": n, "updated_at": moment(0)} for n in range(15)]
    load(api, lake)
    api.records += [{"id": n, "updated_at": moment(0)} for n in range(15, 18)]
    assert load(api, lake).rows == 3
    assert load(api, lake).rows == 0
    assert ids(tmp_path) == list(range(18))


def test_records_that_the_source_shows_late(tmp_path: Path, api: Api) -> None:
    since = Watermark("updated_at", parameter="since", overlap=timedelta(seconds=5), key="id")
    lake = Lake(str(tmp_path))
    api.records = make_records(range(20))
    late = api.records.pop(16)
    load(api, lake, since)
    api.records.append(late)
    assert load(api, lake, since).rows == 1
    assert load(api, lake, since).rows == 0
    assert ids(tmp_path) == list(range(20))


def test_without_a_key_the_overlap_comes_again(tmp_path: Path, api: Api) -> None:
    since = Watermark("updated_at", parameter="since", overlap=timedelta(seconds=5))
    lake = Lake(str(tmp_path))
    api.records = make_records(range(20))
    load(api, lake, since)
    assert load(api, lake, since).rows == 6


@pytest.mark.parametrize(
    ("reached", "overlap", "since"),
    [
        ("2026-01-01T10:00:00Z", timedelta(minutes=1), "2026-01-01T09:59:00Z"),
        ("2026-01-01T10:00:00.5Z", timedelta(minutes=1), "2026-01-01T09:59:00.500000Z"),
        ("2026-01-01T10:00:00+02:00", timedelta(minutes=1), "2026-01-01T09:59:00+02:00"),
        ("2026-01-01T10:00:00", timedelta(minutes=1), "2026-01-01T09:59:00"),
        ("2026-01-01", timedelta(days=1), "2025-12-31"),
        (100, 10, 90),
        (100.5, 10, 90.5),
    ],
)
def test_an_overlap_looks_like_the_watermark(reached: Any, overlap: Any, since: Any) -> None:
    assert Watermark("at", overlap=overlap).since(reached) == since


@pytest.mark.parametrize(("reached", "overlap"), [("2026-01-01", 5), (100, timedelta(1)), ("abc", timedelta(1))])
def test_an_overlap_that_does_not_fit_is_told(reached: Any, overlap: Any) -> None:
    with pytest.raises(SettingsError, match="overlap"):
        Watermark("at", overlap=overlap).since(reached)


def test_times_are_compared_as_times(tmp_path: Path) -> None:
    newest = watermarks.Tracker(Watermark("at"), None)
    for text in ("2026-01-01T00:30:00+02:00", "2025-12-31T23:00:00Z", "2025-12-31T22:59:00.1234567Z"):
        newest.is_new({"at": text})
    assert newest.reached == "2025-12-31T23:00:00Z"


@pytest.mark.parametrize(
    "record", [{}, {"updated_at": None, "id": 1}, {"updated_at": "x"}, {"updated_at": True, "id": 1}]
)
def test_records_without_watermark_or_key_are_told(tmp_path: Path, api: Api, record: dict[str, Any]) -> None:
    api.records = [record]
    with pytest.raises(UnexpectedAnswer):
        load(api, Lake(str(tmp_path)))


def test_more_in_the_overlap_than_can_be_kept_is_told(
    tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermarks, "MAX_SEEN", 5)
    api.records = [{"id": n, "updated_at": moment(0)} for n in range(15)]
    with pytest.raises(SettingsError, match="smaller"):
        load(api, Lake(str(tmp_path)))
    assert read_lake(tmp_path) == []


@pytest.mark.parametrize("paging", [Cursor("next"), PageNumber(), Offset()], ids=["cursor", "page", "offset"])
def test_a_backfill_in_passes(tmp_path: Path, api: Api, paging: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lake = Lake(str(tmp_path))
    api.records = make_records(range(95))
    path = {"Cursor": "cursor", "PageNumber": "page", "Offset": "offset"}[type(paging).__name__]
    passes = 0
    while True:
        with Source(api.url, paging=paging, records="data.items") as source:
            loaded = lake.load("orders", source.get(path, since=SINCE), budget=Budget(pages=3))
        passes += 1
        # It asks for the next pass exactly as long as there is a rest.
        assert ("continue" in capsys.readouterr().err) != loaded.complete
        if loaded.complete:
            break
        # The watermark moves when all is there, for records need not come in its order.
        assert "watermark" not in (run.state or {})["pipeline"]["orders"]
    assert passes == 4
    assert ids(tmp_path) == list(range(95))
    api.records += make_records(range(95, 98))
    assert load(api, lake).rows == 3


def test_a_pass_ends_when_its_time_is_over(tmp_path: Path, api: Api) -> None:
    api.records = make_records(range(95))
    loaded = load(api, Lake(str(tmp_path)), seconds=0)
    assert (loaded.rows, loaded.complete) == (10, False)


def test_a_source_that_fails_adds_nothing(tmp_path: Path, api: Api) -> None:
    lake = Lake(str(tmp_path))
    api.records = make_records(range(95))
    api.troubles.extend([0, 0, 0, 0, *[500] * 100])
    with pytest.raises(SourceUnavailable):
        load(api, lake)
    assert read_lake(tmp_path) == []
    assert run.state is None
    api.troubles.clear()
    load(api, lake)
    assert ids(tmp_path) == list(range(95))


def test_what_a_failed_run_committed_is_replaced(tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(str(tmp_path))
    api.records = make_records(range(25))
    load(api, lake)
    state = run.state
    api.records += make_records(range(25, 35))
    load(api, lake)
    # The run failed after all, so its state is lost, and with it what it has loaded.
    monkeypatch.setattr(run, "_reported", state)
    api.records += make_records(range(35, 40))
    assert load(api, lake).rows == 15
    assert ids(tmp_path) == list(range(40))


def as_run(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HAULIER_RUN_ID", name)


def test_a_state_that_was_set_back_is_not_taken_for_a_failure(
    tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(str(tmp_path))
    for count in (10, 20, 30):
        as_run(monkeypatch, f"run-{count}")
        api.records = make_records(range(count))
        load(api, lake)
    monkeypatch.setattr(run, "_reported", {})
    as_run(monkeypatch, "run-later")
    with pytest.raises(LakeError, match="set back") as raised:
        load(api, lake)
    assert raised.value.code == "state_set_back"
    assert ids(tmp_path) == list(range(30))
    assert lake.forget("orders", after=0) == 3
    assert read_lake(tmp_path) == []
    load(api, lake)
    assert ids(tmp_path) == list(range(30))


def test_what_lies_there_can_be_kept(tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(str(tmp_path))
    for count in (10, 20):
        as_run(monkeypatch, f"run-{count}")
        api.records = make_records(range(count))
        load(api, lake)
    # As the error says.
    monkeypatch.setattr(run, "_reported", {"pipeline": {"orders": {"commit": 2}}})
    assert load(api, lake).rows == 20
    assert ids(tmp_path) == sorted([*range(20), *range(20)])


def test_a_lake_that_lost_a_commit_is_noticed(tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(str(tmp_path))
    api.records = make_records(range(10))
    load(api, lake)
    state = run.state
    lake.forget("orders", after=0)
    with pytest.raises(LakeError, match="no such commit"):
        load(api, lake)
    # The same number by another run is another commit.
    monkeypatch.setattr(run, "_reported", {})
    as_run(monkeypatch, "other")
    load(api, lake)
    monkeypatch.setattr(run, "_reported", state)
    with pytest.raises(LakeError, match="other"):
        load(api, lake)


def test_two_at_once_are_noticed(tmp_path: Path, api: Api) -> None:
    lake = Lake(str(tmp_path))
    api.records = make_records(range(10))

    def records() -> Any:
        yield {"id": 1}
        lake.load("orders", [{"id": 2}])
        yield {"id": 3}

    with pytest.raises(PipelineError):
        lake.load("orders", records())


def test_metrics_and_progress_are_reported(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    lake = Lake(str(tmp_path))
    api.records = make_records(range(25))
    orders = load(api, lake)
    things = Lake(str(tmp_path), format="jsonl").load("things", [{"a": 1}])
    told = [json.loads(line[9:]) for line in capsys.readouterr().err.splitlines() if line.startswith("metrics: ")]
    assert told[-1] == {"rows": 26, "bytes": orders.bytes + things.bytes, "files": 2}


def test_nothing_new_is_zero_rows(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(api, Lake(str(tmp_path))) == Loaded(0, 0, (), True)
    assert 'metrics: {"rows": 0, "bytes": 0, "files": 0}' in capsys.readouterr().err


def test_datasets_and_the_scripts_own_state_live_side_by_side(tmp_path: Path, api: Api) -> None:
    lake = Lake(str(tmp_path))
    api.records = make_records(range(5))
    run.report(state={"mine": 1})
    load(api, lake)
    lake.load("crm/things", [{"id": 7}])
    assert run.state is not None
    assert run.state["mine"] == 1
    assert set(run.state["pipeline"]) == {"orders", "crm/things"}


@pytest.mark.parametrize("name", ["", "_x", "../x", "a/../b", "/a", "a/", "_haulier/x", "a b", "a//b"])
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError):
        Lake(str(tmp_path)).load(name, [])


@pytest.mark.parametrize(
    "settings", [{"format": "csv"}, {"file_mb": 0}, {"partition": "country"}], ids=["format", "size", "partition"]
)
def test_bad_settings_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Lake(str(tmp_path), **settings)


def test_the_same_records_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        monkeypatch.setattr(run, "_reported", None)
        Lake(str(tmp_path / name)).load("things", [{"id": n} for n in range(100)])
    one, other = (path.read_bytes() for path in sorted(tmp_path.glob("*/things/*")))
    assert one == other
    assert len(gzip.decompress(one).splitlines()) == 100

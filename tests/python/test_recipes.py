"""The recipes of docs/pipeline.md, as they stand there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from haulier import pipeline, run

from conftest import read_lake
from support.api import CLIENT, Api, make_records, moment
from support.script import Job

TEXT = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text()
Recipe = Callable[[str], Job]


@pytest.fixture
def recipe(api: Api, tmp_path: Path) -> Recipe:
    """The block of code that contains a text, as a job: with the tests' source, and a folder for a lake."""
    api.records = make_records(range(95))

    def recipe(containing: str) -> Job:
        blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
        (found,) = [block for block in blocks if containing in block]
        here = found.replace("https://api.example.com/v1", api.url).replace("https://login.example.com", api.url)
        here = here.replace("abfs://raw/crm", str(tmp_path / "lake"))
        assert "example.com" not in here
        secrets = {"API_TOKEN": "t0ken", "CLIENT_SECRET": CLIENT[1]}
        return Job(here, tmp_path, secrets)

    return recipe


def ids(folder: Path) -> list[int]:
    return sorted(int(record["id"]) for record in read_lake(folder))


def test_a_first_load(recipe: Recipe, api: Api, tmp_path: Path) -> None:
    api.check = lambda seen: seen.headers.get("authorization") == "Bearer t0ken"
    job = recipe('rate="10/s"')
    assert job.run().last("output") == {"rows": 95}
    api.records += make_records(range(95, 99))
    ended = job.run()
    assert ended.last("metrics")["rows"] == ended.last("output")["rows"] == 4
    assert ids(tmp_path / "lake") == list(range(99))
    assert list((tmp_path / "lake" / "_haulier" / "orders" / "commits").iterdir())


def test_paging(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe("by-link").run().last("metrics") == {"rows": 285, "bytes": pytest.approx(2500, abs=1500), "files": 3}
    for name in ("by-link", "by-number", "by-offset"):
        assert ids(tmp_path / "lake" / name) == list(range(95))


def test_oauth(recipe: Recipe, api: Api, tmp_path: Path) -> None:
    api.check = api.has_token
    recipe("OAuth2(").run()
    assert ids(tmp_path / "lake") == list(range(95))
    assert list(api.tokens) == ["token-0-orders.read"]


def test_deltas(recipe: Recipe, api: Api, tmp_path: Path) -> None:
    job = recipe("timedelta(minutes=10)")
    job.run()
    # Late ones, within the overlap.
    api.records += [{"id": n, "updated_at": moment(50)} for n in range(95, 98)]
    assert job.run().last("metrics")["rows"] == 3
    assert ids(tmp_path / "lake") == list(range(98))
    assert api.seen[-1].params["since"] < moment(0)


def test_a_backfill(recipe: Recipe, api: Api, tmp_path: Path) -> None:
    job = recipe("Budget(")
    assert job.run().last("metrics")["rows"] == 95
    assert job.slices == 4
    assert ids(tmp_path / "lake") == list(range(95))
    assert "open" not in job.state["pipeline"]["orders"]
    assert job.state["pipeline"]["orders"]["commit"] == 4


def test_one_request_a_record(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe("source.each(").run().last("metrics")["rows"] == 6
    assert sorted(path.name for path in (tmp_path / "lake" / "lines").iterdir()) == ["order=7", "order=8"]


def test_any_records(recipe: Recipe, tmp_path: Path) -> None:
    job = recipe('"numbers"')
    job.run()
    job.run()
    assert ids(tmp_path / "lake") == list(range(1, 7))
    assert job.state["last"] == 6


def test_the_docs_name_every_part() -> None:
    for name in run.__all__:
        assert f"run.{name}" in TEXT or name in ("Context", "Failure", "MissingSecret"), name
    codes = {
        kind.code
        for kind in vars(pipeline).values()
        if isinstance(kind, type) and issubclass(kind, pipeline.PipelineError)
    }
    for code in codes - {"pipeline_error"}:
        assert f"`{code}`" in TEXT, code

"""Sources and lakes for all tests."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from haulier import run
from haulier.pipeline import lake

from support.api import Api


@pytest.fixture
def api() -> Iterator[Api]:
    """A source without records."""
    with Api() as api:
        yield api


@pytest.fixture(autouse=True)
def fresh_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the state that another has reported."""
    monkeypatch.setattr(run, "_reported", None)
    monkeypatch.setattr(lake, "_totals", {"rows": 0, "bytes": 0, "files": 0})


def read_lake(folder: Path) -> list[dict[str, Any]]:
    """What a reader sees who knows nothing of commits: the records of all data files."""
    records: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("*.jsonl*")):
        if not any(part.startswith("_") for part in path.relative_to(folder).parts):
            text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            records += map(json.loads, text.splitlines())
    return records

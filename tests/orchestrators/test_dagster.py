"""A Dagster asset that runs a job."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import zlib
from pathlib import Path
from typing import Any

from haulier import Haulier

from conftest import MakeJob
from support.service import Service

PIPELINES = Path(__file__).parent / "pipelines"


def message(method: str, **params: Any) -> str:
    """What a script that uses `dagster-pipes` prints."""
    return "print=" + json.dumps({"__dagster_pipes_version": "0.1", "method": method, "params": params})


def materialize(service: Service, job: str, home: Path) -> tuple[dict[str, Any], str]:
    """What became of the asset, and everything that was said."""
    python = Path(os.environ["HAULIER_TEST_ENVIRONMENTS"], "dagster", "bin", "python")
    environment = {**service.environment(), "JOB": job, "DAGSTER_HOME": "", "DAGSTER_DISABLE_TELEMETRY": "yes"}
    ended = subprocess.run(
        [python, PIPELINES / "assets.py"],
        env=environment,
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout
    said: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return said, ended.stdout


def test_an_asset_takes_what_the_script_reports(
    service: Service, client: Haulier, make_job: MakeJob, tmp_path: Path
) -> None:
    rows = {"raw_value": 42, "type": "int"}
    job = make_job(
        "echo-env=DAGSTER_PIPES_CONTEXT",
        message("opened", extras={}),
        "print=loading",
        message("report_asset_materialization", asset_key="rows", data_version=None, metadata={"rows": rows}),
        message("closed"),
    )
    became, said = materialize(service, job, tmp_path)
    assert became["success"], said
    (run,) = client.runs.list(job=job)
    assert became["metadata"]["rows"] == 42
    assert "loading" in said
    assert "report_asset_materialization" not in said.partition("loading")[2].partition("\n")[0]
    assert run.view.source == {"kind": "dagster", "dagster_run": became["run"], "step": "rows"}
    context = json.loads(zlib.decompress(base64.b64decode(next(iter(run.logs())).text)))
    assert context["data"]["extras"] == {"n": 1}


def test_an_asset_fails_with_its_run(service: Service, client: Haulier, make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job("print=loading", "exit=3")
    became, said = materialize(service, job, tmp_path)
    assert not became["success"]
    assert "exit_code" in said
    assert [run.state for run in client.runs.list(job=job)] == ["failed"]

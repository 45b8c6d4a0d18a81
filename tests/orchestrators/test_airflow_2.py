"""A killed task on Airflow 2, in the process of `airflow dags test`."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from haulier import Haulier
from waiting import eventually

from conftest import MakeJob
from support.airflow import DAGS, Airflow
from support.service import Service


def test_a_terminated_task_cancels_its_run(
    service: Service, client: Haulier, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job("forever")
    airflow = Airflow(2, tmp_path, service, DAGS)
    process = airflow.spawn("test", "dags", "test", "blocking", "2026-01-02", "--conf", json.dumps({"job": job}))
    try:
        eventually(lambda: [run for run in client.runs.list(job=job) if run.state == "running"], what="the run")
        process.send_signal(signal.SIGTERM)
        (run,) = client.runs.list(job=job)
        assert run.wait(60, check=False).state == "cancelled"
        assert process.wait(60) is not None
    finally:
        process.kill()
        process.wait()

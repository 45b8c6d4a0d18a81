"""The recipes of docs/python.md, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from haulier import Haulier
from served import REPOSITORY, binary

from conftest import MakeJob
from support.service import Service

TEXT = (REPOSITORY / "docs" / "python.md").read_text()


def recipe(containing: str) -> str:
    """The block of code that contains this text."""
    blocks = re.findall(r"```(?:sh|python)\n(.*?)```", TEXT, re.DOTALL)
    (found,) = [block for block in blocks if containing in block]
    return str(found)


def shell(script: str, service: Service) -> subprocess.CompletedProcess[str]:
    environment = service.environment()
    environment["PATH"] = f"{binary().parent}:{environment['PATH']}"
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def orders(client: Haulier, make_job: MakeJob) -> str:
    """The job that the recipes name; says which runs there were before."""
    make_job("echo-env=HAULIER_PARAMETERS", 'report={"output": {"rows": 7}}', "exit=4", name="load-orders")
    return "load-orders"


def test_curl(service: Service, client: Haulier, orders: str) -> None:
    before = {run.id for run in client.runs.list(job=orders)}
    for _ in range(2):
        ended = shell(recipe("--fail-with-body"), service)
        assert ended.stdout.splitlines()[0] == "failed", ended
        assert "4" in ended.stdout.splitlines()[1]
    (run,) = (run for run in client.runs.list(job=orders) if run.id not in before)
    assert run.view.parameters == {"day": "2026-01-31"}


def test_cron(service: Service, client: Haulier, orders: str) -> None:
    command = recipe("*/15 * * * *").partition("* * * * ")[2].replace("\\%", "%")
    # The minute may change between the two.
    command = f"date() {{ echo 2026-01-31T00:15; }}; {command}"
    before = {run.id for run in client.runs.list(job=orders)}
    ended = [shell(command, service) for _ in range(2)]
    assert [each.returncode for each in ended] == [4, 4]
    assert ended[0].stdout == "{}\n"
    assert len([run for run in client.runs.list(job=orders) if run.id not in before]) == 1


def test_prefect(service: Service, client: Haulier, make_job: MakeJob, tmp_path: Path) -> None:
    make_job("echo-env=HAULIER_PARAMETERS", "sleep=200ms", name="load-orders")
    before = {run.id for run in client.runs.list(job="load-orders")}
    python = Path(os.environ["HAULIER_TEST_ENVIRONMENTS"], "prefect", "bin", "python")
    script = tmp_path / "flow.py"
    script.write_text(recipe("from prefect import flow") + '\n\nif __name__ == "__main__":\n    load("2026-01-31")\n')
    environment = {
        **service.environment(),
        "PREFECT_HOME": str(tmp_path),
        "DO_NOT_TRACK": "1",
        # Its server takes its time to start on a busy machine.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    ended = subprocess.run([python, script], env=environment, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    (run,) = (run for run in client.runs.list(job="load-orders") if run.id not in before)
    assert run.succeeded
    assert '{"day":"2026-01-31"}' in ended.stderr + ended.stdout

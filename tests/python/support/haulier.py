"""The real binary: a service on Docker, and its command line as a developer uses it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from served import REPOSITORY, TOKEN, Served, binary, clean_environment, docker_engine


class Service(Served):
    """A running service whose only engine is Docker."""

    def __init__(self, directory: Path) -> None:
        """Starts it, and waits until it answers."""
        super().__init__(directory, docker_engine())

    def last_run(self, job: str) -> Any:
        """The newest run of a job."""
        return self.ask("GET", f"/runs?job={job}&limit=1")["items"][0]


@dataclass
class Developer:
    """Somebody at a command line. What is typed is counted."""

    directory: Path
    service: Service
    typed: list[str] = field(default_factory=list)

    def types(self, *words: str, given: str = "", succeeds: bool = True, counts: bool = True) -> str:
        """Types a command of the CLI, and reads what it prints."""
        if counts:
            self.typed.append(" ".join(["haulier", *words]))
        ended = subprocess.run(
            [binary(), *words],
            cwd=self.directory,
            env=self.service.environment(),
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert (ended.returncode == 0) == succeeds, f"haulier {' '.join(words)}: {ended.returncode}\n{ended.stdout}"
        return ended.stdout


def docker(*words: str) -> str:
    """What a command of Docker prints."""
    environment = {**os.environ, "DOCKER_HOST": os.environ["HAULIER_TEST_DOCKER_HOST"]}
    return subprocess.run(
        ["docker", *words], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def docker_gateway() -> str:
    """This machine's address as containers see it: the first one of their network, unless somebody chose another."""
    # A daemon tells the gateway only where the bridge was there before it.
    subnet = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}")
    return str(next(ip_network(subnet).hosts()))


def run_by_data_factory(service: Service, job: str) -> dict[str, Any]:
    """Runs the poll template's pipeline, as Data Factory's own expression language has it."""
    python = Path(os.environ["HAULIER_TEST_ENVIRONMENTS"], "adf", "bin", "python")
    (dotnet,) = python.parents[1].glob("lib/python*/site-packages/dnv/net/runtime/.net")
    token = service.ask("POST", "/tokens", {"name": f"adf-{time.monotonic_ns()}", "scopes": ["trigger"], "jobs": [job]})
    given = {"serviceUrl": service.url, "job": job, "token": token["secret"]}
    ended = subprocess.run(
        [python, Path(__file__).with_name("data_factory.py")],
        env={
            **clean_environment(),
            "PYTHONPATH": os.pathsep.join(str(REPOSITORY / "tests" / at) for at in ("orchestrators", "support/python")),
            "DOTNET_ROOT": str(dotnet),
            "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",
        },
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


@dataclass
class Airflow:
    """Airflow 3 with a DAG of one task, which runs the job."""

    home: Path
    service: Service
    job: str

    def __post_init__(self) -> None:
        """Makes its database."""
        self._program = Path(os.environ["HAULIER_TEST_ENVIRONMENTS"], "airflow-3", "bin", "airflow")
        dags = self.home / "dags"
        dags.mkdir(parents=True)
        (dags / "dag.py").write_text(
            "from airflow.sdk import DAG\n"
            "from haulier_airflow.operators import HaulierRunOperator\n"
            'with DAG("load", schedule=None):\n'
            f'    HaulierRunOperator(task_id="load", job="{self.job}")\n'
        )
        self._command("db", "migrate")

    def test(self) -> subprocess.CompletedProcess[str]:
        """Runs the DAG; how it ended, and what its log says."""
        return self._command("dags", "test", "load")

    def _command(self, *words: str) -> subprocess.CompletedProcess[str]:
        connection = {"conn_type": "haulier", "host": self.service.url, "password": TOKEN}
        return subprocess.run(
            [self._program, *words],
            env={
                **clean_environment(),
                "PATH": f"{self._program.parent}:{os.environ['PATH']}",
                "AIRFLOW_HOME": str(self.home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW_CONN_HAULIER_DEFAULT": json.dumps(connection),
                "NO_PROXY": "127.0.0.1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )

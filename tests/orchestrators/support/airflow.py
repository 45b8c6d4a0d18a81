"""Airflow, as it is installed, in a home of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from served import REPOSITORY, clean_environment
from waiting import eventually

from .service import Service

DAGS = Path(__file__).resolve().parents[1] / "dags"
EXAMPLES = REPOSITORY / "templates" / "airflow"
START_PATIENCE = 180.0
"""Airflow takes its time to start, on two cores more so."""


class Airflow:
    """One version of Airflow with its database and a connection to the service."""

    def __init__(self, version: int, home: Path, service: Service, dags: Path) -> None:
        """Makes its database."""
        environments = os.environ.get("HAULIER_TEST_ENVIRONMENTS")
        assert environments, "there is no Airflow: use tests/orchestrators/run, which installs it"
        self._program = Path(environments, f"airflow-{version}", "bin", "airflow")
        self.home = home
        self.token = service.trigger_token()
        connection = {"conn_type": "haulier", "host": service.url, "password": self.token}
        self.environment = {
            **clean_environment(),
            "PATH": f"{self._program.parent}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW_CONN_HAULIER_DEFAULT": json.dumps(connection),
            "NO_PROXY": "127.0.0.1",
        }
        self.run("db", "migrate")

    def run(self, *arguments: str) -> str:
        """What a command that must succeed prints."""
        ended = self.attempt(*arguments)
        assert ended.returncode == 0, f"airflow {' '.join(arguments)}: {ended.stdout[-8000:]}"
        return ended.stdout

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """How a command ends."""
        return subprocess.run(
            [self._program, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )

    def spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a component; its output goes to a file of that name."""
        with (self.home / f"{name}.out").open("ab") as output:
            return subprocess.Popen(
                [self._program, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


class AirflowCluster(Airflow):
    """Airflow 3 with all its components running."""

    def __init__(self, home: Path, service: Service) -> None:
        """Starts all, and waits until the API answers and the DAGs are there."""
        port = free_port()
        self.database = Database()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._settings = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database.url,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API_AUTH__JWT_SECRET": "for-tests-only-and-long-enough-for-a-signature-of-512-bits-or-more-0123",
            "AIRFLOW__API__SECRET_KEY": "for-tests-only",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }
        super().__init__(3, home, service, DAGS)
        self.start("api-server", "--workers", "1", "--host", "127.0.0.1")
        for name in ("scheduler", "dag-processor"):
            self.start(name)
        self.start_triggerer()
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        eventually(self._log_in, within=START_PATIENCE, what="Airflow's API")
        eventually(lambda: self._get("/dags/not_awaited"), within=START_PATIENCE, what="the last of the DAGs")

    def run(self, *arguments: str) -> str:
        """What a command that must succeed prints."""
        self.environment.update(self._settings)
        return super().run(*arguments)

    def start(self, name: str, *arguments: str) -> None:
        """Starts a component."""
        self._processes[name] = self.spawn(name, name, *arguments)

    def start_triggerer(self, name: str = "triggerer") -> None:
        """Starts a triggerer, without its log server: that has a fixed port, and nobody needs it here."""
        self._processes[name] = self.spawn(name, "triggerer", "--skip-serve-logs")

    def stop(self, name: str, sign: int) -> None:
        """Ends a component and what it has started."""
        process = self._processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        process.wait(60)

    def close(self) -> None:
        """Ends all."""
        for name in list(self._processes):
            self.stop(name, signal.SIGKILL)
        self._http.close()
        self.database.drop()

    def _log_in(self) -> bool:
        with suppress(httpx.HTTPError):
            answer = self._http.get("/auth/token")
            if answer.is_success:
                self._http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
                return True
        return False

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            answer = self._http.get(f"/api/v2{path}")
        except httpx.HTTPError:
            return None
        return answer.json() if answer.is_success else None

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._http.request(method, f"/api/v2{path}", json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        said: dict[str, Any] = answer.json()
        return said

    def trigger(self, dag: str, job: str) -> DagRun:
        """Starts a run of a DAG whose only task runs that job."""
        body = {"dag_run_id": f"{dag}-{job}", "logical_date": None, "conf": {"job": job}}
        self._send("POST", f"/dags/{dag}/dagRuns", body)
        return DagRun(self, dag, f"{dag}-{job}")


class DagRun:
    """One run of a DAG whose only task is called `run`."""

    def __init__(self, airflow: AirflowCluster, dag: str, run_id: str) -> None:
        """Use `AirflowCluster.trigger`."""
        self._airflow = airflow
        self._dag = dag
        self.run_id = run_id
        self._task = f"/dags/{dag}/dagRuns/{run_id}/taskInstances/run"

    def task(self) -> dict[str, Any]:
        """The task instance as Airflow's API tells it."""
        return self._airflow._get(self._task) or {}

    def await_state(self, *states: str) -> dict[str, Any]:
        """The task instance once it is in one of these states."""
        within = START_PATIENCE

        def look() -> dict[str, Any] | None:
            task = self.task()
            return task if task.get("state") in states else None

        return eventually(look, within=within, what=f"{' or '.join(states)} of {self.run_id}, now {self.task()}")

    def await_trigger(self) -> None:
        """Waits until a triggerer has taken it up: it writes a log of its own then."""
        self.await_state("deferred")
        eventually(self.trigger_logs, what=f"the trigger of {self.run_id}")

    def trigger_logs(self, triggerer: str = "*") -> list[Path]:
        """What triggerers have written of it: files, which Airflow's API does not tell apart."""
        return list(self._airflow.home.glob(f"logs/**/run_id={self.run_id}/**/*.trigger.{triggerer}.log"))

    def await_end(self) -> None:
        """Waits until the scheduler has closed the DAG run, which it does some time after its last task.

        A task that is cleared in between may be lost: the scheduler closes the run over it, having read the
        task's state before (Airflow 3.3.2 sets only finished DAG runs back to queued).
        """
        path = f"/dags/{self._dag}/dagRuns/{self.run_id}"

        def look() -> bool:
            return (self._airflow._get(path) or {}).get("state") in ("success", "failed")

        eventually(look, within=START_PATIENCE, what=f"the end of {self.run_id}")

    def mark(self, state: str) -> None:
        """What the button does."""
        self._airflow._send("PATCH", self._task, {"new_state": state})

    def clear(self) -> None:
        """What the button does."""
        body = {
            "dry_run": False,
            "dag_run_id": self.run_id,
            "task_ids": ["run"],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self._airflow._send("POST", f"/dags/{self._dag}/clearTaskInstances", body)

    def xcom(self, key: str = "return_value") -> Any:
        """What the task has pushed."""
        entry = self._airflow._get(f"{self._task}/xcomEntries/{key}")
        return None if entry is None else entry["value"]

    def links(self) -> dict[str, Any]:
        """The buttons of the task."""
        links: dict[str, Any] = (self._airflow._get(f"{self._task}/links") or {}).get("extra_links", {})
        return links

    def log(self, attempt: int) -> str:
        """The log of one try, raw."""
        answer = self._airflow._http.get(f"/api/v2{self._task}/logs/{attempt}?full_content=true")
        return answer.text


class Database:
    """A PostgreSQL database of its own: on SQLite, Airflow's components lock each other out."""

    def __init__(self) -> None:
        """Makes it."""
        server = os.environ.get("HAULIER_TEST_POSTGRES_URL")
        assert server, "there is no PostgreSQL: use tests/orchestrators/run, which starts it"
        self._server = server
        self._name = f"airflow_{uuid.uuid4().hex}"
        self._psql(f"CREATE DATABASE {self._name}")
        self.url = f"postgresql+psycopg2://{server.split('://')[1].rpartition('/')[0]}/{self._name}"

    def drop(self) -> None:
        """Removes it."""
        self._psql(f"DROP DATABASE {self._name} WITH (FORCE)")

    def _psql(self, statement: str) -> None:
        subprocess.run(["psql", "-qX", "-d", self._server, "-c", statement], check=True, cwd="/")

    def ask(self, statement: str) -> str:
        """What a statement gives, on this database."""
        command = ["psql", "-qXtA", "-d", f"{self._server.rpartition('/')[0]}/{self._name}", "-c", statement]
        return subprocess.run(command, check=True, cwd="/", capture_output=True, text=True).stdout.strip()


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port

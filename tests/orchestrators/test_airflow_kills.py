"""What becomes of runs when tasks are killed, marked, cleared or handed over: on a whole Airflow 3."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest
from haulier import Haulier, Run
from waiting import eventually

from conftest import MakeJob
from support.airflow import AirflowCluster, DagRun
from support.service import Service

SLOW = ["print=begin", "sleep=20s", "print=end", 'report={"output": {"rows": 7}}']
"""A run that lasts long enough for its task to be killed and tried again."""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[AirflowCluster]:
    """Airflow with all its components."""
    airflow = AirflowCluster(tmp_path_factory.mktemp("airflow"), service)
    yield airflow
    airflow.close()


@pytest.fixture
def triggered(airflow: AirflowCluster, make_job: MakeJob) -> Iterator[Starter]:
    """Starts DAG runs, and cancels what they leave behind."""
    starter = Starter(airflow, make_job)
    yield starter
    starter.clean_up()


class Starter:
    """Starts DAG runs with a job of their own."""

    def __init__(self, airflow: AirflowCluster, make_job: MakeJob) -> None:
        self._airflow = airflow
        self._make_job = make_job
        self.started: list[DagRun] = []

    def __call__(self, dag: str, *words: str) -> tuple[DagRun, str]:
        """The DAG run, and the job that its task runs."""
        job = self._make_job(*words)
        dag_run = self._airflow.trigger(dag, job)
        self.started.append(dag_run)
        return dag_run, job

    def clean_up(self) -> None:
        for dag_run in self.started:
            if dag_run.task().get("state") not in ("success", "failed"):
                dag_run.mark("failed")


def runs_of(client: Haulier, job: str) -> list[Run]:
    """The job's runs, the oldest first."""
    return list(client.runs.list(job=job))[::-1]


def await_run(client: Haulier, job: str, state: str, index: int = 0) -> Run:
    """A run of the job once it is in this state."""

    def look() -> Run | None:
        runs = runs_of(client, job)
        return runs[index] if len(runs) > index and runs[index].state == state else None

    found = [(run.id, run.state) for run in runs_of(client, job)]
    return eventually(look, within=120, what=f"{state} of run {index} of {job}, there was {found}")


def ends(client: Haulier, job: str) -> list[str]:
    """How the job's runs stand, the oldest first."""
    return [run.state for run in runs_of(client, job)]


def shown(dag_run: DagRun, attempt: int, text: str) -> int:
    """How often the log of a try shows a line."""
    return len(re.findall(rf'"event":"{text}"', dag_run.log(attempt).replace(": ", ":")))


@pytest.mark.parametrize("dag", ["blocking", "deferred", "deferred_with_log"])
def test_a_task_ends_as_its_run_and_shows_its_log(dag: str, triggered: Starter, client: Haulier) -> None:
    words = [word for n in range(5) for word in (f"print=line {n}", "sleep=1s")]
    dag_run, job = triggered(dag, *words, 'report={"output": {"rows": 7}}')
    dag_run.await_state("success")
    assert ends(client, job) == ["succeeded"]
    assert dag_run.xcom() in ({"rows": 7}, '{"rows": 7}')
    assert dag_run.links() == {"Haulier run": dag_run.xcom("haulier_run_url").strip('"')}
    assert [shown(dag_run, 1, f"line {n}") for n in range(5)] == [1] * 5


def test_a_failed_run_is_retried_with_a_new_one(triggered: Starter, client: Haulier) -> None:
    dag_run, job = triggered("blocking_retried", "exit=3")
    task = dag_run.await_state("failed")
    assert task["try_number"] == 3
    assert ends(client, job) == ["failed"] * 3
    assert all("exit_code" in dag_run.log(attempt) for attempt in (1, 2, 3))


def test_a_failure_that_no_retry_can_help_is_final(triggered: Starter, client: Haulier) -> None:
    report = 'report={"error": {"code": "no_access", "message": "ask for access", "retryable": false}}'
    dag_run, job = triggered("blocking_retried", report, "exit=1")
    task = dag_run.await_state("failed")
    assert task["try_number"] == 1
    assert ends(client, job) == ["failed"]
    assert "ask for access" in dag_run.log(1)


def test_a_killed_task_finds_its_run_again(triggered: Starter, client: Haulier) -> None:
    dag_run, job = triggered("blocking_retried", *SLOW)
    await_run(client, job, "running")
    os.kill(dag_run.await_state("running")["pid"], signal.SIGKILL)
    task = dag_run.await_state("success", "failed")
    assert (task["state"], task["try_number"]) == ("success", 2)
    assert ends(client, job) == ["succeeded"]
    assert (shown(dag_run, 2, "begin"), shown(dag_run, 2, "end")) == (1, 1)


def test_a_terminated_task_cancels_its_run_and_fails(triggered: Starter, client: Haulier) -> None:
    dag_run, job = triggered("blocking", "forever")
    await_run(client, job, "running")
    os.kill(dag_run.await_state("running")["pid"], signal.SIGTERM)
    dag_run.await_state("failed")
    assert ends(client, job) == ["cancelled"]


def test_a_terminated_task_that_is_retried_makes_a_new_run(triggered: Starter, client: Haulier) -> None:
    dag_run, job = triggered("blocking_retried", "sleep=10s")
    await_run(client, job, "running")
    os.kill(dag_run.await_state("running")["pid"], signal.SIGTERM)
    task = dag_run.await_state("success")
    assert task["try_number"] == 2
    assert ends(client, job) == ["cancelled", "succeeded"]


@pytest.mark.parametrize("dag", ["blocking", "deferred"])
@pytest.mark.parametrize("mark", ["failed", "success"])
def test_a_marked_task_cancels_its_run(dag: str, mark: str, triggered: Starter, client: Haulier) -> None:
    dag_run, job = triggered(dag, "forever")
    await_run(client, job, "running")
    dag_run.await_trigger() if dag == "deferred" else dag_run.await_state("running")
    dag_run.mark(mark)
    await_run(client, job, "cancelled")
    assert dag_run.task()["state"] == mark
    assert ends(client, job) == ["cancelled"]


@pytest.mark.parametrize(("dag", "state"), [("blocking", "running"), ("deferred", "deferred")])
def test_a_task_that_is_cleared_meanwhile_makes_a_new_run(
    dag: str, state: str, triggered: Starter, client: Haulier
) -> None:
    dag_run, job = triggered(dag, "forever")
    await_run(client, job, "running")
    dag_run.await_state(state)
    dag_run.clear()
    await_run(client, job, "cancelled")
    await_run(client, job, "running", index=1)
    dag_run.await_state(state)
    assert ends(client, job) == ["cancelled", "running"]


def test_a_cleared_task_ends_its_earlier_run_by_itself_if_need_be(
    airflow: AirflowCluster, triggered: Starter, client: Haulier
) -> None:
    # As before Airflow 3.3: no triggerer tells that the task was cleared.
    airflow.stop("triggerer", signal.SIGTERM)
    try:
        dag_run, job = triggered("deferred", "forever")
        dag_run.await_state("deferred")
        dag_run.clear()
        await_run(client, job, "cancelled")
        await_run(client, job, "running", index=1)
        dag_run.await_state("deferred")
    finally:
        airflow.start_triggerer()
    assert ends(client, job) == ["cancelled", "running"]


def test_a_task_that_is_cleared_after_success_makes_a_new_run(triggered: Starter, client: Haulier) -> None:
    dag_run, job = triggered("deferred", "sleep=1s")
    dag_run.await_state("success")
    dag_run.await_end()
    dag_run.clear()
    await_run(client, job, "succeeded", index=1)
    dag_run.await_state("success")
    assert ends(client, job) == ["succeeded", "succeeded"]


def test_a_run_that_is_not_awaited_goes_on(triggered: Starter, client: Haulier) -> None:
    dag_run, job = triggered("not_awaited", "forever")
    dag_run.await_state("success")
    (run,) = runs_of(client, job)
    assert not run.finished
    assert dag_run.xcom().strip('"') == run.id
    run.cancel()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_run_outlives_the_triggerer(
    sign: signal.Signals, airflow: AirflowCluster, triggered: Starter, client: Haulier
) -> None:
    dag_run, job = triggered("deferred", *SLOW)
    dag_run.await_trigger()
    await_run(client, job, "running")
    airflow.stop("triggerer", sign)
    airflow.start_triggerer()
    dag_run.await_state("success")
    assert ends(client, job) == ["succeeded"]
    assert (shown(dag_run, 1, "begin"), shown(dag_run, 1, "end")) == (1, 1)


def test_a_run_outlives_a_hand_over_between_triggerers(
    airflow: AirflowCluster, triggered: Starter, client: Haulier
) -> None:
    dag_run, job = triggered("deferred", "forever")
    dag_run.await_trigger()
    await_run(client, job, "running")
    ask = airflow.database.ask
    first = ask("SELECT triggerer_id FROM trigger")
    airflow.start_triggerer("second-triggerer")
    second = eventually(
        lambda: ask(f"SELECT id FROM job WHERE job_type = 'TriggererJob' AND state = 'running' AND id > {first}"),
        within=120,
        what="the second triggerer",
    )
    # What Airflow does when it takes the first for dead.
    ask(f"UPDATE trigger SET triggerer_id = {second} WHERE triggerer_id = {first}")
    eventually(lambda: dag_run.trigger_logs(second), what="the trigger on the second triggerer")

    def let_go() -> bool:
        """Whether the first triggerer is through with it, and with what it takes for a kill."""
        told = "".join(log.read_text() for log in dag_run.trigger_logs(first))
        return "trigger completed" in told and ("invoking on_kill" not in told or "still deferred" in told)

    eventually(let_go, what="the end of the trigger on the first triggerer")
    assert ends(client, job) == ["running"]
    assert dag_run.task()["state"] == "deferred"
    runs_of(client, job)[0].cancel()
    dag_run.await_state("failed")
    assert ends(client, job) == ["cancelled"]
    airflow.stop("second-triggerer", signal.SIGTERM)

"""Every example DAG on both versions of Airflow."""

from __future__ import annotations

import ast
import re

import pytest
from haulier import Haulier

from conftest import MakeJob
from support.airflow import EXAMPLES, Airflow
from support.service import Service


@pytest.fixture(scope="module", params=[2, 3], ids=["airflow-2", "airflow-3"])
def airflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, service: Service) -> Airflow:
    """Airflow with the examples in its `dags` folder."""
    return Airflow(request.param, tmp_path_factory.mktemp("airflow"), service, EXAMPLES)


@pytest.fixture(scope="module", autouse=True)
def jobs(make_job: MakeJob) -> None:
    """The jobs that the examples name."""
    make_job("echo-env=HAULIER_PARAMETERS", "sleep=1s", 'report={"output": {"rows": 7}}', name="load-orders")
    make_job("print=customers", "sleep=1s", 'report={"output": {"rows": 3}}', name="load-customers")


def example_dags() -> list[str]:
    """The names of all example DAGs."""
    calls = [
        node
        for node in ast.walk(ast.parse((EXAMPLES / "haulier_example.py").read_text()))
        if isinstance(node, ast.Call)
    ]
    names = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "DAG"]
    return [str(name.value) for name in names if isinstance(name, ast.Constant)]


@pytest.mark.parametrize("dag", example_dags())
def test_an_example_runs(dag: str, airflow: Airflow, client: Haulier) -> None:
    before = {run.id for run in client.runs.list()}
    said = airflow.run("dags", "test", dag, "2026-01-02")
    made = [run for run in client.runs.list() if run.id not in before]
    by_task = {run.view.source["task"]: run for run in made}
    assert all(run.succeeded for run in made)
    assert all(run.view.source["dag"] == dag for run in made)
    if dag == "haulier_simple":
        assert set(by_task) == {"load_orders"}
        given = by_task["load_orders"].view.parameters
        assert [re.sub("T00:00:00.*", "", given[bound]) for bound in ("from", "to")] == ["2026-01-01", "2026-01-02"]
        assert '"from":"2026-01-01' in said, "the job's output is missing in the task's log"
    elif dag == "haulier_deferrable":
        assert set(by_task) == {"load_customers", "load_orders"}
        assert by_task["load_orders"].view.parameters == {"customers": {"rows": 3}}
        customers_ended = by_task["load_customers"].view.finished_at
        assert customers_ended
        assert customers_ended <= by_task["load_orders"].view.created_at
    else:
        assert set(by_task) == {"start"}


def test_airflow_knows_the_provider(airflow: Airflow) -> None:
    assert "airflow-provider-haulier" in airflow.run("providers", "list")
    assert "haulier_airflow.hooks.HaulierHook" in airflow.run("providers", "hooks")
    assert "haulier_airflow.links.HaulierRunLink" in airflow.run("providers", "links")


def test_the_connection_is_tested(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(airflow.environment, "AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    assert "Connection success!" in airflow.run("connections", "test", "haulier_default")
    wrong = airflow.environment["AIRFLOW_CONN_HAULIER_DEFAULT"].replace(airflow.token, "wrong-token-0123456789")
    monkeypatch.setitem(airflow.environment, "AIRFLOW_CONN_HAULIER_DEFAULT", wrong)
    refused = airflow.attempt("connections", "test", "haulier_default").stdout
    assert "Connection failed!" in refused
    assert "wrong-token" not in refused

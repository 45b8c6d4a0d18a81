"""Every style against a real service: what comes back, and how often the script has run."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from adf.conftest import Azure
from adf.support.service import Service
from adf.support.templates import STYLES, VARIANTS

REPORT = 'report={"output": {"rows": 42}}'

each_style = pytest.mark.parametrize("style", STYLES)
each_variant = pytest.mark.parametrize(("style", "by"), VARIANTS)


@each_variant
def test_the_output_is_returned(style: str, by: str, azure: Azure, service: Service) -> None:
    job = service.make_job("sleep=300ms", REPORT)
    run = azure.run(style, job, by=by, jobParameters={"day": "2026-01-31", "odd": "\"@{x}'\\ é"}, timeoutSeconds=77)
    assert (run.status, run.failure) == ("Succeeded", None)
    made = service.run(job)
    assert run.return_value == {"output": {"rows": 42}, "runId": made["id"]}
    assert made["parameters"] == {"day": "2026-01-31", "odd": "\"@{x}'\\ é"}
    assert made["timeout_seconds"] == 77
    assert made["abandon_after_seconds"] == (None if style == "callback" else 900)
    pipeline = {"poll": "HaulierPoll", "callback": "HaulierCallback", "async": "HaulierAsync"}[style]
    activity = "TriggerRun" if style == "poll" else "RunJob"
    source = {"kind": "adf", "factory": "factory", "pipeline": pipeline, "run_id": run.id, "activity": activity}
    assert made["source"] == source


@each_variant
def test_the_token_is_not_shown_in_monitoring(style: str, by: str, azure: Azure, service: Service) -> None:
    job = service.make_job()
    token = service.make_token(job)
    run = azure.run(style, job, by=by, token=token)
    assert run.status == "Succeeded"
    shown = json.dumps([vars(each) for each in run.activities])
    assert token not in shown
    assert "Bearer ey" not in shown


@each_style
def test_a_run_without_output_returns_an_empty_object(style: str, azure: Azure, service: Service) -> None:
    job = service.make_job()
    run = azure.run(style, job)
    assert run.return_value == {"output": {}, "runId": service.run(job)["id"]}
    assert service.run(job)["timeout_seconds"] == 3600, "the job's own"


@each_style
@pytest.mark.parametrize("output", ["7", '"text"', "[1, 2]", "false"])
def test_any_output_is_returned(style: str, output: str, azure: Azure, service: Service) -> None:
    run = azure.run(style, service.make_job(f'report={{"output": {output}}}'))
    assert run.return_value is not None
    assert run.return_value["output"] == json.loads(output)


@each_style
def test_a_failing_script_fails_the_pipeline_with_its_code(style: str, azure: Azure, service: Service) -> None:
    job = service.make_job("print=hello", "exit=3")
    run = azure.run(style, job)
    assert run.status == "Failed"
    assert run.return_value is None
    made = service.run(job)
    assert run.failure is not None
    assert run.failure["errorCode"] == made["error"]["code"] == "exit_code"
    assert made["error"]["message"] in run.failure["message"]
    assert made["id"] in run.failure["message"]
    assert made["exit_code"] == 3


@each_style
def test_the_scripts_own_error_is_passed_on(style: str, azure: Azure, service: Service) -> None:
    report = 'report={"error": {"code": "source_down", "message": "the source says 502"}}'
    run = azure.run(style, service.make_job(report))
    assert run.failure is not None
    assert run.failure["errorCode"] == "script_error"
    assert run.failure["message"].startswith("the source says 502 (run ")


@each_style
def test_a_run_that_times_out_fails_the_pipeline(style: str, azure: Azure, service: Service) -> None:
    run = azure.run(style, service.make_job("forever"), timeoutSeconds=1)
    assert run.status == "Failed"
    assert run.failure is not None
    assert run.failure["errorCode"] == "run_timeout"


@each_style
def test_a_run_that_an_operator_cancels_fails_the_pipeline(style: str, azure: Azure, service: Service) -> None:
    job = service.make_job("forever")
    with ThreadPoolExecutor() as threads:
        ended = threads.submit(azure.run, style, job)
        made = service.await_state(job, "running")
        service.ask("POST", f"/runs/{made['id']}/cancel")
        run = ended.result(timeout=60)
    assert run.status == "Failed"
    assert run.failure is not None
    assert run.failure["errorCode"] == "cancelled"

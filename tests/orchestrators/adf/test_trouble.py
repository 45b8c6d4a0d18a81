"""Networks that fail, tokens that do not work, pipelines that stop waiting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from adf.conftest import Azure
from adf.support.proxy import FlakyProxy
from adf.support.service import Service
from adf.support.templates import STYLES, TOKENS

REPORT = 'report={"output": {"rows": 42}}'
TRIGGER = r"POST .*/runs$"
POLL = r"GET .*/runs/[^/]+$"
AWAIT = r"GET .*/await$"
CANCEL = r"POST .*/cancel$"

each_style = pytest.mark.parametrize("style", STYLES)
each_fault = pytest.mark.parametrize("fault", ["busy", "drop"])


@each_fault
@pytest.mark.parametrize(("style", "times"), [("poll", 3), ("async", 2)])
def test_answers_that_are_lost_make_no_second_run(
    style: str, times: int, fault: Any, azure: Azure, service: Service, proxy: FlakyProxy
) -> None:
    job = service.make_job("sleep=300ms", REPORT)
    proxy.fail(fault, TRIGGER, times)
    run = azure.run(style, job, url=proxy.url)
    assert proxy.made == [fault] * times
    assert run.return_value == {"output": {"rows": 42}, "runId": service.run(job)["id"]}
    follows = any("/await" in request.path for request in proxy.seen)
    assert follows == (style == "async"), "poll asks by itself"


@pytest.mark.parametrize("style", ["poll", "async"])
def test_a_failure_whose_answer_is_lost_makes_no_second_run(
    style: str, azure: Azure, service: Service, proxy: FlakyProxy
) -> None:
    job = service.make_job("exit=1")
    proxy.fail("drop", TRIGGER, 2)
    run = azure.run(style, job, url=proxy.url)
    assert run.status == "Failed"
    assert service.run(job)["error"]["code"] == "exit_code"


@each_fault
def test_a_web_hook_is_not_repeated_and_cancels_what_it_started(
    fault: Any, azure: Azure, service: Service, proxy: FlakyProxy
) -> None:
    job = service.make_job("forever")
    proxy.fail(fault, TRIGGER)
    run = azure.run("callback", job, url=proxy.url)
    assert proxy.made == [fault]
    assert run.failure is not None
    assert run.failure["errorCode"] == "wait_failed"
    made = service.await_state(job, "cancelled")
    assert f"(run {made['id']} of job {job}, which was cancelled)" in run.failure["message"]


@each_fault
@pytest.mark.parametrize(("style", "asks"), [("poll", POLL), ("async", AWAIT)])
def test_waiting_outlives_a_network_that_fails(
    style: str, asks: str, fault: Any, azure: Azure, service: Service, proxy: FlakyProxy
) -> None:
    job = service.make_job("sleep=300ms", REPORT)
    proxy.fail(fault, asks, 2)
    run = azure.run(style, job, url=proxy.url)
    assert proxy.made == [fault] * 2
    assert run.return_value == {"output": {"rows": 42}, "runId": service.run(job)["id"]}


@pytest.mark.parametrize("brings", [False, True])
def test_the_link_works_with_and_without_the_token(brings: bool, azure: Azure, service: Service) -> None:
    azure.caller.brings_token_along = brings
    assert azure.run("async", service.make_job("sleep=300ms")).status == "Succeeded"


@pytest.mark.parametrize("nests", [False, True])
@pytest.mark.parametrize("report", [REPORT, 'report={"output": {"id": 1, "output": 2}}', "print=none"])
def test_a_callbacks_output_is_found_wherever_it_is(report: str, nests: bool, azure: Azure, service: Service) -> None:
    azure.caller.nests_callback = nests
    job = service.make_job(report)
    run = azure.run("callback", job)
    made = service.run(job)
    assert run.return_value == {"output": made["output"] or {}, "runId": made["id"]}


def test_a_callback_is_delivered_when_the_receiver_is_back(azure: Azure, service: Service) -> None:
    azure.receiver.busy = 2
    assert azure.run("callback", service.make_job()).status == "Succeeded"
    assert azure.receiver.refused == [503, 503]


@each_style
def test_a_wrong_token_starts_nothing(style: str, azure: Azure, service: Service) -> None:
    job = service.make_job()
    run = azure.run(style, job, token="hlr_not_a_token")
    assert run.status == "Failed"
    first = run.tries("TriggerRun" if style == "poll" else "RunJob")[0]
    assert "401" in first.error["message"]
    assert "unauthorized" in first.error["message"]
    assert service.runs(job) == []


@each_style
@pytest.mark.parametrize("by", ["key-vault", "parameter"])
def test_a_token_for_another_job_starts_nothing(style: str, by: str, azure: Azure, service: Service) -> None:
    job = service.make_job()
    run = azure.run(style, job, by=by, token=service.make_token(service.make_job()))
    assert run.status == "Failed"
    assert service.runs(job) == []


@each_style
def test_an_identity_that_is_shown_to_somebody_else_starts_nothing(style: str, azure: Azure, service: Service) -> None:
    job = service.make_job()
    run = azure.run(style, job, by="managed-identity", tokenAudience="api://somebody-else")
    assert run.status == "Failed"
    told = run.failure or run.tries("TriggerRun")[-1].error
    assert "unauthorized" in told["message"]
    assert service.runs(job) == []


@each_style
def test_a_secret_that_is_not_there_is_told_by_the_vault(style: str, azure: Azure, service: Service) -> None:
    job = service.make_job()
    run = azure.run(style, job, by="key-vault", tokenSecretName="other")
    assert run.status == "Failed"
    assert "SecretNotFound" in run.tries("GetToken")[-1].error["message"]
    assert len(run.tries("GetToken")) == 4
    assert service.runs(job) == []


@each_style
def test_a_job_that_is_not_there_is_told(style: str, azure: Azure, service: Service) -> None:
    run = azure.run(style, "missing", token=service.make_token(service.make_job()))
    assert run.status == "Failed"
    told = run.failure or run.tries("TriggerRun")[-1].error
    assert "not_found" in told["message"]


@each_style
def test_a_full_job_that_rejects_is_told(style: str, azure: Azure, service: Service) -> None:
    job = service.make_job("forever", max_parallel=1, when_full="reject")
    holder = service.ask("POST", f"/jobs/{job}/runs", {})["id"]
    run = azure.run(style, job)
    assert run.status == "Failed"
    told = run.failure or run.tries("TriggerRun")[-1].error
    assert "job_full" in told["message"]
    assert holder in told["message"]
    assert service.run(job)["id"] == holder, "the one that runs is left alone"
    assert service.run(job)["state"] in ("starting", "running")


@each_style
def test_a_service_that_is_down_fails_the_pipeline(
    style: str, azure: Azure, service: Service, proxy: FlakyProxy
) -> None:
    proxy.fail("gone", ".", 1000)
    job = service.make_job()
    run = azure.run(style, job, url=proxy.url)
    assert run.status == "Failed"
    assert service.runs(job) == []


@each_style
def test_redirects_are_not_relied_on(style: str, azure: Azure, service: Service, proxy: FlakyProxy) -> None:
    assert azure.run(style, service.make_job(), url=f"{proxy.url}/").status == "Succeeded", "a slash too many"
    proxy.fail("redirect", ".", 1000)
    assert azure.run(style, service.make_job(), url=proxy.url).status == "Failed"


@pytest.mark.parametrize("fails_loops", [False, True])
def test_a_poll_that_fails_for_good_ends_the_loop_and_cancels(
    fails_loops: bool, azure: Azure, service: Service, proxy: FlakyProxy
) -> None:
    azure.caller.fails_loops = fails_loops
    job = service.make_job("forever")
    proxy.fail("gone", POLL, 1000)
    run = azure.run("poll", job, url=proxy.url)
    assert len(run.tries("GetRun")) == 6, "once, with five retries, and not again"
    assert run.failure is not None
    assert run.failure["errorCode"] == "wait_failed"
    assert "the service could not be asked" in run.failure["message"]
    assert run.failure["message"].endswith("it was cancelled")
    assert service.await_state(job, "cancelled")["id"] in run.failure["message"]


def test_a_service_that_stays_away_leaves_the_rest_to_the_lease(
    azure: Azure, service: Service, proxy: FlakyProxy
) -> None:
    job = service.make_job("forever")
    proxy.fail("gone", POLL, 1000)
    proxy.fail("gone", CANCEL, 1000)
    run = azure.run("poll", job, url=proxy.url)
    assert run.failure is not None
    assert run.failure["errorCode"] == "wait_failed"
    assert "could not be cancelled" in run.failure["message"]
    assert service.run(job)["abandon_after_seconds"] == 900


@pytest.mark.parametrize("by", TOKENS)
@each_style
def test_a_pipeline_that_waits_too_long_cancels(style: str, by: str, azure: Azure, service: Service) -> None:
    job = service.make_job("forever")
    run = azure.run(style, job, by=by, wait="0.00:00:02")
    assert run.status == "Failed"
    assert run.failure is not None
    assert run.failure["errorCode"] == "wait_failed"
    made = service.await_state(job, "cancelled")
    assert made["id"] in run.failure["message"]
    assert "was cancelled" in run.failure["message"]


def test_a_cancelled_pipelines_run_is_cancelled_by_its_lease(azure: Azure, service: Service) -> None:
    azure.caller.cancelled_after = TRIGGER
    jobs = [service.make_job("forever"), service.make_job("forever")]
    for style, job in zip(("poll", "async"), jobs, strict=True):
        assert azure.run(style, job, leaseSeconds=30).status == "Cancelled"
    for job in jobs:
        assert service.await_state(job, "cancelled")["error"]["code"] == "abandoned"


def test_a_leased_run_that_is_asked_for_goes_on(azure: Azure, service: Service) -> None:
    jobs = [service.make_job("sleep=40s", REPORT), service.make_job("sleep=40s", REPORT)]
    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(azure.run, *each, leaseSeconds=30) for each in zip(("poll", "async"), jobs, strict=True)]
        assert [run.result().status for run in runs] == ["Succeeded", "Succeeded"]


def test_every_run_of_a_pipeline_is_a_run_of_its_own(azure: Azure, service: Service) -> None:
    job = service.make_job("exit=1")
    for style in STYLES:
        azure.run(style, job)
        azure.run(style, job)
    assert len(service.runs(job)) == 6

"""The blocking client against a real service."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from haulier import (
    Haulier,
    HaulierError,
    NotHaulier,
    RequestRefused,
    RunFailed,
    SettingsError,
    Unreachable,
    WaitTimeout,
)
from haulier.client.models import JobSpec, RunView
from served import TOKEN

from conftest import MakeJob
from support.service import Service


def test_a_run_goes_from_trigger_to_output(client: Haulier, make_job: MakeJob) -> None:
    job = make_job(
        "echo-env=HAULIER_PARAMETERS",
        'report={"output": {"rows": 42}, "metrics": {"rows": 42}}',
    )
    run = client.trigger(
        job,
        parameters={"day": "2026-01-31"},
        labels={"a": "b"},
        source={"kind": "test"},
    )
    run.wait()
    assert (run.state, run.finished, run.succeeded, run.exit_code) == (
        "succeeded",
        True,
        True,
        0,
    )
    assert (run.output, run.metrics) == ({"rows": 42}, {"rows": 42})
    assert (run.view.labels, run.view.source) == ({"a": "b"}, {"kind": "test"})
    assert [json.loads(line.text) for line in run.logs()] == [{"day": "2026-01-31"}]


def test_a_failed_run_is_an_exception_that_says_everything(client: Haulier, make_job: MakeJob) -> None:
    run = client.trigger(make_job("exit=3"))
    with pytest.raises(RunFailed) as raised:
        run.wait()
    failed = raised.value
    assert (failed.code, failed.exit_code, failed.retryable, failed.state) == (
        "exit_code",
        3,
        True,
        "failed",
    )
    assert failed.message
    assert failed.run_id == run.id
    assert run.id in str(failed)
    assert run.wait(check=False).state == "failed"
    copy = pickle.loads(pickle.dumps(failed))
    assert (str(copy), copy.code, copy.exit_code) == (str(failed), "exit_code", 3)


def test_waiting_ends_in_time_and_the_run_goes_on(client: Haulier, make_job: MakeJob) -> None:
    run = client.trigger(make_job("forever"))
    with pytest.raises(WaitTimeout, match="goes on"):
        run.wait(timeout=0.2)
    assert not run.refresh().finished
    assert run.cancel().state in ("cancelling", "cancelled")
    with pytest.raises(RunFailed) as raised:
        run.wait(timeout=30)
    assert (raised.value.state, raised.value.code, raised.value.retryable) == (
        "cancelled",
        "cancelled",
        False,
    )
    assert run.cancel().state == "cancelled"


def test_a_run_is_retried_as_a_new_one(client: Haulier, make_job: MakeJob) -> None:
    run = client.trigger(make_job("exit=1"), parameters={"n": 1}).wait(check=False)
    again = run.retry()
    assert again.id != run.id
    assert again.view.retry_of == run.id
    assert again.view.parameters == {"n": 1}


def test_a_key_makes_one_run(client: Haulier, make_job: MakeJob) -> None:
    job = make_job("exit=1")
    first = client.trigger(job, idempotency_key=f"{job}/1")
    assert client.trigger(job, idempotency_key=f"{job}/1").id == first.id
    first.wait(check=False)
    assert client.trigger(job, idempotency_key=f"{job}/1").id == first.id
    assert client.trigger(job, idempotency_key=f"{job}/1", if_exists="return_unless_failed").id != first.id
    with pytest.raises(RequestRefused) as raised:
        client.trigger(job, idempotency_key=f"{job}/1", parameters={"other": True})
    assert (raised.value.code, raised.value.status) == ("idempotency_key_reused", 409)


def test_jobs_are_applied_listed_and_archived(client: Haulier, make_job: MakeJob) -> None:
    name = make_job("print=1")
    assert client.jobs.get(name).revision == 1
    assert client.jobs.apply(client.jobs.get(name).spec).revision == 1
    spec = JobSpec(name=name, image="sim/ok", args=["print=2"])
    assert client.jobs.apply(spec).revision == 2
    assert name in [job.spec.name for job in client.jobs.list()]
    client.jobs.archive(name)
    assert name not in [job.spec.name for job in client.jobs.list()]
    assert name in [job.spec.name for job in client.jobs.list(archived=True)]


def test_runs_are_found_by_job_state_and_source(client: Haulier, make_job: MakeJob) -> None:
    job = make_job()
    runs = [client.trigger(job, source={"kind": "test", "n": str(n)}).wait() for n in range(3)]
    assert [run.id for run in client.runs.list(job=job)] == [run.id for run in reversed(runs)]
    assert [run.id for run in client.runs.list(job=job, source={"n": "1"}, states=["succeeded"])] == [runs[1].id]
    assert not list(client.runs.list(job=job, states=["failed"]))
    assert not list(client.runs.list(job=job, since=datetime.now(timezone.utc) + timedelta(hours=1)))
    assert client.runs.get(runs[0].id).state == "succeeded"


def test_the_log_can_be_read_from_any_line_on(client: Haulier, make_job: MakeJob) -> None:
    run = client.trigger(make_job("print=one", "print-err=two", "print=drei ä", "sleep=100ms", "print=four"))
    lines = list(run.logs())
    assert [(line.text, line.stream) for line in lines] == [
        ("one", "stdout"),
        ("two", "stderr"),
        ("drei ä", "stdout"),
        ("four", "stdout"),
    ]
    for index, line in enumerate(lines):
        rest = list(run.logs(line.next_offset, follow=False))
        assert rest == lines[index + 1 :]


def test_reading_the_log_without_following_ends_at_once(client: Haulier, make_job: MakeJob) -> None:
    run = client.trigger(make_job("print=first", "forever"))
    assert next(run.logs()).text == "first"
    assert [line.text for line in run.logs(follow=False)] == ["first"]
    run.cancel()


def test_following_a_quiet_run_keeps_its_lease(client: Haulier, make_job: MakeJob) -> None:
    run = client.trigger(make_job("sleep=40s", "print=end"), abandon_after_seconds=30)
    assert [line.text for line in run.logs()] == ["end"]
    assert run.wait().state == "succeeded"


def test_refusals_say_what_to_do(client: Haulier, make_job: MakeJob) -> None:
    with pytest.raises(RequestRefused) as raised:
        client.trigger("no-such-job")
    assert (raised.value.status, raised.value.errors) == (404, ())
    with pytest.raises(RequestRefused) as raised:
        client.jobs.apply({"name": "wrong", "image": "", "max_parallel": 0})
    assert raised.value.code == "invalid_fields"
    assert {error.pointer for error in raised.value.errors} == {
        "/image",
        "/max_parallel",
    }
    assert all(error.pointer in str(raised.value) for error in raised.value.errors)
    with pytest.raises(TypeError, match="time zone"):
        client.trigger(make_job(), not_before=datetime(2026, 1, 1))


def test_a_wrong_token_and_a_wrong_project_are_refused(service: Service) -> None:
    with (
        Haulier(service.url, "not-the-right-token-0000") as client,
        pytest.raises(RequestRefused) as raised,
    ):
        client.whoami()
    assert raised.value.status == 401
    with (
        Haulier(service.url, TOKEN, "nowhere") as client,
        pytest.raises(RequestRefused) as raised,
    ):
        list(client.jobs.list())
    assert raised.value.status == 403


def test_settings_come_from_the_environment(service: Service) -> None:
    code = "from haulier import Haulier; print(Haulier().whoami().project)"
    environment = {**service.environment(), "HAULIER_PROJECT": "default"}
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout == "default\n"


@pytest.mark.parametrize(
    ("url", "token", "says"),
    [
        (None, "t" * 20, "HAULIER_URL"),
        ("http://x", None, "HAULIER_TOKEN"),
        ("ftp://x", "t" * 20, "HAULIER_URL"),
        ("http://me:sesame@x", "t" * 20, "HAULIER_TOKEN"),
        ("http://x", "sesame\nopen", "HAULIER_TOKEN"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    url: str | None, token: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HAULIER_URL", raising=False)
    monkeypatch.delenv("HAULIER_TOKEN", raising=False)
    with pytest.raises(SettingsError, match=says) as raised:
        Haulier(url, token)
    assert "sesame" not in str(raised.value)


def test_the_token_is_never_shown(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with service.client(patience=0) as client:
        client.whoami()
        shown = [
            repr(client.settings),
            repr(vars(client)),
            repr(vars(client._transport)),
            caplog.text,
        ]
    with (
        Haulier("http://127.0.0.1:1", TOKEN, patience=0) as client,
        pytest.raises(Unreachable) as raised,
    ):
        client.whoami()
    error: BaseException | None = raised.value
    while error:
        shown += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    assert TOKEN not in "\n".join(shown)


def test_what_is_not_haulier_is_told_apart(proxy_of_another_kind: str) -> None:
    with (
        Haulier(proxy_of_another_kind, TOKEN, patience=0) as client,
        pytest.raises(NotHaulier),
    ):
        client.whoami()


def test_words_of_a_newer_service_are_taken_as_they_are(client: Haulier, make_job: MakeJob) -> None:
    told = client.trigger(make_job()).wait().view.model_dump(mode="json")
    newer = {
        **told,
        "state": "hibernating",
        "error": {
            "code": "new_code",
            "message": "new",
            "retryable": True,
            "hint": "new",
        },
        "waiting": {"reason": "new_reason", "detail": "new", "holders": []},
        "new_field": {"a": 1},
    }
    view = RunView.model_validate(newer)
    assert view.state == "hibernating"
    assert view.error
    assert view.error.code == "new_code"
    assert issubclass(RunFailed, HaulierError)

"""Clients behind a network that fails: each request is done once, each line comes once."""

from __future__ import annotations

import asyncio
import time

import pytest
from haulier import AsyncHaulier, Haulier, RequestRefused, Unreachable
from served import TOKEN

from conftest import MakeJob
from support.proxy import FlakyProxy


@pytest.mark.parametrize("fault", ["lose_answer", "lose_request", "cut_answer", "busy"])
def test_a_trigger_that_fails_on_the_way_makes_one_run(
    fault: str, client: Haulier, proxy: FlakyProxy, make_job: MakeJob
) -> None:
    job = make_job()
    proxy.fail(fault, r"POST .*/runs$", times=3)
    with Haulier(proxy.url, TOKEN) as flaky:
        run = flaky.trigger(job).wait()
    assert proxy.made[fault] == 3
    assert [each.id for each in client.runs.list(job=job)] == [run.id]


def test_a_retry_that_fails_on_the_way_makes_one_run(client: Haulier, proxy: FlakyProxy, make_job: MakeJob) -> None:
    job = make_job("exit=1")
    first = client.trigger(job).wait(check=False)
    proxy.fail("lose_answer", r"POST .*/retry$", times=2)
    with Haulier(proxy.url, TOKEN) as flaky:
        flaky.runs.get(first.id).retry().wait(check=False)
    assert len(list(client.runs.list(job=job))) == 2


def test_waiting_survives_drops_and_a_busy_service(proxy: FlakyProxy, make_job: MakeJob) -> None:
    proxy.fail("lose_answer", r"GET .*/runs/[^/]+$", times=2)
    proxy.fail("busy", r"GET .*/runs/[^/]+$", times=2)
    with Haulier(proxy.url, TOKEN) as flaky:
        assert flaky.trigger(make_job("sleep=100ms")).wait().succeeded
    assert proxy.made == {"lose_answer": 2, "busy": 2}


def test_retry_after_is_honoured(proxy: FlakyProxy, make_job: MakeJob) -> None:
    job = make_job()
    proxy.fail("busy", r"POST .*/runs$", retry_after=2)
    with Haulier(proxy.url, TOKEN) as flaky:
        begin = time.monotonic()
        flaky.trigger(job)
    assert time.monotonic() - begin >= 2


@pytest.mark.parametrize("fault", ["lose_answer", "cut_answer", "busy"])
def test_each_line_of_the_log_comes_once(fault: str, proxy: FlakyProxy, make_job: MakeJob) -> None:
    words = [word for n in range(40) for word in (f"print=line {n}", "sleep=20ms")]
    job = make_job(*words)
    proxy.fail(fault, r"GET .*/logs$", times=1)
    with Haulier(proxy.url, TOKEN) as flaky:
        lines = flaky.trigger(job).logs()
        seen = []
        for line in lines:
            seen.append(line.text)
            if len(seen) % 10 == 0:
                proxy.fail(fault, r"GET .*/logs$", times=1)
    assert seen == [f"line {n}" for n in range(40)]
    assert proxy.made[fault] >= 2


def test_patience_has_an_end(proxy: FlakyProxy, make_job: MakeJob) -> None:
    job = make_job()
    proxy.fail("lose_request", r"POST .*/runs$", times=1000)
    with Haulier(proxy.url, TOKEN, patience=1) as flaky, pytest.raises(Unreachable):
        flaky.trigger(job)
    assert 1 < proxy.made["lose_request"] < 20
    proxy.fail("busy", r"GET .*/whoami$", times=1000, retry_after=3600)
    with (
        Haulier(proxy.url, TOKEN, patience=1) as flaky,
        pytest.raises(RequestRefused, match="try later"),
    ):
        flaky.whoami()
    assert proxy.made["busy"] == 1


def test_the_asynchronous_client_does_the_same(client: Haulier, proxy: FlakyProxy, make_job: MakeJob) -> None:
    job = make_job("print=one", "sleep=100ms", "print=two", 'report={"output": 7}')
    proxy.fail("lose_answer", r"POST .*/runs$", times=2)
    proxy.fail("cut_answer", r"GET .*/logs$")
    proxy.fail("busy", r"GET .*/runs/[^/]+$")

    async def use() -> str:
        async with AsyncHaulier(proxy.url, TOKEN) as flaky:
            run = await flaky.trigger(job, parameters={"n": 1})
            assert [line.text async for line in run.logs()] == ["one", "two"]
            assert (await run.wait()).output == 7
            assert (await run.refresh()).succeeded
            assert [each.id async for each in flaky.runs.list(job=job)] == [run.id]
            assert (await flaky.jobs.get(job)).revision == 1
            assert job in [each.spec.name async for each in flaky.jobs.list()]
            return run.id

    run = asyncio.run(use())
    assert [each.id for each in client.runs.list(job=job)] == [run]
    assert proxy.made == {"lose_answer": 2, "cut_answer": 1, "busy": 1}

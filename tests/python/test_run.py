"""haulier.run: what a script is given, and what arrives of what it tells."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from haulier import _protocol, run
from served import clean_environment

from support.script import NONCE, Ended, Job

Execute = Callable[..., Ended]


@pytest.fixture
def execute(tmp_path: Path) -> Execute:
    """Runs a script within Haulier."""

    def execute(script: str, **env: str) -> Ended:
        return Job(f"import haulier.run as run\n{script}", tmp_path).attempt(env=env)

    return execute


def outside(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a script where there is no Haulier."""
    environment = {**clean_environment(), **env}
    command = [sys.executable, "-c", f"import haulier.run as run\n{script}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_it_needs_the_standard_library_alone(execute: Execute) -> None:
    ended = execute("import sys\nprint(*{m.split('.')[0] for m in sys.modules})")
    assert "haulier" in ended.out.split()
    assert not {"httpx", "pydantic", "fsspec", "tenacity"} & set(ended.out.split())


def test_what_a_script_is_given(execute: Execute) -> None:
    ended = execute(
        "print(run.parameters['day'], run.state, run.context().job, run.context().attempt)",
        HAULIER_PARAMETERS='{"day": "2026-01-31"}',
        HAULIER_STATE='{"since": 7}',
    )
    assert ended.out == "2026-01-31 {'since': 7} job 1\n"


def test_a_job_without_state_has_none(execute: Execute) -> None:
    assert execute("print(run.state, run.parameters)", HAULIER_STATE="{}").out == "None {}\n"


def test_all_reports_arrive(execute: Execute) -> None:
    ended = execute(
        "run.report(output={'ä': [1, None]}, metrics={'rows': 3}, state={'since': 8})\n"
        "run.report(output=None)\n"
        "run.continue_later()\n"
        "print(run.state)"
    )
    assert ended.reports == [
        {"output": {"ä": [1, None]}, "metrics": {"rows": 3}, "state": {"since": 8}},
        {"output": None},
        {"outcome": "continue"},
    ]
    assert ended.out == "{'since': 8}\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_reports_arrive_whole_among_printing_threads(execute: Execute, unbuffered: str) -> None:
    ended = execute(
        "import asyncio, threading\n"
        "def work(n):\n"
        "    for i in range(200):\n"
        "        print(f'line {n} {i}' * 20)\n"
        "        run.report(metrics={f'm{n}': i}, output='x' * 5000)\n"
        "async def tasks():\n"
        "    await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(4, 6)))\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
        "[t.start() for t in threads]\n"
        "asyncio.run(tasks())\n"
        "[t.join() for t in threads]\n",
        PYTHONUNBUFFERED=unbuffered,
    )
    assert len(ended.reports) == 6 * 200
    assert sorted(ended.out.splitlines()) == sorted(f"line {n} {i}" * 20 for n in range(6) for i in range(200))
    for n in range(6):
        assert [r["metrics"][f"m{n}"] for r in ended.reports if f"m{n}" in r["metrics"]] == list(range(200))


def test_a_report_after_half_a_line_is_not_taken_for_text(execute: Execute) -> None:
    ended = execute("print('loading ', end='')\nrun.report(state={'a': 1})\nprint('done')")
    assert ended.last("state") == {"a": 1}
    assert ended.out == "loading done\n"
    flushed = execute("print('loading ', end='', flush=True)\nrun.report(state={'a': 1})\nprint('done')")
    assert flushed.last("state") == {"a": 1}
    assert flushed.out == "loading \ndone\n"


def test_the_last_half_line_is_not_lost(execute: Execute) -> None:
    assert execute("print('no end', end='')").out == "no end"
    assert execute("import os\nprint('no end', end='', flush=True)\nos._exit(0)").out == "no end"


def test_a_script_lingers_where_the_engine_asks_for_it(execute: Execute) -> None:
    told = "import time\ntime.sleep = lambda seconds: print('lingers', seconds, flush=True)\nprint('last')"
    assert execute(told, HAULIER_LINGER="0.5").out == "last\nlingers 0.5\n"
    assert "lingers" not in execute(told).out
    assert execute(told, HAULIER_LINGER="no number").code == 0


def test_progress_is_throttled_and_the_last_one_arrives(execute: Execute) -> None:
    ended = execute("for i in range(100_000): run.progress(i, None, f'row {i}')")
    assert 2 <= len(ended.reports) < 20
    assert ended.reports[-1] == {"progress": {"done": 99_999, "text": "row 99999"}}


def test_progress_comes_before_what_is_reported_after_it(execute: Execute) -> None:
    ended = execute("run.progress(1, 9)\nrun.progress(2, 9)\nrun.report(metrics={'rows': 2})")
    assert [list(report) for report in ended.reports] == [["progress"], ["progress"], ["metrics"]]


def test_failing_on_purpose(execute: Execute) -> None:
    ended = execute("run.fail('no_data', 'the folder is empty: upload first', retryable=False)\nprint('not reached')")
    assert (ended.code, ended.out) == (1, "")
    expected = {"code": "no_data", "message": "the folder is empty: upload first", "retryable": False}
    assert ended.reports == [{"error": expected}]


def test_an_uncaught_exception_is_the_runs_error(execute: Execute) -> None:
    ended = execute("class HTTPStatusError(Exception): pass\nraise HTTPStatusError('404 for /orders')")
    assert ended.code == 1
    assert ended.reports == [{"error": {"code": "http_status_error", "message": "HTTPStatusError: 404 for /orders"}}]
    assert "Traceback" in ended.err
    assert ended.err.endswith("HTTPStatusError: 404 for /orders\n")


def test_a_failure_brings_its_code(execute: Execute) -> None:
    ended = execute("raise run.Failure('try later', code='busy', retryable=True)")
    assert ended.reports == [{"error": {"code": "busy", "message": "try later", "retryable": True}}]


@pytest.mark.parametrize(("statement", "code"), [("raise ValueError", 1), ("raise SystemExit(3)", 3)])
def test_ends_without_words(execute: Execute, statement: str, code: int) -> None:
    ended = execute(statement)
    assert ended.code == code
    assert (ended.last("error") or {"message": "-"})["message"].strip() != ""


def test_a_very_long_error_is_cut(execute: Execute) -> None:
    ended = execute("raise ValueError('ü' * 10_000)")
    assert len(ended.last("error")["message"].encode()) <= 4096


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("report(output='x' * 262_144)", "store it elsewhere"),
        ("report(state={'a': 'x' * 262_144})", "store it elsewhere"),
        ("report(state=[1])", "not a dict"),
        ("report(output={'at': __import__('datetime').date(2026, 1, 1)})", "isoformat"),
        ("report(output=float('nan'))", "NaN"),
        ("report(output=chr(0xD800))", "Unicode"),
        ("report(metrics={'rows': 'many'})", "not a number"),
        ("report(metrics={'rows': float('inf')})", "finite"),
        ("report(metrics={'1st': 1})", "cannot name a metric"),
        ("report(metrics={f'm{n}': n for n in range(101)})", "fewer names"),
        ("progress(-1)", "0 or more"),
    ],
)
def test_what_the_service_would_not_take_is_refused_here(call: str, words: str) -> None:
    with pytest.raises(run.ReportError, match=words):
        eval(f"run.{call}")  # noqa: S307 - from above


def test_what_is_nested_too_deep_is_refused() -> None:
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(run.ReportError, match="flatter"):
        run.report(output=deep)


def test_the_largest_output_is_not_refused(execute: Execute) -> None:
    ended = execute("run.report(output='x' * (256 * 1024 - 2))")
    assert len(ended.last("output")) == 256 * 1024 - 2


def test_secrets(execute: Execute, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from-file\n")
    script = "print(run.secret('A'), run.secret('B'))\nrun.secret('C')"
    ended = execute(script, A="from-env", B_FILE=str(file))
    assert ended.out == "from-env from-file\n"
    assert ended.last("error")["code"] == "missing_secret"
    assert "C" in ended.last("error")["message"]
    assert ended.last("error")["retryable"] is False


def test_the_log(execute: Execute) -> None:
    script = "run.log.debug('small')\nrun.log.warning('big')"
    assert execute(script).err == "WARNING big\n"
    assert execute(script, LOG_LEVEL="debug").err == "DEBUG small\nWARNING big\n"
    ended = execute(script, HAULIER_PARAMETERS='{"log_level": "error"}', LOG_LEVEL="debug")
    assert ended.err == ""


def test_outside_haulier_people_are_told() -> None:
    ended = outside("run.report(output={'a': 1}, state={'since': 1})\nrun.progress(1, 2)\nprint(run.state)")
    assert ended.returncode == 0
    assert ended.stdout == "{'since': 1}\n"
    assert ended.stderr.splitlines() == ['output: {"a": 1}', 'state: {"since": 1}', 'progress: {"done": 1, "total": 2}']


def test_outside_haulier_the_state_is_kept_in_a_file_if_wanted(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    script = "print(run.state)\nrun.report(state={'n': (run.state or {}).get('n', 0) + 1})"
    said = [outside(script, HAULIER_STATE_FILE=str(file)).stdout for _ in range(3)]
    assert said == ["None\n", "{'n': 1}\n", "{'n': 2}\n"]
    assert json.loads(file.read_text()) == {"n": 3}
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_outside_haulier_exceptions_are_as_always() -> None:
    ended = outside("raise ValueError('no')")
    assert ended.stderr.splitlines()[-1] == "ValueError: no"
    assert not [line for line in ended.stderr.splitlines() if line.startswith("error:")]


def test_long_documents_come_as_files(execute: Execute, tmp_path: Path) -> None:
    long = "x" * 200_000
    for name in ("parameters", "state"):
        (tmp_path / name).write_text(json.dumps({name: long}))
    script = "run.log.warning(f\"{len(run.parameters['parameters'])} {len(run.state['state'])}\")"
    given = {"HAULIER_PARAMETERS": "", "HAULIER_STATE": ""}
    given |= {f"HAULIER_{name.upper()}_FILE": str(tmp_path / name) for name in ("parameters", "state")}
    assert execute(script, **given).err == "WARNING 200000 200000\n"


def test_a_broken_environment_is_told(execute: Execute) -> None:
    ended = execute("run.parameters", HAULIER_PARAMETERS="[1]")
    assert ended.last("error")["code"] == "bad_environment"


def test_whatever_is_checked_here_is_what_the_service_takes() -> None:
    source = Path(__file__).parents[2] / "src" / "domain" / "report.rs"
    text = source.read_text()
    assert "MAX_DOCUMENT: usize = 256 * 1024" in text
    assert _protocol.MAX_DOCUMENT == 256 * 1024
    assert f"MAX_METRICS: usize = {_protocol.MAX_METRICS}" in text
    assert f"MAX_TEXT: usize = {_protocol.MAX_TEXT}" in text


def test_nonce_is_not_shown(execute: Execute) -> None:
    ended = execute("print(run.context())\nraise ValueError('x')")
    assert NONCE not in ended.out + ended.err

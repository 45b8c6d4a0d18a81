"""What a client can do, each as an operation without I/O (see `wire`)."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Union
from urllib.parse import quote

from pydantic import ValidationError

from .errors import NotHaulier, WaitTimeout
from .models import JobSpec, JobView, LogRecord, PageJobView, PageRunView, RunView, WhoAmI
from .settings import Settings
from .wire import BASE, Operation, Request, call, encoded, perform

IfExists = Literal["return", "return_unless_failed"]
Query = Mapping[str, Union[str, int, bool, datetime, None]]

LONGEST_WAIT = 50.0
"""How long one long-poll waits, in seconds."""


@dataclass(frozen=True)
class LogLine:
    """One line of a run's log."""

    text: str
    """The line without its end."""
    stream: str
    """`stdout`, `stderr` or `haulier` (what the service itself has to say)."""
    time: datetime
    attempt: int
    """The attempt that wrote it."""
    partial: bool
    """Whether a line that was very long goes on in the next one of the same stream."""
    next_offset: int
    """Where the log goes on: give it as `offset` to read from the line after this one."""


@dataclass(frozen=True)
class LogPage:
    """A part of a run's log."""

    lines: list[LogLine]
    next_offset: int
    end: bool
    """Whether there is no more and will be no more."""


@dataclass(frozen=True)
class Operations:
    """Every operation of one caller in one project."""

    settings: Settings

    def whoami(self) -> Operation[WhoAmI]:
        """Who the caller is."""
        return call(self.settings, WhoAmI, get("/whoami"))

    def apply_job(self, spec: JobSpec | Mapping[str, Any]) -> Operation[JobView]:
        """Registers a job, or gives it a new revision if anything is new."""
        name = spec.name if isinstance(spec, JobSpec) else str(spec.get("name", ""))
        body = encoded(spec)
        return call(self.settings, JobView, Request("PUT", f"{BASE}/jobs/{part(name)}", body=body))

    def job(self, job: str) -> Operation[JobView]:
        """A job by id or name."""
        return call(self.settings, JobView, get(f"/jobs/{part(job)}"))

    def jobs(self, query: Query) -> Operation[PageJobView]:
        """A page of jobs."""
        return call(self.settings, PageJobView, get("/jobs", query))

    def archive_job(self, job: str) -> Operation[None]:
        """Archives a job: it takes no new runs, its history stays."""
        yield from perform(self.settings, Request("DELETE", f"{BASE}/jobs/{part(job)}"))

    def trigger(
        self,
        job: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        source: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        if_exists: IfExists | None = None,
        abandon_after_seconds: int | None = None,
        timeout_seconds: int | None = None,
        priority: int | None = None,
        not_before: datetime | None = None,
        callback_url: str | None = None,
    ) -> Operation[RunView]:
        """Triggers a run, once, however often the request has to be sent."""
        asked = {
            "parameters": parameters,
            "env": env,
            "labels": labels,
            "source": source,
            "if_exists": if_exists,
            "abandon_after_seconds": abandon_after_seconds,
            "timeout_seconds": timeout_seconds,
            "priority": priority,
            "not_before": not_before,
            "callback_url": callback_url,
        }
        body = encoded({name: value for name, value in asked.items() if value is not None})
        return self._making(f"/jobs/{part(job)}/runs", body, idempotency_key)

    def retry(self, run: str, idempotency_key: str | None = None) -> Operation[RunView]:
        """Makes a new run like one that has ended."""
        return self._making(f"/runs/{part(run)}/retry", None, idempotency_key)

    def _making(self, path: str, body: bytes | None, key: str | None) -> Operation[RunView]:
        headers = {"idempotency-key": key or f"python/{uuid.uuid4()}"}
        return call(self.settings, RunView, Request("POST", BASE + path, body=body, headers=headers))

    def run(self, run: str) -> Operation[RunView]:
        """A run as it is now."""
        return call(self.settings, RunView, get(f"/runs/{part(run)}"))

    def runs(self, query: Query) -> Operation[PageRunView]:
        """A page of runs."""
        return call(self.settings, PageRunView, get("/runs", query))

    def poll(self, run: str, seconds: float, *, until: float | None = None) -> Operation[RunView]:
        """A run at its end, or as it is after so many seconds."""
        wait = whole(seconds)
        request = get(f"/runs/{part(run)}", {"wait": wait}, waits=wait)
        return call(self.settings, RunView, request, until=until)

    def wait(self, run: str, timeout: float | None) -> Operation[RunView]:
        """A run at its end."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LONGEST_WAIT if until is None else until - time.monotonic()
            view = yield from self.poll(run, left, until=until)
            if view.finished:
                return view
            if until is not None and time.monotonic() >= until:
                raise WaitTimeout(run, timeout or 0.0)

    def cancel(self, run: str) -> Operation[RunView]:
        """Asks a run to end."""
        return call(self.settings, RunView, Request("POST", f"{BASE}/runs/{part(run)}/cancel"))

    def log_page(self, run: str, offset: int, seconds: float = 0) -> Operation[LogPage]:
        """The log from an offset on; when there is nothing yet, what comes within so many seconds."""
        wait = whole(seconds)
        headers = {"accept": "application/x-ndjson"}
        request = get(f"/runs/{part(run)}/logs", {"offset": offset, "wait": wait}, waits=wait, headers=headers)
        answer = yield from perform(self.settings, request)
        try:
            next_offset = int(answer.headers["haulier-next-offset"])
            return LogPage(
                lines=list(_lines(answer.body, offset)),
                next_offset=next_offset,
                end=answer.headers.get("haulier-log-end") == "true",
            )
        except (KeyError, ValueError):
            raise NotHaulier(self.settings.url, answer.status) from None


class LogReader:
    """Reads a run's log page by page, each line once."""

    def __init__(self, operations: Operations, run: str, offset: int, follow: bool) -> None:
        """Begins at an offset; following goes on until the run has ended."""
        self._operations = operations
        self._run = run
        self._follow = follow
        self._offset = offset
        self.done = False

    def next_page(self) -> Operation[list[LogLine]]:
        """The lines that come next; perhaps none yet. Sets `done` with the last."""
        wait = LONGEST_WAIT if self._follow else 0
        page = yield from self._operations.log_page(self._run, self._offset, wait)
        self._offset = page.next_offset
        self.done = page.end or (not self._follow and not page.lines)
        return page.lines


def get(
    path: str, query: Query | None = None, *, waits: float = 0.0, headers: Mapping[str, str] | None = None
) -> Request:
    """A GET request; what is None in the query is left out."""
    given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
    return Request("GET", BASE + path, given, headers=headers or {}, waits=waits)


def pairs(values: Mapping[str, str] | None) -> str | None:
    """Labels as a filter writes them."""
    return ",".join(f"{name}={value}" for name, value in values.items()) if values else None


def whole(seconds: float) -> int:
    """A wait as the service takes it: in whole seconds, rather longer than shorter, within its bounds."""
    return math.ceil(max(min(seconds, LONGEST_WAIT), 0))


def part(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")


def _text(value: str | int | bool | datetime) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _lines(body: bytes, offset: int) -> Iterator[LogLine]:
    for line in body.splitlines(keepends=True):
        offset += len(line)
        try:
            record = LogRecord.model_validate_json(line)
        except ValidationError:
            continue
        yield LogLine(record.text, record.stream, record.time, record.attempt, bool(record.partial), offset)

"""The report protocol: which documents the service takes, and lines on stdout that arrive whole."""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

NONCE = os.environ.get("HAULIER_REPORT", "")
"""Marks this attempt's report lines; empty when nobody reads them."""
MAX_DOCUMENT = 256 * 1024
"""The longest output and the longest state, in bytes of compact JSON."""
MAX_DEPTH = 100
"""How deep lists and objects may be nested."""
MAX_METRICS = 100
MAX_TEXT = 4096
"""The longest free text, in bytes; the service cuts what is longer."""
_LONGEST_WAIT = 64 * 1024
"""How much of a line waits for its end, in characters."""
METRIC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")


class ReportError(ValueError):
    """What is to be reported is not what the service takes: the message says what is."""


def send(report: Mapping[str, Any]) -> None:
    """Writes one report line, at once and whole, whichever thread or task calls."""
    line = json.dumps(report, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    _stdout().write_report(f"::haulier:{NONCE}:{line}\n")


def check_document(key: str, document: Any, limit: int) -> None:
    """Checks that it is JSON, and not too long.

    Raises:
        ReportError: it is not.
    """
    _check_depth(key, document, MAX_DEPTH)
    try:
        size = len(json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())
    except UnicodeEncodeError:
        raise ReportError(f"{key} holds text that is not Unicode: decode it before it is reported") from None
    except TypeError as error:
        raise ReportError(
            f"{key} cannot be written as JSON ({error}): convert it first, a date with .isoformat(), say"
        ) from None
    except ValueError:
        raise ReportError(f"{key} holds NaN or an infinite number, which JSON has not: leave it out") from None
    if size > limit:
        raise ReportError(f"{key} has {size} bytes, and {limit} are allowed: store it elsewhere and report where")


def check_state(state: Any) -> None:
    """Checks a job's next state.

    Raises:
        ReportError: it cannot be kept.
    """
    if not isinstance(state, Mapping):
        raise ReportError(f"state is {type(state).__name__}, not a dict: report {{}} to clear it")
    check_document("state", state, MAX_DOCUMENT)


def checked_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics as they are sent.

    Raises:
        ReportError: the service would not take them.
    """
    if len(metrics) > MAX_METRICS:
        raise ReportError(f"{len(metrics)} metrics, and {MAX_METRICS} are allowed: report fewer names")
    checked = {}
    for name, value in metrics.items():
        if not isinstance(name, str) or not METRIC_NAME.fullmatch(name):
            raise ReportError(
                f"{name!r} cannot name a metric: use 1 to 64 of a-z, A-Z, 0-9, '_' and '.', and begin with a letter"
            )
        checked[name] = _number(f"the metric {name}", value)
    return checked


def checked_progress(done: float | None, total: float | None, text: str | None) -> dict[str, Any]:
    """The progress as it is sent.

    Raises:
        ReportError: the service would not take it.
    """
    progress: dict[str, Any] = {}
    for key, value in (("done", done), ("total", total)):
        if value is not None:
            progress[key] = _number(f"progress: {key}", value)
            if progress[key] < 0:
                raise ReportError(f"progress: {key} is {value}: use 0 or more")
    if text is not None:
        progress["text"] = cut(text)
    return progress


def cut(text: str) -> str:
    """Text of at most MAX_TEXT bytes that can be sent."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= MAX_TEXT:
        return encoded.decode()
    return encoded[: MAX_TEXT - 3].decode("utf-8", "ignore") + "…"


def _number(what: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ReportError(f"{what} is {value!r}, not a number") from None
    if isinstance(value, str) or not math.isfinite(number):
        raise ReportError(f"{what} is {value!r}: use a finite number")
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _check_depth(key: str, document: Any, left: int) -> None:
    if isinstance(document, Mapping):
        document = document.values()
    elif not isinstance(document, (list, tuple)):
        return
    if not left:
        raise ReportError(f"{key} is nested deeper than {MAX_DEPTH} levels: make it flatter")
    for each in document:
        _check_depth(key, each, left - 1)


class _Lines(io.TextIOWrapper):
    """Stdout that hands on whole lines.

    `print` writes a line and its end apart. A report that came in between would end up behind half a line, and would be
    taken for text. So what a thread writes waits until its line is whole, or until it is flushed.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        # Its own buffer: under `python -u` there is none, and lines would go out in pieces.
        binary = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - lives as long as the process
        super().__init__(binary, encoding=encoding, errors="replace")
        self._lock = threading.RLock()
        self._waiting: dict[int, str] = {}
        self._within_line = False
        atexit.register(_linger)  # the last of all: what is registered later comes first
        atexit.register(self._hand_on_all)

    def write(self, text: str) -> int:
        thread = threading.get_ident()
        with self._lock:
            text_so_far = self._waiting.pop(thread, "") + text
            whole, end, rest = text_so_far.rpartition("\n")
            if len(rest) > _LONGEST_WAIT:
                whole, end, rest = text_so_far, "", ""
            if rest:
                self._waiting[thread] = rest
            self._hand_on(whole + end)
        return len(text)

    def flush(self) -> None:
        with self._lock:
            self._hand_on(self._waiting.pop(threading.get_ident(), ""))
            super().flush()

    def write_report(self, line: str) -> None:
        with self._lock:
            self._hand_on(f"\n{line}" if self._within_line else line)

    def _hand_on(self, text: str) -> None:
        if text:
            super().write(text)
            super().flush()
            self._within_line = not text.endswith("\n")

    def _hand_on_all(self) -> None:
        with self._lock:
            while self._waiting:
                self._hand_on(self._waiting.popitem()[1])


def _linger() -> None:
    # Some engines lose what is written right before the end, and say here how many seconds it takes them to read it.
    seconds = os.environ.get("HAULIER_LINGER", "")
    with contextlib.suppress(ValueError):
        if seconds:
            time.sleep(min(float(seconds), 10))


_opened: _Lines | None = None
_opening = threading.Lock()


def _stdout() -> _Lines:
    global _opened
    with _opening:
        if _opened is None:
            _opened = _Lines(1, "utf-8")
        return _opened


def take_over_stdout() -> None:
    """Lets `print` and reports share one stream, unless stdout goes elsewhere, as it does in tests."""
    stdout: TextIO | None = sys.stdout
    if stdout is sys.__stdout__ and stdout is not None:
        stdout.flush()
        sys.stdout = _stdout()

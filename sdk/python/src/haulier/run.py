"""For the script itself: what it was given, and what it tells Haulier.

    import haulier.run as run

    for number, customer in enumerate(customers, 1):
        load(customer, token=run.secret("API_TOKEN"), day=run.parameters.get("day"))
        run.progress(number, len(customers), customer)
    run.report(output={"file": path}, metrics={"rows": rows}, state={"since": newest})

It also works where there is no Haulier: reports are shown on stderr then, parameters and state come from the same
variables if they are set, and the state is kept in the file that `HAULIER_STATE_FILE` names, if any.

An exception that nobody catches becomes the run's error in one line, with the class as its code; the traceback is in
the log as always. Only the standard library is needed.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from . import _protocol
from ._protocol import ReportError

__all__ = [
    "Context",
    "Failure",
    "MissingSecret",
    "ReportError",
    "context",
    "continue_later",
    "fail",
    "log",
    "parameters",
    "progress",
    "report",
    "secret",
    "state",
]

PROGRESS_INTERVAL = 1.0
"""How often progress is sent at most, in seconds."""
STATE_FILE = "HAULIER_STATE_FILE"
_UNSET: Any = object()

if TYPE_CHECKING:
    parameters: dict[str, Any]
    """What the run was started with."""
    state: dict[str, Any] | None
    """The job's state: as the last successful run left it, and then as this run has reported it. None when there is
    none yet."""
    log: logging.Logger
    """Writes plain lines to stderr. Level: the parameter `log_level`, else the variable `LOG_LEVEL`, else INFO."""


class Failure(Exception):
    """An error with a code of its own, which the run ends with when nobody catches it."""

    code = "script_error"
    """Stable, for orchestrators to act on."""
    retryable: bool | None = None
    """Whether trying again can help; None = as Haulier thinks."""

    def __init__(self, message: str, *, code: str | None = None, retryable: bool | None = None) -> None:
        """What happened, in words."""
        super().__init__(message)
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable


class MissingSecret(Failure):
    """The script was not given a secret that it needs."""

    code = "missing_secret"
    retryable = False


@dataclass(frozen=True)
class Context:
    """Which run this is."""

    run_id: str
    """Empty outside Haulier."""
    job: str
    """Empty outside Haulier."""
    attempt: int
    """From 1."""
    slice: int
    """From 1; more after `continue_later`."""


def context() -> Context:
    """Which run this is."""
    get = os.environ.get
    number = {name: get(f"HAULIER_{name}", "1") for name in ("ATTEMPT", "SLICE")}
    return Context(get("HAULIER_RUN_ID", ""), get("HAULIER_JOB", ""), int(number["ATTEMPT"]), int(number["SLICE"]))


def __getattr__(name: str) -> Any:
    # Read when they are used, so that a test can set the variables after the import.
    if name == "parameters":
        return _read("HAULIER_PARAMETERS") or {}
    if name == "state":
        return _state()
    if name == "log":
        return _log()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def secret(name: str) -> str:
    """A secret: the variable of that name, the file that the variable NAME_FILE names, or /run/secrets/NAME.

    Raises:
        MissingSecret: there is none.
    """
    if name in os.environ:
        return os.environ[name]
    named = os.environ.get(f"{name}_FILE")
    path = Path(named) if named else Path("/run/secrets", name)
    try:
        # An editor ends a file with a new line, which no secret has.
        return path.read_text().rstrip("\n")
    except OSError as error:
        if named:
            raise MissingSecret(f"the secret {name} cannot be read from {path}: {error.strerror}") from None
        raise MissingSecret(
            f"there is no secret {name}: name it under `secrets` in the job, or set the variable {name} or {name}_FILE"
        ) from None


def report(
    *, output: Any = _UNSET, metrics: Mapping[str, float] | None = None, state: Mapping[str, Any] | None = None
) -> None:
    """Tells what came out. May be called often: of each metric, and of all else, the last value counts.

    Args:
        output: the run's result, which orchestrators get: any JSON of at most 256 KiB.
        metrics: figures by name; `rows` is watched for zeros.
        state: what the job's next run finds in `run.state`. It is kept only if this run succeeds.

    Raises:
        ReportError: the service would not take it.
    """
    told: dict[str, Any] = {}
    if output is not _UNSET:
        _protocol.check_document("output", output, _protocol.MAX_DOCUMENT)
        told["output"] = output
    if metrics:
        told["metrics"] = _protocol.checked_metrics(metrics)
    if state is not None:
        _protocol.check_state(state)
        told["state"] = dict(state)
    if told:
        _progress.flush()
        _tell(told)
    if state is not None:
        _keep(dict(state))


def progress(done: float | None = None, total: float | None = None, text: str | None = None) -> None:
    """Tells how far the script is, in any unit. Call it as often as you like: one a second is sent, and the last.

    Raises:
        ReportError: a number is negative, or none at all.
    """
    _progress.tell(_protocol.checked_progress(done, total, text))


def continue_later() -> None:
    """Asks to be run again from the state that was reported, once this pass has ended well and others had their turn.

    To whoever started it, it stays one run. Report a state first, and return soon afterwards.
    """
    _tell({"outcome": "continue"})


def fail(code: str, message: str, *, retryable: bool | None = None) -> NoReturn:
    """Ends the script with an error of its own: a stable code, and words that say what to do.

    Args:
        retryable: whether trying again can help; False keeps orchestrators from trying.
    """
    _tell_error(code, message, retryable)
    raise SystemExit(1)


def _read(variable: str) -> dict[str, Any] | None:
    """A document from its variable, or from the file that another names: Linux bounds variables at 128 KiB."""
    source, text = variable, os.environ.get(variable, "")
    path = os.environ.get(f"{variable}_FILE")
    if not text.strip() and path and Path(path).exists():
        source, text = path, Path(path).read_text(encoding="utf-8")
    if not text.strip():
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Failure(f"{source} is not JSON ({error}): write it like {{}}", code="bad_environment") from None
    if not isinstance(value, dict):
        raise Failure(f"{source} is no JSON object: write it like {{}}", code="bad_environment")
    return value


_reported: dict[str, Any] | None = None


def _state() -> dict[str, Any] | None:
    if _reported is not None:
        return json.loads(json.dumps(_reported)) or None  # what a caller does to it stays with the caller
    return _read("HAULIER_STATE") or None


def _keep(state: dict[str, Any]) -> None:
    global _reported
    _reported = state
    path = os.environ.get(STATE_FILE)
    if path and not _protocol.NONCE:
        directory = os.path.dirname(path) or "."
        with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as file:
            json.dump(state, file, indent=2)
        os.replace(file.name, path)


def _tell(told: Mapping[str, Any]) -> None:
    if _protocol.NONCE:
        _protocol.send(told)
        return
    for key, value in told.items():
        print(f"{key}: {json.dumps(value, ensure_ascii=False)}", file=sys.stderr)


def _tell_error(code: str, message: str, retryable: bool | None) -> None:
    error: dict[str, Any] = {"code": code, "message": _protocol.cut(message.strip() or code)}
    if retryable is not None:
        error["retryable"] = retryable
    _progress.flush()
    _tell({"error": error})


class _Progress:
    """Lets one progress a second through, and keeps the last one for the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0
        self._waiting: dict[str, Any] | None = None

    def tell(self, progress: dict[str, Any]) -> None:
        is_last = progress.get("total") is not None and progress.get("done") == progress["total"]
        with self._lock:
            self._waiting = progress
            if not is_last and time.monotonic() < self._next:
                return
        self.flush()

    def flush(self) -> None:
        with self._lock:
            if self._waiting is not None:
                _tell({"progress": self._waiting})
                self._waiting = None
                self._next = time.monotonic() + PROGRESS_INTERVAL


_progress = _Progress()
atexit.register(_progress.flush)


def _log() -> logging.Logger:
    wanted = str((_read("HAULIER_PARAMETERS") or {}).get("log_level") or os.environ.get("LOG_LEVEL") or "INFO").upper()
    level = logging.getLevelName(wanted)
    # Does nothing where the script, or a test, has set logging up already.
    logging.basicConfig(
        stream=sys.stderr, level=level if isinstance(level, int) else "INFO", format="%(levelname)s %(message)s"
    )
    # Its lines show whole addresses, and some APIs want their key there.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return logging.getLogger("script")


def _code_of(kind: type[BaseException]) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind.__name__)
    return words.lower()


def _report_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    _shown(kind, error, traceback)
    if isinstance(error, KeyboardInterrupt):
        return
    code, retryable = (error.code, error.retryable) if isinstance(error, Failure) else (_code_of(kind), None)
    _tell_error(code, f"{error}" if isinstance(error, Failure) else f"{kind.__name__}: {error}", retryable)


_shown = sys.excepthook
if _protocol.NONCE:
    _protocol.take_over_stdout()
    sys.excepthook = _report_uncaught

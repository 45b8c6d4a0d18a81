"""One answer of a source, whole: asked for within its rate, repeated while that can help, kept in bounded memory."""

from __future__ import annotations

import contextlib
import random
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import IO, Any

import httpx
import tenacity

from haulier import run

from .errors import SettingsError, SourceRefused, SourceUnavailable, UnexpectedAnswer

_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
_IN_MEMORY = 8 * 1024 * 1024
"""A longer answer is kept in a file, in bytes."""
_LONGEST = 3600.0
"""How long one answer may take to arrive, in seconds."""
_SHOWN = 200
"""How much of an answer an error shows, in characters."""


class _Temporary(Exception):
    """Trying again can help."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass
class Answer:
    """An answer that has arrived whole."""

    url: httpx.URL
    headers: httpx.Headers
    body: IO[bytes]
    encoding: str


class Rate:
    """Spreads requests over time, for all threads together."""

    def __init__(self, rate: str | None) -> None:
        """Like `10/s`, `600/min` or `1000/h`; None = as fast as answers come."""
        self._pause = 0.0
        self._lock = threading.Lock()
        self._next = 0.0
        if rate is not None:
            match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*/\s*(s|min|h)\s*", rate)
            if not match or not float(match[1]):
                raise SettingsError(f"the rate {rate!r} cannot be read: write it like 10/s, 600/min or 1000/h")
            self._pause = {"s": 1, "min": 60, "h": 3600}[match[2]] / float(match[1])

    def wait(self) -> None:
        """Waits for a request's turn."""
        with self._lock:
            begin = max(self._next, time.monotonic())
            self._next = begin + self._pause
        time.sleep(max(0.0, begin - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Lets nobody ask for so long: the source wants a rest."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class Fetcher:
    """Asks a source, patiently."""

    def __init__(self, client: httpx.Client, rate: Rate, *, patience: float, max_bytes: int) -> None:
        """Gives up when `patience` seconds would be over, and on answers of more than `max_bytes`."""
        self._client = client
        self._rate = rate
        self._patience = patience
        self._max_bytes = max_bytes
        self.requests = 0
        """How many were sent, repeated ones too."""

    @contextlib.contextmanager
    def get(self, url: str, params: Mapping[str, Any]) -> Iterator[Answer]:
        """The answer to a GET, which is safe to repeat.

        Raises:
            SourceRefused: the source says no.
            SourceUnavailable: it did not answer well in time.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Temporary),
            wait=self._pause,
            # Ends at once when the source asks for more time than there is.
            stop=tenacity.stop_before_delay(self._patience),
            before_sleep=self._before_sleep,
            reraise=True,
        )
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as body:
            try:
                response = retrying(self._once, url, params, body)
            except _Temporary as error:
                wait = "" if error.wait is None else f"; it asks to wait {error.wait:.0f} s"
                raise SourceUnavailable(
                    f"{error}{wait}: gave up after {self._patience:.0f} s; run it again later"
                ) from error
            body.seek(0)
            yield Answer(response.url, response.headers, body, response.charset_encoding or "utf-8")

    def _once(self, url: str, params: Mapping[str, Any], body: IO[bytes]) -> httpx.Response:
        body.seek(0)
        body.truncate()
        self._rate.wait()
        self.requests += 1
        try:
            # Not as `params`, which would replace those of the address.
            whole = httpx.URL(url).copy_merge_params(dict(params)) if params else httpx.URL(url)
            with self._client.stream("GET", whole) as response:
                if not response.is_success:
                    response.read()
                    take_temporary(response)
                    raise SourceRefused(f"{refusal(response)}: check address, parameters and what the login may see")
                size, end = 0, time.monotonic() + _LONGEST
                for chunk in response.iter_bytes():
                    size += len(chunk)
                    if time.monotonic() > end:
                        raise _Temporary(f"{shown(response.url)} takes longer than {_LONGEST:.0f} s to answer")
                    if size > self._max_bytes:
                        raise UnexpectedAnswer(
                            f"{shown(response.url)} answers with more than {self._max_bytes} bytes: ask for smaller "
                            "pages, or raise max_bytes"
                        )
                    body.write(chunk)
                return response
        except httpx.TransportError as error:
            # Refused, cut off, timed out: the message may be empty.
            raise _Temporary(f"{shown(_url_of(error, url))}: {error or type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise UnexpectedAnswer(f"{shown(httpx.URL(url))}: {error}") from error

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _Temporary) and error.wait is not None:
            self._rate.hold(error.wait)
            return error.wait
        return float(min(30.0, 0.25 * 2 ** (state.attempt_number - 1)) * random.uniform(0.5, 1.0))  # noqa: S311

    def _before_sleep(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        run.log.warning("%s; trying again in %.1f s", error, state.upcoming_sleep)


def take_temporary(response: httpx.Response) -> None:
    """Raises what makes a request be tried again, if the response says so."""
    if response.status_code in _TEMPORARY:
        raise _Temporary(refusal(response), retry_after(response.headers))


def retry_after(headers: httpx.Headers) -> float | None:
    """The seconds to wait that `Retry-After` asks for, as a number or a date; None when it asks for none."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text) or None
    try:
        then = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    now = datetime.now(timezone.utc)
    with contextlib.suppress(TypeError, ValueError):
        # Its clock, not ours.
        now = parsedate_to_datetime(headers.get("date", ""))
    seconds = (then - now).total_seconds()
    return seconds if seconds > 0 else None


def refusal(response: httpx.Response) -> str:
    """Who said no, and in which words. The response must have been read."""
    words = " ".join(response.text.split())[:_SHOWN]
    return f"{shown(response.url)} answers {response.status_code}{f' ({words})' if words else ''}"


def shown(url: httpx.URL) -> str:
    """The address without query and login, where secrets may be."""
    return str(url.copy_with(query=None, fragment=None, username=None, password=None))


def _url_of(error: httpx.TransportError, url: str) -> httpx.URL:
    try:
        return error.request.url
    except RuntimeError:
        return httpx.URL(url)

"""Requests and answers as plain values, and what drives them: everything that needs no network.

An *operation* is a generator that yields a `Request` and is sent the `Answer`, or is thrown an `Unreachable`; or yields
a `Pause` and is sent nothing. It returns its result. The clients, blocking and asynchronous, differ in how they perform
these two steps, and in nothing else.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar, Union

from pydantic import BaseModel, SecretStr, ValidationError

from .errors import NotHaulier, RequestRefused, Unreachable
from .models import Problem
from .settings import Settings

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

BASE = "/api/v1"
PROJECT_HEADER = "haulier-project"
PASSING = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed a moment later."""
LONGEST_PAUSE = 30.0
"""Longest time between two tries, in seconds, whatever the service asks for."""
FIRST_PAUSE = 0.2


@dataclass(frozen=True)
class Request:
    """One HTTP request, all but the address and the token."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    waits: float = 0.0
    """How long the service was asked to wait before it answers, in seconds."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class Pause:
    """Time to let pass, in seconds."""

    seconds: float


Reply = Union[Answer, Unreachable, None]
"""What a step came to: an answer or none, or nothing after a pause."""
Operation = Generator[Union[Request, Pause], Any, T]


@dataclass(frozen=True)
class Done(Generic[T]):
    """An operation's result."""

    result: T


def advance(operation: Operation[T], reply: Reply) -> Request | Pause | Done[T]:
    """Tells the operation what its last step came to (None at the start): its next step, or its result."""
    try:
        # Thrown without the cause, which holds the whole request.
        return operation.throw(reply) if isinstance(reply, Unreachable) else operation.send(reply)
    except StopIteration as end:
        return Done(end.value)


def encoded(value: Any) -> bytes:
    """JSON of what users give: times become RFC 3339, models and secrets what they hold."""
    return json.dumps(value, default=_plain, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True, exclude_unset=True)
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"{value} has no time zone: give one, like datetime.now(timezone.utc)")
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form: convert it first")


def perform(settings: Settings, request: Request, *, until: float | None = None) -> Operation[Answer]:
    """Sends a request that may be repeated, and repeats it while it fails on the way.

    Gives up when the client's patience is at its end, or at `until` by `time.monotonic`.

    Raises:
        HaulierError: the request failed, and repeating it does not help.
    """
    give_up = time.monotonic() + settings.patience
    if until is not None:
        give_up = min(give_up, until)
    pause = FIRST_PAUSE
    while True:
        failure: Unreachable | RequestRefused | NotHaulier
        try:
            answer: Answer = yield request
        except Unreachable as error:
            failure, asked = error, None
        else:
            if 200 <= answer.status < 300:
                return answer
            failure, asked = refusal(settings, answer), retry_after(answer)
            if answer.status not in PASSING:
                raise failure
        # Jitter, so that clients that failed together do not come back together.
        wait = min(pause * random.uniform(0.5, 1.0) if asked is None else asked, LONGEST_PAUSE)  # noqa: S311
        if time.monotonic() + wait >= give_up:
            raise failure
        yield Pause(wait)
        pause = min(pause * 2, LONGEST_PAUSE)


def refusal(settings: Settings, answer: Answer) -> RequestRefused | NotHaulier:
    """The exception that an answer is."""
    try:
        return RequestRefused(Problem.model_validate_json(answer.body))
    except ValidationError:
        return NotHaulier(settings.url, answer.status)


def retry_after(answer: Answer) -> float | None:
    """After how many seconds the service wants to be asked again."""
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
    return max((when - datetime.now(timezone.utc)).total_seconds(), 0.0)


def read(settings: Settings, model: type[M], answer: Answer) -> M:
    """The model that an answer holds."""
    try:
        return model.model_validate_json(answer.body)
    except ValidationError:
        # Its own text would repeat what the service sent.
        raise NotHaulier(settings.url, answer.status) from None


def call(settings: Settings, model: type[M], request: Request, *, until: float | None = None) -> Operation[M]:
    """Sends a request that may be repeated, and reads its answer."""
    answer = yield from perform(settings, request, until=until)
    return read(settings, model, answer)

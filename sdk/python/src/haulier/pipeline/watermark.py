"""Delta loads: only what is newer than what was loaded, nothing of it twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any, Union

from .errors import SettingsError, UnexpectedAnswer
from .formats import Record
from .paging import found

_MAX_IN_MEMORY = 500_000
"""How many are remembered during a load."""
MAX_SEEN = 4000
"""How many records of the overlap are remembered; their marks must fit into the job's state."""

Value = Union[str, int, float]


@dataclass(frozen=True)
class Watermark:
    """A field that grows with each change of a record, like `updated_at`. The greatest one seen is kept in the state.

    Numbers, dates and times in ISO 8601 are compared as such, other texts letter by letter. Times without a zone are
    taken for UTC.
    """

    field: str
    """Where in the record, like `meta.updated_at`."""
    parameter: str | None = None
    """The query parameter that asks for records from there on; None = of the field's name."""
    start: Value | None = None
    """Where the first load begins; None = without the parameter, so with everything."""
    overlap: timedelta | float | None = None
    """How far to look back, for records that the source shows late: a time for times, a number for numbers."""
    key: str | None = None
    """Where in the record its id is. With it, what is seen again unchanged is left out, which a source makes necessary
    that answers with records *from* the watermark on rather than after it."""

    def since(self, reached: Value | None) -> Value | None:
        """What to ask for when records up to this value have been loaded."""
        if reached is None:
            return self.start
        if self.overlap is None:
            return reached
        value = comparable(reached)
        if isinstance(value, datetime) and isinstance(self.overlap, timedelta):
            return _like(str(reached), value - self.overlap)
        if isinstance(value, float) and not isinstance(self.overlap, timedelta):
            less = float(reached) - self.overlap
            return int(less) if isinstance(reached, int) and less.is_integer() else less
        raise SettingsError(
            f"the overlap of {self.field} does not fit {reached!r}: use a timedelta for times, a number for numbers"
        )


@dataclass
class Tracker:
    """Follows one load: which records are new, and how far it has come."""

    watermark: Watermark
    reached: Value | None
    """The greatest value loaded so far."""
    seen: dict[str, Value] = field(default_factory=dict)
    """Marks of records that may come again, with their watermarks."""
    _top: Any = None
    _prune_at: int = 4 * MAX_SEEN

    def __post_init__(self) -> None:
        """Begins where the state says."""
        self._top = None if self.reached is None else comparable(self.reached)

    def is_new(self, record: Record) -> bool:
        """Notes a record; tells whether it has not been loaded yet.

        Raises:
            UnexpectedAnswer: it lacks the watermark or the key.
        """
        value = found(record, self.watermark.field)
        if not isinstance(value, (str, int, float)) or isinstance(value, bool):
            raise UnexpectedAnswer(
                f"a record's {self.watermark.field} is {value!r}, no text or number: choose another watermark, or none"
            )
        current = comparable(value)
        if self._top is not None and type(current) is not type(self._top):
            raise UnexpectedAnswer(
                f"{self.watermark.field} is {value!r} after {self.reached!r}, which cannot be compared: choose another"
            )
        if self.watermark.key is not None and self._is_seen(record, value):
            return False
        if self._top is None or current > self._top:
            self._top, self.reached = current, value
        if len(self.seen) > self._prune_at:
            self.seen = self._within_overlap()
            if len(self.seen) > _MAX_IN_MEMORY:
                raise self._too_many(len(self.seen))
            self._prune_at = max(self._prune_at, 2 * len(self.seen))
        return True

    def _is_seen(self, record: Record, value: Value) -> bool:
        key = found(record, str(self.watermark.key))
        if key is None:
            raise UnexpectedAnswer(f"a record has no {self.watermark.key}: choose another key, or none")
        text = json.dumps([key, value], sort_keys=True, default=str)
        mark = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        if mark in self.seen:
            return True
        self.seen[mark] = value
        return False

    def to_remember(self) -> dict[str, Value]:
        """The marks of what the next load will see again.

        Raises:
            SettingsError: they are too many for the state.
        """
        marks = self._within_overlap()
        if len(marks) > MAX_SEEN:
            raise self._too_many(len(marks))
        return marks

    def _within_overlap(self) -> dict[str, Value]:
        since = self.watermark.since(self.reached)
        floor = None if since is None else comparable(since)
        return {mark: value for mark, value in self.seen.items() if floor is None or comparable(value) >= floor}

    def _too_many(self, count: int) -> SettingsError:
        return SettingsError(
            f"{count} records lie within the overlap of {self.watermark.field}, and {MAX_SEEN} can be kept: make the "
            "overlap smaller, or leave out the key and drop duplicates later"
        )


def comparable(value: Value) -> Any:
    """A number, a time or a text: something that can be compared with others of its kind."""
    if not isinstance(value, str):
        return float(value)
    try:
        time = datetime.fromisoformat(_readable(value))
    except ValueError:
        return value
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _readable(text: str) -> str:
    """ISO 8601 as all Pythons read it: `Z` and fractions of any length came late."""
    if text[-1:] in "Zz":
        text = f"{text[:-1]}+00:00"
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return f"{head}.{digits[:6]:0<6}{rest[len(digits) :]}" if dot and digits and ":" in head else text


def _like(text: str, time: datetime) -> str:
    """A time in the form that the source uses."""
    if len(text) == len("2026-01-31"):
        return time.date().isoformat()
    if text[-1:] in "Zz":
        return time.astimezone(timezone.utc).replace(tzinfo=None).isoformat() + "Z"
    return time.isoformat() if comparable_has_zone(text) else time.replace(tzinfo=None).isoformat()


def comparable_has_zone(text: str) -> bool:
    """Whether a time says its zone."""
    return datetime.fromisoformat(_readable(text)).tzinfo is not None


def remembered(kept: Mapping[str, Any]) -> dict[str, Value]:
    """The marks as the state keeps them, by value: many records share one."""
    return {mark: value for value, marks in kept.get("seen", []) for mark in marks}


def kept(marks: Mapping[str, Value]) -> list[list[Any]]:
    """The marks as the state keeps them."""
    by_value: dict[Value, list[str]] = {}
    for mark, value in marks.items():
        by_value.setdefault(value, []).append(mark)
    return [[value, sorted(each)] for value, each in by_value.items()]


def day_of(value: Any) -> date | None:
    """The day that a value names; None when it names none."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        time = comparable(value)
        return time.date() if isinstance(time, datetime) else None
    return None

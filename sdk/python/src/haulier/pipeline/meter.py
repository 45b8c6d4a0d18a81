"""How far a load is: told to Haulier, and shown as a bar where a person watches."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from haulier import run

_EACH = 0.5
"""How often it is told, in seconds."""


class Meter:
    """Counts rows and pages."""

    def __init__(self, name: str) -> None:
        """Of this dataset."""
        self._name = name
        self._rows = 0
        self._pages = 0
        self._next = 0.0
        self._bar = _bar(name)

    def row(self) -> None:
        """One more row."""
        self._rows += 1
        if self._rows % 100 == 0 and time.monotonic() >= self._next:
            self._tell()

    def page(self) -> None:
        """One more page."""
        self._pages += 1
        self._tell()

    def _tell(self) -> None:
        self._next = time.monotonic() + _EACH
        if self._bar is not None:
            self._bar.update(self._rows - self._bar.n)
            return
        run.progress(self._rows, text=f"{self._name}: {self._rows} rows in {self._pages} pages")

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tell()
        if self._bar is not None:
            self._bar.close()


def _bar(name: str) -> Any:
    """A bar, on a terminal, where tqdm is installed."""
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc=name, unit=" rows", file=sys.stderr)

"""Waiting for conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 90.0
"""Whatever is waited for must come within this time, in seconds, also on a busy machine."""


def eventually(look: Callable[[], T | None], *, within: float = PATIENCE, what: str = "it") -> T:
    """Looks until there is something, and returns that."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come within {within:g} s"
        time.sleep(0.05)

"""Waiting for conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 90.0
"""Whatever is waited for must come within this time, in seconds, also on a busy machine."""


def eventually(look: Callable[[], T | None], what: str) -> T:
    """Looks until there is something, and returns that."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE:g} s"
        time.sleep(0.05)
    return found

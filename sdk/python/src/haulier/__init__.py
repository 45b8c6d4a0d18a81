"""Haulier runs container images as jobs.

`from haulier import Haulier` speaks to the service; `haulier.run` is for scripts that it runs, and `haulier.pipeline`
for those that load data. Each is imported when it is used, for a script shall not wait for what it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import (
        AsyncHaulier,
        AsyncRun,
        Haulier,
        HaulierError,
        LogLine,
        NotHaulier,
        RequestRefused,
        Run,
        RunFailed,
        Settings,
        SettingsError,
        Unreachable,
        WaitTimeout,
    )

__all__ = [
    "AsyncHaulier",
    "AsyncRun",
    "Haulier",
    "HaulierError",
    "LogLine",
    "NotHaulier",
    "RequestRefused",
    "Run",
    "RunFailed",
    "Settings",
    "SettingsError",
    "Unreachable",
    "WaitTimeout",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import client

    return getattr(client, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

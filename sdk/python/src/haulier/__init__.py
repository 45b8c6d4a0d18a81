"""Haulier runs container images as jobs; this package speaks to it."""

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

"""The client: triggers runs, follows them, and tells how they ended."""

from .asynchronous import AsyncHaulier, AsyncRun
from .blocking import Haulier, Run
from .errors import HaulierError, NotHaulier, RequestRefused, RunFailed, SettingsError, Unreachable, WaitTimeout
from .operations import LogLine
from .settings import Settings

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

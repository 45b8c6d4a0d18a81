"""From an HTTP API into a data lake, in a few lines.

    from haulier import run
    from haulier.pipeline import Cursor, Lake, OAuth2, Source, Watermark

    source = Source(
        "https://api.example.com/v1",
        auth=OAuth2("https://login.example.com/token", "my-client", run.secret("CLIENT_SECRET")),
        paging=Cursor("next", "cursor"),
        records="data",
        rate="10/s",
    )
    lake = Lake("abfs://raw/crm", partition="date")
    lake.load("orders", source.get("/orders", since=Watermark("updated_at", key="id")))

A load is added whole or not at all, also when the script is killed. It begins where the last successful run ended.
"""

from __future__ import annotations

try:
    import fsspec as _fsspec  # noqa: F401
    import httpx as _httpx  # noqa: F401
    import tenacity as _tenacity  # noqa: F401
except ImportError as error:
    raise ImportError(f"haulier.pipeline needs more packages ({error}): pip install 'haulier[pipeline]'") from None

from .auth import ApiKey, Basic, Bearer, OAuth2
from .errors import LakeError, PipelineError, SettingsError, SourceRefused, SourceUnavailable, UnexpectedAnswer
from .files import By
from .lake import Budget, Lake, Loaded
from .paging import Cursor, LinkHeader, NextLink, Offset, PageInfo, PageNumber, PageRequest, Paging, SinglePage
from .source import Page, Records, Source
from .watermark import Watermark

__all__ = [
    "ApiKey",
    "Basic",
    "Bearer",
    "Budget",
    "By",
    "Cursor",
    "Lake",
    "LakeError",
    "LinkHeader",
    "Loaded",
    "NextLink",
    "OAuth2",
    "Offset",
    "Page",
    "PageInfo",
    "PageNumber",
    "PageRequest",
    "Paging",
    "PipelineError",
    "Records",
    "SettingsError",
    "SinglePage",
    "Source",
    "SourceRefused",
    "SourceUnavailable",
    "UnexpectedAnswer",
    "Watermark",
]

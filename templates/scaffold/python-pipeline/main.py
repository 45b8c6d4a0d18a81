"""Loads what is new in a source's orders into the data lake."""

import os

from haulier import run
from haulier.pipeline import Cursor, Lake, Source, Watermark


def load(source_url, token, lake_url):
    """Go on where the last run that succeeded ended. All of it is added, or nothing."""
    source = Source(
        source_url,
        auth=token,
        # How it is paged: Cursor, NextLink, LinkHeader, PageNumber or Offset.
        paging=Cursor("next", "cursor"),
        # Where in an answer the records are.
        records="data",
        rate="10/s",
    )
    since = Watermark("updated_at", key="id")
    lake = Lake(lake_url, partition="date")
    with source:
        return lake.load("orders", source.get("/orders", since=since))


def main():
    """Load, and tell what came out."""
    lake = run.parameters.get("lake") or os.environ["LAKE_URL"]
    loaded = load(os.environ["SOURCE_URL"], run.secret("API_TOKEN"), lake)
    run.report(output={"rows": loaded.rows, "files": list(loaded.files)})


if __name__ == "__main__":
    main()

"""Loads what is new in an HTTP API into a data lake, with every run what came since the last one."""

import contextlib
import os

import example_source
from haulier import run
from haulier.pipeline import Cursor, Lake, Source, Watermark


def load(url, lake):
    """Add the orders that have changed to the lake: all of them or, if anything fails, none."""
    source = Source(url, paging=Cursor("next", "cursor"), records="data")
    return Lake(lake, format="jsonl", partition="date").load(
        "shop/orders", source.get("/orders", since=Watermark("updated", "since", key="id"))
    )


def main():
    """Take source and lake from haulier.yaml; without a source, an example on this machine."""
    source = os.environ.get("SOURCE_URL")
    with contextlib.nullcontext(source) if source else example_source.serve() as url:
        loaded = load(url, os.environ.get("LAKE_URL", "/tmp/lake"))  # noqa: S108 - for the first try alone
    run.report(output={"rows": loaded.rows, "files": loaded.files})


if __name__ == "__main__":
    main()

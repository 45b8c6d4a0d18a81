"""Loads what is new since the last run. Replace `records` by what your source gives."""

from haulier import run


def records(since, count):
    """Return the records that come after `since`, at most `count` of them."""
    return [{"id": number} for number in range(since + 1, since + count + 1)]


def main():
    """Go on where the last run ended, and tell how far it came."""
    since = (run.state or {}).get("since", 0)
    rows = records(since, run.parameters.get("count", 3))
    for done, row in enumerate(rows, start=1):
        run.log.info("loaded record %s", row["id"])
        run.progress(done, len(rows), "records")
    # The state is kept for the next run only if this one succeeds.
    run.report(
        output={"rows": len(rows)},
        metrics={"rows": len(rows)},
        state={"since": since + len(rows)},
    )


if __name__ == "__main__":
    main()

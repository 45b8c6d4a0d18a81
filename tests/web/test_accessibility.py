"""Every page in light and dark, wide and narrow: nothing for axe-core to complain of, and a picture of each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page
from served import REPOSITORY

from conftest import OpenWindow
from service import Service

PICTURES = REPOSITORY / "target" / "screenshots"


@pytest.fixture(scope="session")
def pages(service: Service) -> dict[str, str]:
    """Pages with something on each, by name."""
    service.ask("PUT", "/limits/crm-api", {"capacity": 1})
    service.ask("PUT", "/limits/warehouse", {"capacity": 4})
    orders: dict[str, object] = {"labels": {"team": "sales"}, "env": {"LEVEL": "info"}, "config": {"chunk": 5000}}
    service.register("load-orders", "print=loading orders", "sleep=20ms", **orders)
    words = ["print=page 1: 5,000 rows", "print-err=3 rows have no customer", "sleep=60ms"]
    report = 'report={"output": {"rows": 14203}, "metrics": {"rows": 14203}, "state": {"since": "2026-01-31"}}'
    orders["secrets"] = {"SHOP_TOKEN": {"value": "for-tests-only"}}
    orders["files"] = {"/etc/loader.toml": {"content": "chunk = 5000"}}
    service.register("load-orders", *words, report, **orders, max_parallel=2)
    done = [
        service.outcome("load-orders", parameters={"day": f"2026-01-{day:02}", "full": False}) for day in range(1, 15)
    ]
    service.register("sync-contacts", "print=Traceback (most recent call last)", "exit=1", max_parallel=1)
    failed = service.outcome("sync-contacts")
    progress = 'report={"progress": {"done": 31, "total": 48, "text": "table fact_sales"}}'
    service.register("export-warehouse", "print=exporting", progress, "forever", limits=[{"name": "crm-api"}])
    running = service.trigger("export-warehouse")
    service.until(running, "running")
    queued = service.trigger("export-warehouse")
    service.register("never-ran")
    return {
        "overview": "/",
        "jobs": "/jobs",
        "job": "/jobs/load-orders",
        "job-that-never-ran": "/jobs/never-ran",
        "job-configuration": "/jobs/load-orders/configuration",
        "job-revisions": "/jobs/load-orders/revisions",
        "job-state": "/jobs/load-orders/state",
        "job-trigger": "/jobs/load-orders/trigger",
        "runs": "/runs",
        "runs-none": "/runs?job=never-ran",
        "run-done": f"/runs/{done[-1]}",
        "run-failed": f"/runs/{failed}",
        "run-live": f"/runs/{running}",
        "run-queued": f"/runs/{queued}",
        "notices": "/notices",
        "limits": "/limits",
        "limit": "/limits/crm-api",
        "engines": "/engines",
        "tokens": "/tokens",
        "audit": "/audit",
        "problem": "/runs/none",
        "sign-in": "/sign-in",
    }


def violations(page: Page) -> list[str]:
    """What axe-core complains of."""
    page.add_script_tag(path=os.environ["HAULIER_TEST_AXE"])
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html']}: {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_page(open_window: OpenWindow, pages: dict[str, str], width: int, colours: str) -> None:
    # The policy of the pages would keep axe-core out, as it keeps out everything else that is not ours.
    page = open_window(width=width, color_scheme=colours, bypass_csp=True)
    folder: Path = PICTURES / f"{colours}-{width}"
    folder.mkdir(parents=True, exist_ok=True)
    complaints: list[str] = []
    for name, path in pages.items():
        page.goto(path)
        for details in page.locator("main details").all():
            details.evaluate("it => it.open = true")
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        complaints.extend(f"{name}: {violation}" for violation in violations(page))
    assert not complaints, "\n\n".join(complaints)

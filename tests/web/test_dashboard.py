"""What people do at the dashboard."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from served import TOKEN
from waiting import PATIENCE

from conftest import OpenWindow
from service import Service

expect.set_options(timeout=PATIENCE * 1000)


def mark(page: Page) -> Callable[[], None]:
    """Makes sure, when it is called, that the page was not loaded anew."""
    page.evaluate("window.mark = true")

    def check() -> None:
        assert page.evaluate("window.mark === true"), "the page was loaded anew"

    return check


def test_signing_in_and_out(open_window: OpenWindow) -> None:
    page = open_window(signed_in=False)
    page.goto("/runs?state=failed")
    expect(page).to_have_title("Sign in · Haulier")
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("this token does not work")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs?state=failed")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto("/")
    expect(page).to_have_title("Sign in · Haulier")


def test_a_run_from_queued_to_its_end(open_window: OpenWindow, service: Service, name: str) -> None:
    words = ["print=the first line", "sleep=3s", 'report={"progress": {"done": 1, "total": 2, "text": "half"}}']
    service.ask("PUT", f"/limits/{name}", {"capacity": 1})
    service.register(f"{name}-holder", "forever", limits=[{"name": name}])
    service.register(name, *words, "sleep=3s", "print-err=the last line", "exit=3", limits=[{"name": name}])
    holder = service.trigger(f"{name}-holder")
    service.until(holder, "running")
    run = service.trigger(name)

    page = open_window()
    page.goto(f"/runs/{run}")
    unchanged = mark(page)
    state, lines = page.locator("#run-state"), page.locator("#lines p")
    expect(state).to_contain_text("queued")
    expect(page.locator("#run-why")).to_contain_text(f"the limit {name} is full: 1 of 1 held")
    expect(page.locator("#live")).to_be_visible()
    service.ask("POST", f"/runs/{holder}/cancel")
    expect(state).to_contain_text("running")
    expect(lines).to_have_count(1)
    expect(lines.first).to_contain_text("the first line")
    expect(page.locator("#run-why")).to_contain_text("half")
    expect(lines).to_have_count(2)
    expect(lines.last).to_have_class("stderr")
    expect(state).to_contain_text("failed")
    expect(page.locator("#run-why")).to_contain_text("the script ended with exit code 3")
    expect(page.locator("#run-timeline")).to_contain_text("in all")
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    unchanged()


def test_the_overview_follows(open_window: OpenWindow, service: Service, name: str) -> None:
    service.register(name, "sleep=1s", "exit=1")
    page = open_window()
    expect(page.locator("#live")).to_be_visible()
    unchanged = mark(page)
    run = service.trigger(name)
    expect(page.locator(f"#active-list a[href='/runs/{run}']")).to_be_visible()
    expect(page.locator(f"#failed-list a[href='/runs/{run}']")).to_be_visible()
    unchanged()


@pytest.mark.parametrize("script", [True, False], ids=["with-script", "without"])
def test_cancel_and_retry(open_window: OpenWindow, service: Service, name: str, script: bool) -> None:
    service.register(name, "print=started", "forever")
    run = service.trigger(name, parameters={"day": 1})
    service.until(run, "running")
    page = open_window(java_script_enabled=script)
    page.goto(f"/runs/{run}")
    page.get_by_role("button", name="Cancel").click()
    service.until(run, "cancelled")
    page.goto(f"/runs/{run}")
    expect(page.locator("#run-state")).to_contain_text("cancelled")
    page.get_by_role("button", name="Retry").click()
    page.wait_for_url(re.compile(f"/runs/(?!{run})"))
    again = service.until(page.url.rsplit("/", 1)[1], "running")
    assert (again["retry_of"], again["parameters"]) == (run, {"day": 1})
    service.ask("POST", f"/runs/{again['id']}/cancel")


@pytest.mark.parametrize("script", [True, False], ids=["with-script", "without"])
def test_trigger_with_parameters(open_window: OpenWindow, service: Service, name: str, script: bool) -> None:
    service.register(name, "echo-env=HAULIER_PARAMETERS")
    service.outcome(name, parameters={"day": "2026-01-31", "chunk": 5, "full": True, "tables": ["a"]})
    page = open_window(java_script_enabled=script)
    page.goto(f"/jobs/{name}")
    page.get_by_role("link", name="Trigger a run").click()
    page.get_by_label("day").fill("2026-02-01")
    page.get_by_label("chunk").fill("five")
    page.get_by_label("full").uncheck()
    page.get_by_role("button", name="Trigger").click()
    expect(page.get_by_role("alert")).to_contain_text("/parameters/chunk: not a number")
    expect(page.get_by_label("day")).to_have_value("2026-02-01")
    page.get_by_label("chunk").fill("7")
    page.get_by_label("Further parameters").fill('{"more": null}')
    page.get_by_role("button", name="Trigger").click()
    page.wait_for_url("**/runs/*")
    run = page.url.rsplit("/", 1)[1]
    service.until(run, "succeeded")
    expected = {"day": "2026-02-01", "chunk": 7, "full": False, "tables": ["a"], "more": None}
    assert service.run(run)["parameters"] == expected


def test_without_script_everything_is_there(open_window: OpenWindow, service: Service, name: str) -> None:
    service.register(name, "print=a line", "print-err=a needle", "sleep=1s", "print=the end")
    run = service.trigger(name)
    page = open_window(java_script_enabled=False)
    page.goto(f"/runs/{run}")
    service.until(run, "succeeded")
    # It looks again by itself.
    expect(page.locator("#run-state")).to_contain_text("succeeded")
    expect(page.locator("#lines p")).to_have_count(3)
    page.get_by_label("Search the log").fill("NEEDLE")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#lines p")).to_have_count(1)
    page.goto("/")
    page.get_by_role("button", name="dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="auto").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_title("Sign in · Haulier")


def test_the_log_is_searched_and_filtered_where_it_is(open_window: OpenWindow, service: Service, name: str) -> None:
    service.register(name, "print=one <b>bold</b>", "print-err=two", "print=three", "forever")
    run = service.trigger(name)
    page = open_window()
    page.goto(f"/runs/{run}")
    lines = page.locator("#lines p")
    expect(lines).to_have_count(3)
    expect(lines.first).to_contain_text("one <b>bold</b>")
    page.keyboard.press("/")
    expect(page.get_by_label("Search the log")).to_be_focused()
    page.keyboard.type("TWO")
    expect(page.locator("#lines p:visible")).to_have_count(1)
    page.get_by_label("Search the log").fill("")
    page.get_by_label("Stream").select_option("stdout")
    expect(page.locator("#lines p:visible")).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_text().splitlines() == ["one <b>bold</b>", "two", "three"]
    service.ask("POST", f"/runs/{run}/cancel")


def test_by_keyboard(open_window: OpenWindow, service: Service, name: str) -> None:
    service.register(name)
    page = open_window()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.goto("/jobs")
    page.keyboard.press("/")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/jobs?q={name}*")
    expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


def test_on_a_phone(open_window: OpenWindow, service: Service, name: str) -> None:
    name += "-has-a-rather-long-name-that-does-not-fit-on-one-line"
    service.register(name, "print=" + "words " * 60, "print=" + "x" * 300, "exit=1", labels={"team": "x" * 120})
    run = service.outcome(name)
    page = open_window(width=390, is_mobile=True, has_touch=True)
    for path in ["/", "/jobs", f"/jobs/{name}", "/runs", f"/runs/{run}", "/limits", "/engines", "/tokens"]:
        page.goto(path)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} is {wider} pixels wider than the screen"
    page.get_by_role("link", name="Runs", exact=True).click()
    page.wait_for_url("**/runs")


def test_a_token_is_made_and_revoked(open_window: OpenWindow, name: str) -> None:
    page = open_window()
    page.goto("/tokens")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Make").click()
    secret = page.locator("[data-copy]").inner_text()
    other = open_window(signed_in=False)
    other.goto("/sign-in")
    other.get_by_label("Token").fill(secret)
    other.keyboard.press("Enter")
    expect(other).to_have_title("Overview · Haulier")
    page.goto("/tokens")
    row = page.get_by_role("row", name=name)
    row.locator("summary").click()
    row.get_by_role("button", name="Revoke it now").click()
    expect(page.get_by_role("row", name=name)).to_contain_text("does not work any more")
    other.goto("/")
    expect(other).to_have_title("Sign in · Haulier")


def test_a_notice_is_seen_and_taken_note_of(open_window: OpenWindow, service: Service, name: str) -> None:
    page = open_window()
    expect(page.locator("#live")).to_be_visible()
    service.register(name, "exit=3")
    run = service.outcome(name)
    notice = page.locator("#notice-list li", has=page.locator(f"a[href='/runs/{run}']"))
    expect(notice).to_be_visible()
    notice.get_by_role("button", name="Take note").click()
    page.wait_for_url("**/notices")
    known = page.locator("#notices li", has=page.locator(f"a[href='/runs/{run}']"))
    expect(known).to_contain_text("admin took note")

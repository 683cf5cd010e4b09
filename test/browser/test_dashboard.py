"""The dashboard, as people use it: in a browser, with a mouse, and with the keyboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from page_server import SCREENSHOTS, Dashboard
from playwright.sync_api import Browser, BrowserContext, Page, expect

LINE = re.compile("M.*L")
WIDTHS = {"phone": (390, 844), "tablet": (820, 1180), "desktop": (1280, 900)}


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    fresh = browser.new_context(reduced_motion="reduce")
    fresh.set_default_timeout(20_000)
    yield fresh
    fresh.close()


@pytest.fixture
def page(context: BrowserContext, dashboard: Dashboard) -> Iterator[Page]:
    """A page on which nothing goes wrong unseen, and which asks nobody else for anything."""
    opened = context.new_page()
    wrong: list[str] = []
    own = (dashboard.plain, "blob:")
    opened.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda sent: None if sent.url.startswith(own) else wrong.append(sent.url))
    yield opened
    assert wrong == []


def show(page: Page, url: str, pool: str = "busy") -> None:
    page.goto(url)
    expect(page.get_by_role("status").first).to_have_text("Live")
    page.get_by_label("Pool").select_option(pool)


def workers(page: Page):  # type: ignore[no-untyped-def]
    return page.locator("#workers tr")


def test_who_has_no_token_may_look(page: Page, dashboard: Dashboard) -> None:
    show(page, dashboard.plain)
    expect(workers(page)).to_have_count(3)
    expect(page.get_by_text("it brings the token")).to_be_visible()
    expect(page.get_by_role("button", name="Recycle")).to_have_count(0)
    expect(page.locator("#facts")).to_contain_text("3 of 3")
    expect(page.locator("#tools")).to_contain_text("square")


def test_charts_say_their_numbers(page: Page, dashboard: Dashboard) -> None:
    show(page, dashboard.plain)
    titles = ["Calls a second", "Latency", "Workers and queue", "Protocols, calls a second", "Cache hit rate"]
    expect(page.get_by_role("heading", level=3)).to_have_text(titles)
    for title in titles:
        expect(page.get_by_role("img", name=re.compile(f"^{title}, now: "))).to_be_visible()
    # The picture has a line, and the table the same in numbers.
    expect(page.locator(".chart svg[role=img] path.one").first).to_have_attribute("d", LINE)
    page.get_by_text("As a table: Latency").click()
    table = page.get_by_role("table", name="Latency")
    expect(table.get_by_role("columnheader")).to_have_text(["Time", "p50", "p90", "p99"])
    expect(table.get_by_role("row").nth(2)).to_be_visible()


def test_pools_have_a_select(page: Page, dashboard: Dashboard) -> None:
    show(page, dashboard.plain, "Elixir.Other.Py")
    expect(workers(page)).to_have_count(1)
    expect(page.get_by_role("heading", name="Cache hit rate")).to_be_hidden()
    page.reload()
    expect(page.get_by_label("Pool")).to_have_value("Elixir.Other.Py")
    expect(page.get_by_label("Pool").locator("option:checked")).to_have_text("Other.Py")


def test_recycling_asks_first(page: Page, dashboard: Dashboard) -> None:
    show(page, dashboard.url)
    assert page.url == f"{dashboard.plain}?pool=busy", "the token does not stay in the address"
    row = workers(page).first
    pid = row.locator("td").first
    before = pid.inner_text()
    row.get_by_role("button").click()
    dialog = page.get_by_role("dialog", name="Recycle worker")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#outcome")).to_have_text("")
    row.get_by_role("button").click()
    dialog.get_by_role("button", name="Recycle").click()
    expect(page.locator("#outcome")).to_have_text("Worker 0 is being replaced.")
    expect(page.locator("#workers")).not_to_contain_text(before)
    expect(page.locator("#facts")).to_contain_text("3 of 3")


def test_the_keyboard_is_enough(page: Page, dashboard: Dashboard) -> None:
    show(page, dashboard.url)
    expect(page.get_by_role("button", name="Recycle").first).to_be_enabled()
    page.locator("body").press("Tab")
    page.evaluate("document.activeElement.blur()")
    page.evaluate("window.getSelection().removeAllRanges()")
    button = page.get_by_role("button", name="Recycle").first
    for _ in range(40):
        page.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            break
    expect(button).to_be_focused()
    assert button.evaluate("button => getComputedStyle(button).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    # What does nothing has the focus.
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(button).to_be_focused()


def test_a_profile_is_shown(page: Page, dashboard: Dashboard) -> None:
    """The page's part of it, without the ten seconds."""
    page.goto(dashboard.url)
    seen = page.request.get(f"{dashboard.plain}stats").json() | {"history": {}}
    events = f"event: history\ndata: {json.dumps(seen)}\n\n"
    profile = {
        "table": "calls  function\n    3  <b>square</b>",
        "flame_graph": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    }
    page.route("**/events", lambda route: route.fulfill(content_type="text/event-stream", body=events))
    page.route("**/profile?pool=busy&ms=10000", lambda route: route.fulfill(json=profile))
    page.reload()
    page.get_by_label("Pool").select_option("busy")
    page.get_by_role("button", name="Profile for 10 s").click()
    page.get_by_role("dialog", name="Profile busy").get_by_role("button", name="Profile").click()
    expect(page.get_by_role("heading", name="Profile")).to_be_focused()
    expect(page.locator("#profile-table")).to_have_text(profile["table"])
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the flame graph").click()
    assert download.value.path().read_text() == profile["flame_graph"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_width_holds_the_page(browser: Browser, dashboard: Dashboard, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    show(page, dashboard.url)
    # Two points make a line.
    expect(page.locator(".chart svg[role=img] path.one").first).to_have_attribute("d", LINE)
    for name, (width, height) in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        page.screenshot(path=SCREENSHOTS / f"dashboard-{name}-{scheme}.png", full_page=True)
    page.get_by_role("button", name="Recycle").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.screenshot(path=SCREENSHOTS / f"dashboard-dialog-{scheme}.png")
    context.close()


def test_it_says_that_the_connection_is_lost(browser: Browser) -> None:
    own = Dashboard()
    page = browser.new_page()
    show(page, own.plain)
    own.stop()
    expect(page.locator("#connection")).to_contain_text("Connection lost", timeout=20_000)
    page.close()

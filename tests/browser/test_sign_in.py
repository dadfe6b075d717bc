"""People sign in, and see on the pages what the policy shows them: real Chromium, a real gateway and push service."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from pushes import Lane

from apps.serve import Served, serve
from lakehouse.errors import ServeError
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.browser

SOON = 30_000  # milliseconds


@pytest.fixture
def served(coast: Workspace) -> Iterator[Served]:
    served = serve(coast, sign_in=True)
    yield served
    served.stop()


def sign_in(page: Page, coast: Workspace, name: str, secret: str | None = None) -> None:
    passwords = json.loads((coast.state / "issuer.json").read_text())["passwords"]
    expect(page.get_by_role("heading", name="Sign in to Tidemill")).to_be_visible(timeout=SOON)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(passwords[name] if secret is None else secret)
    page.get_by_role("button", name="Sign in").click()


def visit(browser: Browser, url: str) -> tuple[Page, list[str]]:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    return page, complaints


def test_people_see_what_the_policy_shows_them(coast: Workspace, served: Served, browser: Browser) -> None:
    lane = Lane(Settings.load(coast))
    page, complaints = visit(browser, served.page("live"))
    sign_in(page, coast, "ada", "wrong")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    sign_in(page, coast, "ada")
    expect(page.locator(".state .pill")).to_have_text("● Live", timeout=SOON)
    assert page.url == served.page("live")
    lane.write(range(40))
    cells = page.locator(".board td")
    expect(cells.get_by_text("g1", exact=True).first).to_be_visible(timeout=SOON)
    expect(cells.get_by_text("g2", exact=True).first).to_be_visible(timeout=SOON)
    assert cells.get_by_text("g3", exact=True).count() == 0
    assert page.locator("#shade").count() == 0  # that picture is of all rows
    expect(page.locator(".who")).to_have_text("ada Sign out")
    page.goto(served.page("operations"))
    expect(page.locator("#reason")).to_contain_text("it is for those who may see them", timeout=SOON)
    assert page.locator("#tables").count() == 0
    # The same browser, another person: once signed out, one is asked again.
    page.locator(".who").click()
    page.goto(served.page("operations"))
    sign_in(page, coast, "kim")
    expect(page.locator("#servers")).to_contain_text("Kafka", timeout=SOON)
    page.goto(served.page("live"))
    expect(page.locator("#shade .total b")).to_have_text("40", timeout=SOON)
    assert complaints == []


def test_who_may_see_nothing_is_told_so(coast: Workspace, served: Served, browser: Browser) -> None:
    page, complaints = visit(browser, served.page("live"))
    sign_in(page, coast, "eve")
    expect(page.locator("#reason")).to_contain_text("You may not see any live table.", timeout=SOON)
    file = coast.root / "policy.yml"
    file.write_text("roles: [")
    page.reload()
    expect(page.locator("#reason")).to_contain_text("is no YAML", timeout=SOON)
    assert complaints == []


def test_nobody_can_sign_in_without_a_gateway(gulls: Workspace) -> None:
    with pytest.raises(ServeError, match="run `tidemill run --lane gateway`"):
        serve(gulls, sign_in=True)

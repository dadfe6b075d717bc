"""The Live page as people see it: real Chromium, a real broker, and a push service that gets killed meanwhile."""

from __future__ import annotations

import os
import re
import signal

import pytest
from playwright.sync_api import Browser, Page, expect
from pushes import Lane, pushing

from apps.serve import serve
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.browser

SOON = 30_000  # milliseconds


def open_page(browser: Browser, url: str, width: int = 1280) -> tuple[Page, list[str]]:
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    return page, complaints


def test_rows_are_pushed_and_a_killed_service_is_found_again(gulls: Workspace, browser: Browser) -> None:
    lane, served = Lane(Settings.load(gulls)), serve(gulls)
    url = served.url.replace("operations", "live")
    try:
        with pushing(gulls) as process:
            page, complaints = open_page(browser, url)
            expect(page.locator(".state .pill")).to_have_text("● Live", timeout=SOON)
            lane.write(range(10))
            cell = page.locator(".board td")
            expect(cell.get_by_text("9", exact=True)).to_be_visible(timeout=SOON)
            expect(page.locator("#shade .total")).to_have_text("10events since 1 Jan 2013", timeout=SOON)
            expect(page.locator("#shade .ink")).to_have_css("mask-image", re.compile("^url.*image/png"))
            os.killpg(process.pid, signal.SIGKILL)
            expect(page.locator(".state .pill")).to_have_text("▲ Reconnecting", timeout=SOON)
            expect(page.locator("#shade .said")).to_contain_text("does not answer", timeout=SOON)
            lane.write(range(5, 20))  # some again, as after a crash of the driver
        with pushing(gulls):
            expect(page.locator(".state .pill")).to_have_text("● Live", timeout=SOON)
            for number in (10, 19):  # what came while it was away
                expect(cell.get_by_text(str(number), exact=True)).to_be_visible(timeout=SOON)
            expect(page.locator("#shade .total b")).to_have_text("20", timeout=SOON)
            expect(page.locator("#shade .said")).to_be_hidden()
            page.locator("#shade button", has_text="By hour").click()
            expect(page.locator("#shade .foot")).to_contain_text("hours in UTC")
            page.locator("#shade .field").hover()
            expect(page.locator("#shade .hint")).to_contain_text("no events")
        assert complaints == []
    finally:
        served.stop()


def test_a_phone_sees_why_there_is_nothing(gulls: Workspace, browser: Browser) -> None:
    served = serve(gulls)
    try:
        page, complaints = open_page(browser, served.url.replace("operations", "live"), width=390)
        expect(page.locator(".state .sentence")).to_contain_text("run `tidemill run --lane push`", timeout=SOON)
        expect(page.locator("#shade .said")).to_contain_text("run `tidemill run --lane push`", timeout=SOON)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert complaints == []
    finally:
        served.stop()

"""The Operations page as people see it: real Chromium, real servers, figures that change while it is open."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from playwright.sync_api import Browser, Page, expect

from apps.serve import Served, serve
from lakehouse.clients import delta_rs
from lakehouse.control import Control
from lakehouse.lease import Lease
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.browser

SOON = 15_000  # milliseconds; a reading every two seconds, on a busy machine


class Lane:
    """Stands in for the lane: writes the tables and the ledger as it does."""

    def __init__(self, settings: Settings, control: Control) -> None:
        self.control = control
        self._settings = settings
        self._batches = 0
        self._written: set[str] = set()

    def write(self, name: str, rows: int) -> None:
        uri = f"s3://{self._settings.s3.bucket}/{name.replace('.', '/')}"
        data = pa.table({"n": list(range(rows))})
        self._written.add(uri)
        write_deltalake(uri, data, mode="append", storage_options=delta_rs(self._settings))

    def forget(self) -> None:
        """Leave nothing to the tests that come after on the same servers."""
        for uri in self._written:
            DeltaTable(uri, storage_options=delta_rs(self._settings)).delete()
        for table in ("batch", "table_state"):
            self.control.run(f"""DELETE FROM tidemill.{table} WHERE "table" IN ('bronze.tides', 'silver.tides', 'gold.levels')""")

    def batch(self, rows: int, dead: int = 0, reason: str = "") -> None:
        self.write("bronze.tides", rows)
        self.write("silver.tides", rows - dead)
        if dead:
            self.write("dead_letters.tides", dead)
        number = self._batches = self._batches + 1
        self.control.record_batch("bronze.tides", 0, number, duration_ms=400, rows_read=rows, rows_written=rows)
        self.control.record_batch(
            "silver.tides",
            0,
            number,
            duration_ms=900,
            rows_read=rows,
            rows_written=rows - dead,
            dead_letters=dead,
            detail={"reasons": {reason: dead} if dead else {}},
        )


@pytest.fixture(scope="module")
def lane(tides: Workspace) -> Iterator[Lane]:
    settings = Settings.load(tides)
    control = Control(settings.require("postgres"))
    lane = Lane(settings, control)
    lane.forget()
    with Lease(control, seconds=30) as lease:
        lease.acquire("tidemill run")
        for name in ("bronze.tides", "silver.tides", "gold.levels"):
            control.set_state(name, "running")
        lane.batch(1_200, 12, "<b>late</b>: at is more than 1 hour old")
        yield lane
    lane.forget()
    control.close()


@pytest.fixture(scope="module")
def served(tides: Workspace, lane: Lane) -> Iterator[Served]:
    template = Path(__file__).parents[2] / "apps" / "template"
    shutil.copytree(template, tides.root / "apps" / "my_page", ignore=shutil.ignore_patterns("__pycache__"))
    served = serve(tides)
    yield served
    served.stop()
    shutil.rmtree(tides.root / "apps")


class Watched:
    """A page, with what it asked for and what it complained of."""

    def __init__(self, browser: Browser, width: int = 1440, height: int = 900) -> None:
        self.complaints: list[str] = []
        self.hosts: set[str | None] = set()
        self.page: Page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlparse(request.url).hostname))
        self.page.on("websocket", lambda socket: self.hosts.add(urlparse(socket.url).hostname))

    def clean(self) -> bool:
        """Whether nothing was complained of and no other host was asked; blob: and data: have none."""
        assert self.complaints == []
        assert self.hosts <= {"127.0.0.1", None}
        return True


@pytest.fixture
def desktop(browser: Browser, served: Served) -> Iterator[Watched]:
    watched = Watched(browser)
    watched.page.goto(served.url)
    expect(watched.page.locator(".stage.gold")).to_be_visible(timeout=30_000)
    yield watched
    watched.page.close()


def test_it_shows_how_all_fares_and_keeps_up_by_itself(desktop: Watched, lane: Lane) -> None:
    page = desktop.page
    expect(page.locator(".lane")).to_contain_text("tidemill run")
    expect(page.locator(".fresh")).to_contain_text("Live · read")
    expect(page.locator(".stage.silver")).to_contain_text("1,188")
    expect(page.locator("#tables tr.row").first).to_contain_text("1,200")
    expect(page.locator("#feeds tr.row td[data-label='Dead letters']")).to_have_text("12")
    expect(page.locator("#reasons")).to_contain_text("<b>late</b>: at is more than 1 hour old")
    expect(page.locator("#servers tr.row")).to_have_count(4)
    expect(page.locator("#rate canvas").first).to_be_visible()
    expect(page.locator("#lag canvas").first).to_be_visible()

    page.evaluate("window.sameDocument = true")
    row = page.locator("#tables tr.row").first.element_handle()
    lane.batch(800, 3, "key: gauge is missing")
    expect(page.locator("#tables tr.row").first).to_contain_text("2,000", timeout=SOON)
    expect(page.locator("#reasons")).to_contain_text("key: gauge is missing", timeout=SOON)
    lane.control.set_state("gold.levels", "stopped", "gold.levels stopped: its function fails; mend it and run `tidemill run`.")
    expect(page.locator(".alert.bad")).to_contain_text("its function fails", timeout=SOON)
    expect(page.locator("#tables tr.alarm code")).to_have_text("tidemill run")
    lane.control.set_state("gold.levels", "running")
    expect(page.locator(".alert.bad")).to_have_count(0, timeout=SOON)
    assert page.evaluate("window.sameDocument") is True
    assert row.evaluate("(row) => row.isConnected") is True
    assert desktop.clean()


def test_light_and_dark_are_the_visitors_choice_and_kept(desktop: Watched) -> None:
    page = desktop.page

    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.querySelector('#tables')).backgroundColor"))

    light = background()
    page.locator("#theme").click()
    dark = background()
    assert light != dark
    page.reload()
    expect(page.locator(".stage.gold")).to_be_visible(timeout=SOON)
    assert background() == dark
    page.locator("#theme").click()
    assert background() == light
    assert desktop.clean()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, served: Served) -> None:
    phone = Watched(browser, 390, 844)
    phone.page.goto(served.url)
    expect(phone.page.locator(".stage.gold")).to_be_visible(timeout=SOON)
    expect(phone.page.locator("#lag canvas").first).to_be_visible()
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 390
    tops = [phone.page.locator(f".stage.{key}").bounding_box() for key in ("kafka", "bronze", "silver", "gold")]
    assert all(box is not None and box["width"] > 340 for box in tops)
    assert len({round(box["y"]) for box in tops if box}) == 4
    expect(phone.page.locator("#tables thead")).to_be_hidden()
    assert phone.clean()
    phone.page.close()


def test_a_page_copied_from_the_template_works(browser: Browser, served: Served) -> None:
    copied = Watched(browser)
    copied.page.goto(served.url.replace("/operations", "/my_page"))
    expect(copied.page.locator("#table tr.row")).to_contain_text("gold.levels", timeout=SOON)
    expect(copied.page.locator("nav a[aria-current]")).to_have_text("My page")
    copied.page.locator("nav a", has_text="Operations").click()
    expect(copied.page.locator(".stage.gold")).to_be_visible(timeout=SOON)
    assert copied.clean()
    copied.page.close()


def test_without_news_the_page_says_that_it_is_stale_and_goes_on_when_the_server_is_back(
    browser: Browser, tides: Workspace, served: Served
) -> None:
    # Last: it ends the server of the others.
    page = browser.new_page()
    page.goto(served.url)
    expect(page.locator(".fresh")).to_contain_text("Live", timeout=SOON)
    served.stop()
    expect(page.locator(".fresh.stale")).to_contain_text("no news", timeout=20_000)
    again = serve(tides, port=served.port)
    expect(page.locator(".fresh")).to_contain_text("Live", timeout=30_000)
    page.close()
    again.stop()

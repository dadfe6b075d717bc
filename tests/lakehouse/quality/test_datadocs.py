"""Data Docs load nothing from elsewhere, whatever the rows hold, and work without a network."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from pyspark.sql import SparkSession

from lakehouse.quality import Suite, datadocs, drop, validate, warn
from lakehouse.quality.suites import _loaded, import_gx

MARKUP = "<img src=https://host.invalid/x.png><script>console.error('run')</script>"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "use": "href"}


class Loads(HTMLParser):
    """What a browser would load for a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.urls += [url for url in [found.get(LOADED.get(tag, ""))] if url]
        self.urls += styled(found.get("style") or "")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "style":
            self.urls += styled(data)


def styled(css: str) -> list[str]:
    """Return what a style sheet loads; of a font's formats, browsers that know WOFF2 load no other."""
    css = re.sub(r"url\([^)]*\.(eot|woff|ttf|svg)([?#][^)]*)?\)", "", css)
    return re.findall(r"""(?:@import\s+|url\(\s*)["']?([^"')\s]+)""", css)


@pytest.fixture(scope="module")
def site(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import_gx()
    from great_expectations import expectations as gxe

    rows = [(1, "Ada", 5.0), (2, MARKUP, -500.0), (3, "a" * 5000, None)]
    frame = spark.createDataFrame(rows, "flight BIGINT, passenger STRING, delay DOUBLE")
    quantiles = {"quantiles": [0.5], "value_ranges": [[100, 200]]}
    thirds = {"values": [1, 2, 3], "weights": [0.2, 0.2, 0.6]}
    flights = [
        drop(gxe.ExpectColumnValuesToNotBeNull(column="flight")),
        warn(gxe.ExpectColumnKLDivergenceToBeLessThan(column="flight", partition_object=thirds, threshold=0.01)),
        warn(gxe.ExpectColumnValueLengthsToBeBetween(column="passenger", max_value=8)),
        warn(gxe.ExpectColumnMostCommonValueToBeInSet(column="passenger", value_set=["Eve"])),
        warn(gxe.ExpectColumnQuantileValuesToBeBetween(column="delay", quantile_ranges=quantiles)),
        warn(gxe.ExpectColumnMeanToBeBetween(column="nowhere", max_value=1)),
    ]
    root = tmp_path_factory.mktemp("a workspace")
    for name, rules in (("gold.arrivals", flights[:1]), ("silver.flights", flights)):
        suite = _loaded(name.replace(".", "/"), Suite(rules))
        result = validate(frame, suite, root, table=name, from_version=3, to_version=9)
    assert [row.success for row in result.rows] == [True, False, False, False, False, False]
    assert result.rows[2].partial_unexpected is not None and "<img" in result.rows[2].partial_unexpected
    return result.docs.parent


def test_what_the_pages_load_lies_beside_them(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) == 5
    for file in [*pages, *(site / "static" / "css").iterdir()]:
        text = file.read_text(encoding="utf-8")
        urls = Loads(text).urls if file.suffix == ".html" else styled(text)
        assert file.suffix == ".css" or len(urls) > 7
        for url in urls:
            if not url.startswith("data:"):
                assert not urlparse(url).netloc, f"{file}: {url}"
                assert (file.parent / unquote(url)).is_file(), f"{file}: {url}"


def test_markup_in_rows_is_shown_as_text(site: Path) -> None:
    (page,) = site.rglob("silver.flights@3-9.html")
    text = page.read_text(encoding="utf-8")
    assert "<img src=https" not in text and "<script>console.error" not in text
    assert text.count("&lt;img src=https") == 2
    assert datadocs._escaped([{"<a>": ["<b>", 1, None]}]) == [{"&lt;a&gt;": ["&lt;b&gt;", 1, None]}]
    assert "Data asset: silver.flights" in text
    assert "vega.js" in text and "vega.js" not in (site / "index.html").read_text(encoding="utf-8")


def test_pages_that_are_contained_already_stay_as_they_are(site: Path) -> None:
    before = {page: (page.stat().st_mtime_ns, page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    datadocs._contain(site)
    assert before == {page: (page.stat().st_mtime_ns, page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}


def watched(browser: Browser, complaints: list[str], width: int) -> Page:
    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page = browser.new_context(offline=True, viewport={"width": width, "height": 844}).new_page()
    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url} failed"))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(f"{r.url} asked for"))
    return page


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_site_works_without_a_network(browser: Browser, site: Path, width: int) -> None:
    complaints: list[str] = []
    page = watched(browser, complaints, width)
    page.goto((site / "index.html").as_uri())
    rows = page.locator("#Validation-Results tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("Failed")
    assert page.evaluate("document.fonts.load('900 16px \"Font Awesome 5 Free\"').then((fonts) => fonts.length)") == 1
    assert page.evaluate("document.querySelector('.navbar img').naturalWidth") > 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if width > 1000:
        page.get_by_role("button", name="Run Time").click()
        expect(rows.first).to_contain_text("Success")
    page.locator("#Validation-Results").get_by_role("searchbox").fill("SILVER")
    expect(page.locator("#Validation-Results tbody tr:visible")).to_have_count(1)
    page.get_by_role("tab", name="Expectation Suites").click()
    expect(page.locator("#Expectation-Suites tbody tr:visible")).to_have_count(2)
    page.get_by_role("tab", name="Validation Results").click()
    page.locator("#Validation-Results tbody tr:visible td[data-label='Batch ID']").click()

    expect(page.locator(".ge-section").last).to_contain_text("passenger")
    expect(page.get_by_text(MARKUP).first).to_be_visible()
    expect(page.locator("svg.marks")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.get_by_text("Show more info").click()
    expect(page.get_by_text("Great Expectations Version")).to_be_visible()
    expect(page.get_by_text("Show exception traceback")).to_be_hidden()
    page.get_by_text("Failed Only").click()
    expect(page.get_by_text("values must never be null")).to_be_hidden()
    page.get_by_role("link", name="silver.flights", exact=True).first.click()
    expect(page.get_by_text("A collection of Expectations")).to_be_visible()
    page.locator(".navbar-brand a").click()
    expect(rows).to_have_count(2)
    assert complaints == []
    page.context.close()

"""Take pictures of a served page: ``python tests/browser/shoot.py http://127.0.0.1:PORT/operations docs/images/operations``."""

from __future__ import annotations

import argparse
import shutil

from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": (1440, 1180), "phone": (390, 1560)}


def shoot(url: str, stem: str, *, scheme: str = "light", whole: bool = False, wait: float = 6) -> None:
    """Write ``<stem>-desktop.png`` and ``<stem>-phone.png``; what the browser complains of is printed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, (width, height) in SIZES.items():
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1 if width > 1000 else 2
            )
            page.on("console", lambda message: print(message.type, message.text))
            page.on("request", lambda r: None if "127.0.0.1" in r.url or r.url.startswith("data:") else print("REQUEST", r.url))
            page.goto(url)
            page.locator(".stage.gold").wait_for()
            page.wait_for_timeout(1000 * wait)
            page.screenshot(path=f"{stem}-{name}.png", full_page=whole)
            page.close()
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("stem")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--whole", action="store_true", help="the whole page, however long")
    asked = parser.parse_args()
    shoot(asked.url, asked.stem, scheme="dark" if asked.dark else "light", whole=asked.whole)

"""`python -m demo.screenshots URL FILE`: a picture of Star's page, in a headless Chromium."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1280, 900
PATIENCE = 20_000
#: Milliseconds in which whatever still moves on the page comes to rest.
SETTLE = 700
SETTLING = "[data-state=settling]"
HOW = (
    "`make demo SCREENSHOTS=DIR` installs it, or "
    "sudo apt-get install chromium; .venv/bin/python -m pip install playwright"
)


class NoBrowserError(Exception):
    """What is needed for pictures is not installed."""


def find_browser() -> str:
    """Path of a Chromium that playwright can drive; raises NoBrowserError."""
    if importlib.util.find_spec("playwright") is None:
        raise NoBrowserError(f"pictures need playwright, which is not installed: {HOW}")
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise NoBrowserError(f"pictures need Chromium, which is not installed: {HOW}")
    return found


def take(program: str, url: str, file: Path) -> None:
    """Open the page, wait until it shows tasks and measurements, and keep what it shows."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it may not be installed

    with sync_playwright() as playwright:
        # The sandbox of the browser needs what root inside of a container lacks;
        # the page is our own, on loopback.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(url, timeout=PATIENCE)
            page.wait_for_selector("[data-task]", timeout=PATIENCE)
            # The page's policy forbids to evaluate a condition again and again.
            page.wait_for_selector(SETTLING, state="detached", timeout=PATIENCE)
            page.wait_for_timeout(SETTLE)
            page.screenshot(path=str(file), full_page=True)
        finally:
            browser.close()


def main() -> None:
    """Take one picture, or only look whether that is possible."""
    parser = argparse.ArgumentParser(prog="python -m demo.screenshots")
    parser.add_argument("--check", action="store_true", help="only say whether it is possible")
    parser.add_argument("url", nargs="?")
    parser.add_argument("file", nargs="?", type=Path)
    options = parser.parse_args()
    try:
        program = find_browser()
    except NoBrowserError as error:
        sys.exit(str(error))
    if options.check:
        return
    if options.url is None or options.file is None:
        parser.error("URL and FILE are needed")
    take(program, options.url, options.file)


if __name__ == "__main__":
    main()

"""A browser, a page in it that may not complain, and a Star to look at."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.star_world import StarWorld, star_world

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: see the extra `e2e`")

#: Long enough for a try of a closed pair, a change of facts and a slow machine.
PATIENCE_MS = 20_000
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def browser() -> Iterator[playwright.Browser]:
    """Debian's Chromium, without a window."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def star() -> Iterator[StarWorld]:
    """Four probes in two groups, shared by the tests of a module."""
    with star_world() as running:
        yield running


@pytest.fixture
def world(star: StarWorld) -> Iterator[StarWorld]:
    """All as it should be, whatever the test before has left."""
    star.settle()
    yield star
    star.restore()


Opener = Callable[..., playwright.Page]


@pytest.fixture
def opened(browser: playwright.Browser) -> Iterator[Opener]:
    """Opens pages; what one of them complains about fails the test, unless it may."""
    contexts: list[playwright.BrowserContext] = []
    complaints: list[str] = []

    def open_page(url: str, *, may_complain: bool = False, **options: object) -> playwright.Page:
        context = browser.new_context(**{"viewport": DESK, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        if not may_complain:
            page.on("console", lambda said: _note(complaints, said))
            page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.wait_for_selector("td[data-from]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _note(complaints: list[str], said: playwright.ConsoleMessage) -> None:
    if said.type in ("error", "warning"):
        complaints.append(said.text)


@pytest.fixture
def page(opened: Opener, world: StarWorld) -> playwright.Page:
    """The page on a desk, with everything settled."""
    page = opened(world.page)
    page.wait_for_selector("#summary[data-level=ok]")
    return page

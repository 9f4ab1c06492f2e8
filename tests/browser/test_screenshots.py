"""A picture of the page, taken as `make demo SCREENSHOTS=dir` takes it."""

import subprocess
import sys
from pathlib import Path

from demo.embedded.processes import PROJECT
from tests.browser.conftest import playwright
from tests.star_world import StarWorld

PNG = b"\x89PNG\r\n\x1a\n"
COMMAND = (sys.executable, "-m", "demo.screenshots")


def test_a_picture_shows_the_page_once_it_is_settled(
    browser: playwright.Browser, world: StarWorld, tmp_path: Path
) -> None:
    file = tmp_path / "star.png"
    done = subprocess.run(
        (*COMMAND, world.page, str(file)),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    content = file.read_bytes()
    assert content.startswith(PNG)
    # An empty page of that size has a tenth of it.
    assert len(content) > 50_000

"""A picture of the page, taken as `make demo SCREENSHOTS=dir` takes it."""

import subprocess
import sys
from pathlib import Path
from threading import Timer

from demo.embedded.processes import PROJECT
from tests.browser.conftest import playwright
from tests.star_world import StarWorld, wait_until

PNG = b"\x89PNG\r\n\x1a\n"
COMMAND = (sys.executable, "-m", "demo.screenshots")


#: Longer than a browser takes to open the page.
UNDER_WAY_SECONDS = 5.0


def take(world: StarWorld, file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*COMMAND, world.page, str(file)),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_picture_shows_the_page_once_it_is_settled(
    browser: playwright.Browser, world: StarWorld, tmp_path: Path
) -> None:
    file = tmp_path / "star.png"
    done = take(world, file)

    assert done.returncode == 0, done.stderr
    content = file.read_bytes()
    assert content.startswith(PNG)
    # An empty page of that size has a tenth of it.
    assert len(content) > 50_000


def test_a_picture_waits_for_a_change_that_is_under_way(
    browser: playwright.Browser, world: StarWorld, tmp_path: Path
) -> None:
    world.task("d", ["star-2"], verdict="PENDING", reason="not applied yet")
    wait_until(lambda: "settling" in world.states().values(), "the change is seen")
    over = Timer(UNDER_WAY_SECONDS, world.task, ("d", ["star-2"]))
    over.start()
    try:
        done = take(world, tmp_path / "star.png")
    finally:
        over.join()

    assert done.returncode == 0, done.stderr
    assert "settling" not in world.states().values()

"""The stories that `make demo` tells succeed on a sound cluster only."""

import io
import subprocess

import pytest
from rich.console import Console

from demo.embedded.processes import PROJECT
from demo.stories.narrator import Narrator
from demo.stories.programme import tell
from demo.stories.stage import Stage, StoryFailedError
from tests.cluster.harness import COMMAND, Drive, launched

SECONDS = 100


def test_the_stories_end_well_and_in_time() -> None:
    told = subprocess.run(
        (*COMMAND, "run"),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert told.returncode == 0, told.stdout + told.stderr
    assert "LEAK" not in told.stdout
    assert "\x1b" not in told.stdout
    # One after the other, and each measured by Star itself as well.
    chapters = ("Before:", "Shared:", "Isolated:", "Regroup", "Delete", "All as the groups")
    found = [told.stdout.index(chapter) for chapter in chapters]
    assert found == sorted(found)
    assert told.stdout.count("waits in /v2/queue: 2 offers declined: InsufficientPorts") == 2
    assert told.stdout.count("Star measured the same") == 5


def test_a_story_fails_where_undeclared_ports_are_open() -> None:
    # Ports do not count then, as in the original demo: the groups' openings are wider.
    with (
        launched("--add", "controller=--port-policy open") as running,
        Drive.of(running.cluster) as drive,
    ):
        narrator = Narrator(Console(file=io.StringIO()))

        with pytest.raises(StoryFailedError, match=r"LEAK: probe-a -> probe-b:9999"):
            tell(Stage(drive.cluster, drive.marathon, narrator), "isolated")

"""The story that `make demo` tells succeeds on a sound cluster only."""

import io
import subprocess

import pytest
from rich.console import Console

from demo.embedded.processes import PROJECT
from demo.stories.isolated import Story, StoryFailedError, read_group
from demo.stories.narrator import Narrator
from tests.cluster.harness import COMMAND, Drive, launched

SECONDS = 100


def test_the_story_ends_well_and_in_time() -> None:
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
    assert "All as the groups call for." in told.stdout


def test_the_story_fails_where_undeclared_ports_are_open() -> None:
    # Ports do not count then, as in the original demo: the groups' openings are wider.
    with (
        launched("--add", "controller=--port-policy open") as running,
        Drive.of(running.cluster) as drive,
    ):
        narrator = Narrator(Console(file=io.StringIO()))

        with pytest.raises(StoryFailedError, match=r"LEAK: probe-a -> probe-b:9999"):
            Story(drive.cluster, drive.marathon, narrator).tell(read_group())

"""The stories that `make demo` tells succeed on a sound cluster only."""

import subprocess

import pytest

from demo.embedded.processes import PROJECT
from demo.stories.stage import StoryFailedError, is_complete
from demo.stories.told import before
from demo.stories.told.programme import tell
from tests.cluster.harness import COMMAND, Drive, launched, wait_until
from tests.cluster.storytelling import quiet, start_again_at_once

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
    chapters = ("Before:", "Shared:", "Isolated:", "Regroup", "Delete", "All as called for.")
    found = [told.stdout.index(chapter) for chapter in chapters]
    assert found == sorted(found)
    assert told.stdout.count("waits in /v2/queue: 2 offers declined: InsufficientPorts") == 2
    assert told.stdout.count("Star measured the same") == 5


@pytest.mark.parametrize("name", ["star", "star-iso"])
def test_a_story_can_be_stopped_and_started_at_once(drive: Drive, name: str) -> None:
    start_again_at_once(quiet(drive), name)


def test_a_probe_that_waits_for_a_port_gets_it_once_it_is_free(drive: Drive) -> None:
    stage = quiet(drive)
    before.tell(stage)
    group = f"/{before.GROUP}"
    try:
        running = [task.app_id for task in drive.marathon.tasks() if "probe" in task.app_id]
        waiting = {row["app"]["id"] for row in drive.marathon.queue()}
        assert len(running) == len(waiting) == 2

        drive.marathon.delete_app(running[0])

        wait_until(lambda: len(drive.marathon.queue()) == 1, "none of the waiting probes starts")
        assert {row["app"]["id"] for row in drive.marathon.queue()} < waiting
        stage.settle(is_complete(3))
    finally:
        stage.retire(group)


def test_a_story_fails_where_undeclared_ports_are_open() -> None:
    # Ports do not count then, as in the original demo: the groups' openings are wider.
    with (
        launched("--add", "controller=--port-policy open") as running,
        Drive.of(running.cluster) as drive,
        pytest.raises(StoryFailedError, match=r"LEAK: probe-a -> probe-b:9999"),
    ):
        tell(quiet(drive), "isolated")

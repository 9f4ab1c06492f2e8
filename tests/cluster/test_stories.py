"""The stories that `make demo` tells succeed on a sound cluster only."""

import io
import subprocess
from functools import partial

import pytest
from rich.console import Console

from demo.embedded.processes import PROJECT
from demo.marathon.era import DEFAULT_ERA, Era
from demo.stories.forms import read_group
from demo.stories.narrator import Narrator
from demo.stories.scene import Scene
from demo.stories.stage import Stage, StoryFailedError, is_complete
from demo.stories.told import before
from demo.stories.told.programme import tell
from tests.cluster.harness import COMMAND, Drive, launched, wait_until

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


def quiet(drive: Drive, era: Era = DEFAULT_ERA) -> Stage:
    """A stage whose narrator nobody hears."""
    return Stage(drive.cluster, drive.marathon, Narrator(Console(file=io.StringIO())), era)


def start_again_at_once(stage: Stage, name: str) -> None:
    """Stop a group and start it in the same breath, twice, and wait until all is right."""
    stage.open()
    group = read_group(name)
    apps = stage.deploy(group)
    count = len(apps)
    scene, _ = stage.settle(is_complete(count))
    for _ in range(2):
        old = {actor.task_id for actor in scene.actors}
        stage.marathon.delete_group(group["id"])
        stage.deploy(group)

        scene, cells = stage.settle(partial(is_replaced, old, count))

        # The collector's own address, though its last holder has hardly gone.
        stage.check_fixed(scene, apps)
        stage.show(scene, cells, f"{group['id']}/collect")
    assert stage.cluster.product("ipam", "check").returncode == 0
    stage.retire(group["id"])


def is_replaced(old: set[str], count: int, scene: Scene) -> bool:
    """Whether as many tasks as there should be are there, and none of the old ones."""
    present = {actor.task_id for actor in scene.actors}
    return len(present) == count and not present & old


@pytest.mark.parametrize("name", ["star", "star-iso"])
def test_a_story_can_be_stopped_and_started_at_once(drive: Drive, name: str) -> None:
    start_again_at_once(quiet(drive), name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("era", "more"),
    [
        pytest.param(Era(1, 9), (), id="1.9 by CNI"),
        pytest.param(Era(0, 15), ("--isolation", "netmodules"), id="0.15 by net-modules"),
    ],
)
def test_also_where_a_plugin_attaches_tasks(era: Era, more: tuple[str, ...]) -> None:
    with launched("--era", str(era), *more) as running, Drive.of(running.cluster) as drive:
        start_again_at_once(quiet(drive, era), "star")


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


@pytest.mark.slow
@pytest.mark.parametrize("era", [Era(0, 14), Era(1, 5), Era(1, 9)], ids=str)
def test_the_stories_are_told_in_each_era(era: Era) -> None:
    with launched("--era", str(era)) as running, Drive.of(running.cluster) as drive:
        tell(quiet(drive, era))


def test_a_story_fails_where_undeclared_ports_are_open() -> None:
    # Ports do not count then, as in the original demo: the groups' openings are wider.
    with (
        launched("--add", "controller=--port-policy open") as running,
        Drive.of(running.cluster) as drive,
        pytest.raises(StoryFailedError, match=r"LEAK: probe-a -> probe-b:9999"),
    ):
        tell(quiet(drive), "isolated")

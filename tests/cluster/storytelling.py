"""Stories told to nobody, for tests."""

import io
from functools import partial

from rich.console import Console

from demo.marathon.era import DEFAULT_ERA, Era
from demo.stories.forms import read_group
from demo.stories.narrator import Narrator
from demo.stories.scene import Scene, Watcher
from demo.stories.stage import Stage, is_complete
from tests.cluster.harness import Drive


def quiet(drive: Drive, era: Era = DEFAULT_ERA) -> Stage:
    """A stage whose narrator nobody hears."""
    stage = Stage(drive.cluster, drive.marathon, Narrator(Console(file=io.StringIO())), era)
    stage.watcher = Watcher(drive.cluster, drive.marathon, drive.commands)
    return stage


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

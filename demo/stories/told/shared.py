"""The second story: an address for each task, and one group that everybody may reach."""

from __future__ import annotations

from demo.stories.forms import read_group
from demo.stories.scene import Observers
from demo.stories.stage import Stage, StoryFailedError, apps_of, is_complete, port_by_task_prefix
from demo.stories.view import render_tasks

GROUP = "star"


def tell(stage: Stage) -> None:
    """Five tasks with five addresses reach each other; raises StoryFailedError otherwise."""
    group, narrator = read_group(GROUP), stage.narrator
    narrator.heading("Shared: an address for each task, all in the group `public`")
    narrator.say("The same four probes on the same port: each has it to itself now.")
    with Observers(stage.cluster, port_by_task_prefix(apps_of(group))) as observers:
        with narrator.step(f"{group['id']} deployed: {len(group['apps'])} apps IN_SYNC"):
            apps = stage.deploy(group)
            scene, cells = stage.settle(is_complete(len(apps)))
        narrator.show(render_tasks(scene.actors, observers.reachable()))
    addresses = {actor.address for actor in scene.actors}
    if len(addresses) != len(apps):
        raise StoryFailedError(f"{len(apps)} tasks have {len(addresses)} addresses")
    stage.check_fixed(scene, apps)
    stage.show(scene, cells, f"{group['id']}/collect")
    stage.check_undeclared(scene)
    stage.picture("shared")

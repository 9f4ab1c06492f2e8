"""The third story: two groups beside each other, regrouped and taken apart."""

from __future__ import annotations

import time
from collections.abc import Mapping

from demo.stories.forms import in_era, read_group
from demo.stories.rest import Json
from demo.stories.scene import Observers, Scene
from demo.stories.stage import (
    SETTLE_SECONDS,
    Stage,
    StoryFailedError,
    apps_of,
    is_complete,
    port_by_task_prefix,
)
from demo.stories.view import list_wrong, render_tasks, times

GROUP = "star-iso"


def tell(stage: Stage) -> None:
    """All chapters; raises StoryFailedError at the first thing that is wrong."""
    group = read_group(GROUP)
    apps = apps_of(group)
    stage.narrator.heading("Isolated: probes A and B in star-1, C and D in star-2")
    with Observers(stage.cluster, port_by_task_prefix(apps)) as observers:
        _deploy(stage, group, observers)
        stage.picture("isolated")
        _regroup(stage, f"{group['id']}/probe-b", "star-2", apps, observers)
        _delete(stage, f"{group['id']}/probe-d")


def _deploy(stage: Stage, group: Json, observers: Observers) -> None:
    narrator = stage.narrator
    with narrator.step(f"{group['id']} deployed: {len(group['apps'])} apps IN_SYNC"):
        apps = stage.deploy(group)
        scene, cells = stage.settle(is_complete(len(apps)))
    narrator.show(render_tasks(scene.actors, observers.reachable()))
    stage.check_fixed(scene, apps)
    narrator.heading("Who reaches whom, on the port that each app declares")
    stage.show(scene, cells, collector_of(group["id"]))
    stage.check_undeclared(scene)
    status = stage.cluster.product("status")
    narrator.heading("$ marathon-calico status")
    narrator.quote(status.stdout or status.stderr)
    if status.returncode != 0:
        raise StoryFailedError(f"marathon-calico status ended with {status.returncode}")


def _regroup(
    stage: Stage, app_id: str, group_name: str, apps: Mapping[str, Json], observers: Observers
) -> None:
    app, narrator = apps[app_id], stage.narrator
    before = stage.watcher.look().actors_of(app_id)
    old_group = " ".join(app["ipAddress"]["groups"])
    narrator.heading(f"Regroup {app_id}: {old_group} -> {group_name}")
    network = {**app["ipAddress"], "groups": [group_name]}
    stage.watcher.expect(app_id, {**app, "ipAddress": network})
    old = {actor.task_id for actor in before}
    with narrator.step("a new task runs under the new group, the old one has ended"):
        stage.marathon.put_app(app_id, in_era({"ipAddress": network}, stage.era))
        overlaps = _follow_rolling(stage, app_id, old)
        scene, cells = stage.settle(lambda scene: _replaced(scene, app_id, old))
    (new,) = scene.actors_of(app_id)
    if new.address in {actor.address for actor in before}:
        raise StoryFailedError(f"{app_id} kept its address {new.address}")
    if overlaps == 0:
        raise StoryFailedError("the old task was never seen beside the new one")
    addresses = " ".join(str(actor.address) for actor in before)
    milliseconds = observers.reachable().get(new.task_id, float("nan")) * 1000
    narrator.say(
        f"address {addresses} -> {new.address}, reachable {milliseconds:.0f} ms after its start"
    )
    narrator.say(
        f"measured {times(overlaps)} while both lived: the old task kept its groups to the end"
    )
    stage.show(scene, cells, collector_of(app_id.rpartition("/")[0]))


def _delete(stage: Stage, app_id: str) -> None:
    scene, narrator = stage.watcher.look(), stage.narrator
    (gone,) = scene.actors_of(app_id)
    narrator.heading(f"Delete {app_id}")
    with narrator.step("its endpoint is withdrawn, the others are as before"):
        stage.marathon.delete_app(app_id)
        others = len(scene.actors) - 1
        stage.wait(lambda: not stage.watcher.knows(gone.task_id), f"{app_id} stays listed")
        scene, cells = stage.settle(is_complete(others))
    address, port = str(gone.address), gone.task.ports[0]
    outcomes = stage.watcher.reach_address(scene, address, port)
    if answers := [pair.source for pair, found in outcomes.items() if found.arrived]:
        raise StoryFailedError(f"{address} still answers {', '.join(answers)}")
    narrator.say(f"{address} answers nobody any more")
    stage.show(scene, cells, collector_of(app_id.rpartition("/")[0]))


def _follow_rolling(stage: Stage, app_id: str, old: set[str]) -> int:
    """Measure while old and new tasks live side by side; returns how often."""
    overlaps, watcher = 0, stage.watcher
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        scene = watcher.look(verdicts=False)
        present = {actor.task_id for actor in scene.actors_of(app_id) if actor.pid}
        if not present & old:
            return overlaps
        if time.monotonic() > deadline:
            raise StoryFailedError(f"the old task of {app_id} does not end")
        cells = stage.measure(scene)
        after = watcher.look(verdicts=False)
        alive = {
            actor.task.name
            for actor in scene.actors
            if (later := after.of_task(actor.task_id)) and later.pid == actor.pid
        }
        new = {actor.task.name for actor in scene.actors_of(app_id) if actor.task_id not in old}
        # The new task may still be closed to all; nobody else may lose anything.
        lost = {
            pair: cell
            for pair, cell in cells.items()
            if not {pair.source, pair.target} & new
            and pair.target in alive
            and (pair.source in alive or pair.source in scene.pid_by_host)
        }
        if wrong := list_wrong(lost):
            raise StoryFailedError("\n".join(("while the app was regrouped:", *wrong)))
        if new and present & old:
            overlaps += 1
        stage.narrator.progress(f"measured {times(overlaps)} while both live")


def collector_of(group_id: str) -> str:
    """The app that shows the group's page."""
    return f"{group_id}/collect"


def _replaced(scene: Scene, app_id: str, old: set[str]) -> bool:
    present = {actor.task_id for actor in scene.actors_of(app_id)}
    return len(present) == 1 and not present & old

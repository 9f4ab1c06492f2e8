"""The first story: tasks on their hosts' network, where a port is taken once on each host."""

from __future__ import annotations

from collections.abc import Sequence

from demo.stories.forms import read_group
from demo.stories.rest import Json
from demo.stories.scene import Scene
from demo.stories.stage import Stage, StoryFailedError
from demo.stories.view import counted, declined_offers, render_places, render_waiting

GROUP = "star-before"
COLLECTOR = "collect"


def tell(stage: Stage) -> None:
    """As many probes run as there are hosts, the others wait; StoryFailedError otherwise."""
    group, narrator = read_group(GROUP), stage.narrator
    collector = f"{group['id']}/{COLLECTOR}"
    probes = len(group["apps"]) - 1
    running = min(probes, stage.hosts)
    narrator.heading("Before: every task on its host's network")
    hosts = counted(stage.hosts, "host")
    narrator.say(f"{probes} probes require port 9000 of their host. The cluster has {hosts}.")
    with narrator.step(f"{group['id']} deployed: {running} of {probes} probes run"):
        stage.deploy(group)
        scene, cells = stage.settle(lambda scene: _is_full(scene, collector, running))
        waiting = _await_queue(stage, group, probes - running)
    narrator.show(render_places(scene.actors))
    for line in render_waiting(waiting):
        narrator.say(line)
    if stage.hosts > 1:
        _check_hosts(scene, collector)
    stage.show(scene, cells, collector)
    narrator.say("No group keeps anybody out: a host's network is open to everybody.")
    stage.picture("before")


def _is_full(scene: Scene, collector: str, running: int) -> bool:
    probes = [actor for actor in scene.actors if actor.app_id != collector]
    return len(probes) == running and len(scene.actors) == running + 1


def _await_queue(stage: Stage, group: Json, count: int) -> Sequence[Json]:
    """What of the group waits, once Marathon has looked for a place for it."""
    rows: list[Json] = []

    def seen() -> bool:
        queued = (row for row in stage.marathon.queue() if "app" in row)
        rows[:] = [row for row in queued if row["app"]["id"].startswith(f"{group['id']}/")]
        tells = not stage.era.has_instances or all(map(declined_offers, rows))
        return len(rows) == count and tells

    stage.wait(seen, lambda: f"{len(rows)} of {count} apps wait in /v2/queue: {rows}")
    return rows


def _check_hosts(scene: Scene, collector: str) -> None:
    hosts = [actor.task.host for actor in scene.actors if actor.app_id != collector]
    if len(set(hosts)) != len(hosts):
        raise StoryFailedError(f"two probes share a host and its port: {sorted(hosts)}")

"""`python -m demo run`: the isolated Star group, deployed, regrouped and taken apart.

Each chapter ends only when the kernel has been seen to do what the groups call
for; a single packet that gets where it must not ends the story as a failure.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from demo.embedded.cluster import Cluster
from demo.embedded.processes import PROJECT
from demo.marathon.era import DEFAULT_ERA, Era
from demo.stories.forms import group_in_era, in_era
from demo.stories.matrix import Cell, Outcome, Pair, judge_all
from demo.stories.narrator import Narrator
from demo.stories.rest import Json, MarathonApi
from demo.stories.scene import Observers, Scene, Watcher, policy
from demo.stories.view import list_wrong, render_matrix, render_tasks, summarize, times

APPS = PROJECT / "demo" / "apps" / "star-iso.json"
START_SECONDS = 20.0
SETTLE_SECONDS = 30.0
LOOK_SECONDS = 0.1
#: A port that no app of the group declares.
UNDECLARED_PORT = 9999


class StoryFailedError(Exception):
    """Something was not as the groups call for."""


class Story:
    """Tells one story on one cluster."""

    def __init__(
        self,
        cluster: Cluster,
        marathon: MarathonApi,
        narrator: Narrator,
        era: Era = DEFAULT_ERA,
    ) -> None:
        self._era = era
        self._cluster = cluster
        self._marathon = marathon
        self._narrator = narrator
        self._watcher = Watcher(cluster, marathon)

    def tell(self, group: Json) -> None:
        """All chapters; raises StoryFailedError at the first thing that is wrong."""
        apps = {f"{group['id']}/{app['id']}": app for app in group["apps"]}
        self._wait_for_cluster()
        with Observers(self._cluster, _port_by_task_prefix(apps)) as observers:
            self._deploy(group, apps, observers)
            self._regroup(f"{group['id']}/probe-b", "star-2", apps, observers)
            self._delete(f"{group['id']}/probe-d")

    def _wait_for_cluster(self) -> None:
        with self._narrator.step("Marathon answers"):
            self._marathon.wait(START_SECONDS)
        hosts = len(self._cluster.control.status().hosts) - 1
        with self._narrator.step("agents have registered"):
            self._wait(
                lambda: self._watcher.hosts_ready() == hosts == len(self._marathon.agents()),
                f"not all of the {hosts} agents have registered",
            )

    def _deploy(self, group: Json, apps: Mapping[str, Json], observers: Observers) -> None:
        for app_id, app in apps.items():
            self._watcher.expect(app_id, app)
        with self._narrator.step(f"{group['id']} deployed: {len(apps)} apps IN_SYNC"):
            self._marathon.put_group(group_in_era(group, self._era))
            scene, cells = self._settle(lambda scene: len(scene.actors) == len(apps))
        self._narrator.heading("Tasks")
        self._narrator.show(render_tasks(scene.actors, observers.reachable()))
        self._narrator.heading("Who reaches whom, on the port that each app declares")
        self._show(scene, cells)
        self._check_undeclared(scene)
        status = self._cluster.product("status")
        self._narrator.heading("$ marathon-calico status")
        self._narrator.quote(status.stdout or status.stderr)
        if status.returncode != 0:
            raise StoryFailedError(f"marathon-calico status ended with {status.returncode}")

    def _regroup(
        self, app_id: str, group_name: str, apps: Mapping[str, Json], observers: Observers
    ) -> None:
        app = apps[app_id]
        before = self._watcher.look().actors_of(app_id)
        old_group = " ".join(app["ipAddress"]["groups"])
        self._narrator.heading(f"Regroup {app_id}: {old_group} -> {group_name}")
        network = {**app["ipAddress"], "groups": [group_name]}
        self._watcher.expect(app_id, {**app, "ipAddress": network})
        old = {actor.task_id for actor in before}
        with self._narrator.step("a new task runs under the new group, the old one has ended"):
            self._marathon.put_app(app_id, in_era({"ipAddress": network}, self._era))
            overlaps = self._follow_rolling(app_id, old)
            scene, cells = self._settle(lambda scene: _replaced(scene, app_id, old))
        (new,) = scene.actors_of(app_id)
        if new.address in {actor.address for actor in before}:
            raise StoryFailedError(f"{app_id} kept its address {new.address}")
        if overlaps == 0:
            raise StoryFailedError("the old task was never seen beside the new one")
        addresses = " ".join(str(actor.address) for actor in before)
        milliseconds = observers.reachable().get(new.task_id, float("nan")) * 1000
        self._narrator.say(
            f"address {addresses} -> {new.address}, reachable {milliseconds:.0f} ms after its start"
        )
        self._narrator.say(
            f"measured {times(overlaps)} while both lived: the old task kept its groups to the end"
        )
        self._show(scene, cells)

    def _delete(self, app_id: str) -> None:
        scene = self._watcher.look()
        (gone,) = scene.actors_of(app_id)
        self._narrator.heading(f"Delete {app_id}")
        with self._narrator.step("its endpoint is withdrawn, the others are as before"):
            self._marathon.delete_app(app_id)
            others = len(scene.actors) - 1
            self._wait(lambda: not self._watcher.knows(gone.task_id), f"{app_id} stays listed")
            scene, cells = self._settle(lambda scene: len(scene.actors) == others)
        address, port = str(gone.address), gone.task.ports[0]
        outcomes = self._watcher.reach_address(scene, address, port)
        if answers := [pair.source for pair, found in outcomes.items() if found.arrived]:
            raise StoryFailedError(f"{address} still answers {', '.join(answers)}")
        self._narrator.say(f"{address} answers nobody any more")
        self._show(scene, cells)

    def _settle(self, complete: Callable[[Scene], bool]) -> tuple[Scene, Mapping[Pair, Cell]]:
        """Look until all is in place and every pair is right; a leak at any time is the end."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            scene = self._watcher.look()
            settled = [actor for actor in scene.actors if actor.settled]
            cells = self._measure(scene)
            right = sum(cell.ok for cell in cells.values())
            self._narrator.progress(
                f"{len(settled)} of {len(scene.actors)} tasks IN_SYNC, "
                f"{right} of {len(cells)} pairs right"
            )
            if complete(scene) and len(settled) == len(scene.actors) and right == len(cells):
                return scene, cells
            if time.monotonic() > deadline:
                raise StoryFailedError("\n".join(_describe(scene, cells)))
            time.sleep(LOOK_SECONDS)

    def _follow_rolling(self, app_id: str, old: set[str]) -> int:
        """Measure while old and new tasks live side by side; returns how often."""
        overlaps = 0
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            scene = self._watcher.look(verdicts=False)
            present = {actor.task_id for actor in scene.actors_of(app_id) if actor.pid}
            if not present & old:
                return overlaps
            if time.monotonic() > deadline:
                raise StoryFailedError(f"the old task of {app_id} does not end")
            cells = self._measure(scene)
            after = self._watcher.look(verdicts=False)
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
            self._narrator.progress(f"measured {times(overlaps)} while both live")

    def _check_undeclared(self, scene: Scene) -> None:
        cells = self._measure(scene, UNDECLARED_PORT)
        self._narrator.say(f"On the undeclared port {UNDECLARED_PORT}: {summarize(cells)}.")
        if wrong := list_wrong(cells):
            raise StoryFailedError("\n".join(wrong))

    def _measure(self, scene: Scene, port: int | None = None) -> Mapping[Pair, Cell]:
        outcomes = self._watcher.reach(scene, port)
        tried = {pair: outcome for pair, outcome in outcomes.items() if outcome is not Outcome.GONE}
        cells = judge_all(scene.senders, scene.targets, tried)
        leaks = {pair: cell for pair, cell in cells.items() if cell is Cell.LEAK}
        if leaks:
            raise StoryFailedError("\n".join(list_wrong(leaks)))
        return cells

    def _show(self, scene: Scene, cells: Mapping[Pair, Cell]) -> None:
        self._narrator.show(render_matrix(scene.senders, scene.targets, cells))
        self._narrator.say(f"On the declared ports: {summarize(cells)}.")

    def _wait(self, reached: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not reached():
            if time.monotonic() > deadline:
                raise StoryFailedError(otherwise)
            time.sleep(LOOK_SECONDS)


def read_group(path: Path = APPS) -> Json:
    """The group that the story deploys."""
    group: Json = json.loads(path.read_text())
    return group


def _replaced(scene: Scene, app_id: str, old: set[str]) -> bool:
    present = {actor.task_id for actor in scene.actors_of(app_id)}
    return len(present) == 1 and not present & old


def _port_by_task_prefix(apps: Mapping[str, Json]) -> dict[str, int]:
    """Marathon begins a task's id with the id of its app, in its own spelling."""
    return {app_id.strip("/").replace("/", "_"): policy(app)[1][0] for app_id, app in apps.items()}


def _describe(scene: Scene, cells: Mapping[Pair, Cell]) -> list[str]:
    lines = ["not in place in time:"]
    lines += [
        f"{actor.task.name} on {actor.task.host}: {actor.verdict} {actor.reason}, "
        f"address {actor.address}, in the kernel {actor.kernel_address}"
        for actor in scene.actors
        if not actor.settled
    ]
    return lines + list_wrong(cells)

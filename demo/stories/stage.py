"""Where stories are told: one cluster, and what every story does and looks at there.

A chapter ends only when the kernel has been seen to do what the groups call
for, and Star's own measurements say the same; a single packet that gets where
it must not ends the story as a failure.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence

from demo.embedded.cluster import Cluster
from demo.marathon.era import DEFAULT_ERA, Era
from demo.stories.forms import group_in_era
from demo.stories.matrix import Cell, Outcome, Pair, judge_all
from demo.stories.narrator import Narrator
from demo.stories.rest import Json, MarathonApi
from demo.stories.scene import Actor, Scene, Watcher, policy
from demo.stories.seen import read_responses, see
from demo.stories.view import list_wrong, render_matrix, summarize

START_SECONDS = 20.0
SETTLE_SECONDS = 30.0
LOOK_SECONDS = 0.1
#: A port that no app of the groups declares.
UNDECLARED_PORT = 9999
#: Asks for addresses, as a list in JSON.
LABEL = "ipv4_addrs"

Cells = Mapping[Pair, Cell]


class StoryFailedError(Exception):
    """Something was not as the groups call for."""


def _no_picture(_name: str) -> None:
    """Nobody wants one."""


class Stage:
    """One cluster with its narrator; `picture` is taken of the page where a story tells it.

    `attached` is whether a plugin attaches the tasks also of an era without named networks.
    """

    def __init__(
        self,
        cluster: Cluster,
        marathon: MarathonApi,
        narrator: Narrator,
        era: Era = DEFAULT_ERA,
        picture: Callable[[str], None] = _no_picture,
        *,
        attached: bool = False,
    ) -> None:
        self.cluster = cluster
        self.marathon = marathon
        self.narrator = narrator
        self.era = era
        self.picture = picture
        self.watcher = Watcher(cluster, marathon)
        self._attached = attached or era.uses_networks

    @property
    def hosts(self) -> int:
        """How many hosts run tasks."""
        return len(self.cluster.control.status().hosts) - 1

    def open(self) -> None:
        """Wait until tasks can be started."""
        with self.narrator.step("Marathon answers"):
            self.marathon.wait(START_SECONDS)
        hosts = self.hosts
        watcher = self.watcher
        ready = watcher.hosts_ready if self._attached else watcher.hosts_registered
        with self.narrator.step("agents have registered"):
            self.wait(
                lambda: ready() == hosts == len(self.marathon.agents()),
                f"not all of the {hosts} agents have registered",
            )

    def deploy(self, group: Json) -> Mapping[str, Json]:
        """PUT a group; returns its apps by their ids, for whose tasks is looked from now on."""
        apps = apps_of(group)
        for app_id, app in apps.items():
            self.watcher.expect(app_id, app)
        self.marathon.put_group(group_in_era(group, self.era))
        return apps

    def retire(self, group_id: str) -> None:
        """Delete a group and wait until nothing of it is left."""
        tasks = [actor.task_id for actor in self.watcher.look(verdicts=False).actors]
        with self.narrator.step(f"{group_id} deleted, nothing of it is left"):
            self.marathon.delete_group(group_id)
            self.wait(
                lambda: (
                    not self.marathon.deployments()
                    and not self.watcher.look(verdicts=False).actors
                    and not any(self.watcher.knows(task) for task in tasks)
                ),
                f"something of {group_id} stays",
            )

    def settle(self, complete: Callable[[Scene], bool]) -> tuple[Scene, Cells]:
        """Look until all is in place and every pair is right; a leak at any time is the end."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            scene = self.watcher.look()
            settled = [actor for actor in scene.actors if actor.settled]
            cells = self.measure(scene)
            right = sum(cell.ok for cell in cells.values())
            self.narrator.progress(
                f"{len(settled)} of {len(scene.actors)} tasks in place, "
                f"{right} of {len(cells)} pairs right"
            )
            if complete(scene) and len(settled) == len(scene.actors) and right == len(cells):
                return scene, cells
            if time.monotonic() > deadline:
                raise StoryFailedError("\n".join(_describe(scene, cells)))
            time.sleep(LOOK_SECONDS)

    def measure(self, scene: Scene, port: int | None = None) -> Cells:
        """Every pair that could be tried, beside what the groups call for; a leak is the end."""
        outcomes = self.watcher.reach(scene, port)
        tried = {pair: outcome for pair, outcome in outcomes.items() if outcome is not Outcome.GONE}
        cells = judge_all(scene.senders, scene.targets, tried)
        leaks = {pair: cell for pair, cell in cells.items() if cell is Cell.LEAK}
        if leaks:
            raise StoryFailedError("\n".join(list_wrong(leaks)))
        return cells

    def check_undeclared(self, scene: Scene) -> None:
        """Ports that no app declares are closed to all but the task's own host."""
        cells = self.measure(scene, UNDECLARED_PORT)
        self.narrator.say(f"On the undeclared port {UNDECLARED_PORT}: {summarize(cells)}.")
        if wrong := list_wrong(cells):
            raise StoryFailedError("\n".join(wrong))

    def check_fixed(self, scene: Scene, apps: Mapping[str, Json]) -> None:
        """Whoever asked for an address by a label has that very one."""
        for app_id, app in apps.items():
            for address in fixed_addresses(app):
                held = {actor.address for actor in scene.actors_of(app_id)}
                if held != {address}:
                    raise StoryFailedError(f"{app_id} asked for {address} and has {held}")
                self.narrator.say(f"{app_id} has {address}, as its label asks for.")

    def show(self, scene: Scene, cells: Cells, collector: str) -> None:
        """Tell what the kernel was seen to do, and that Star itself measured the same."""
        self.narrator.show(render_matrix(scene.senders, scene.targets, cells))
        self.narrator.say(f"On the declared ports: {summarize(cells)}.")
        task_by_app = {actor.app_id: actor.task for actor in scene.actors}
        found: list[str] = []

        def agrees() -> bool:
            responses = read_responses(self.cluster.star_url)
            if responses is None:
                found[:] = ["Star's collector does not answer"]
                return False
            seen = see(responses, task_by_app, collector)
            judged = judge_all(scene.senders, scene.targets, seen.outcomes)
            wrong = [
                f"Star measured {cell}: {pair.source} -> {pair.target}:{pair.port}, "
                f"the kernel was seen to do {cells.get(pair, 'nothing')}"
                for pair, cell in judged.items()
                if cells.get(pair) is not cell
            ]
            wrong += [f"Star reached what does not run: {ghost}" for ghost in seen.ghosts]
            if not seen.complete:
                wrong.append(f"Star has measured {len(seen.outcomes)} pairs so far")
            found[:] = wrong or [summarize(judged)]
            return not wrong

        self.wait(agrees, lambda: "\n".join(found))
        self.narrator.say(f"Star measured the same, by its page's own data: {found[0]}.")

    def wait(self, reached: Callable[[], bool], otherwise: str | Callable[[], str]) -> None:
        """Return once it holds; the story fails when time is up."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not reached():
            if time.monotonic() > deadline:
                raise StoryFailedError(otherwise if isinstance(otherwise, str) else otherwise())
            time.sleep(LOOK_SECONDS)


def apps_of(group: Json) -> Mapping[str, Json]:
    """A group's apps by their whole ids."""
    return {f"{group['id']}/{app['id']}": app for app in group["apps"]}


def fixed_addresses(app: Json) -> Sequence[str]:
    """The IPv4 addresses that an app asks for by its label."""
    asked: Sequence[str] = json.loads(app["ipAddress"].get("labels", {}).get(LABEL, "[]"))
    return asked


def is_complete(count: int) -> Callable[[Scene], bool]:
    """Whether exactly so many tasks are there."""
    return lambda scene: len(scene.actors) == count


def port_by_task_prefix(apps: Mapping[str, Json]) -> dict[str, int]:
    """Marathon begins a task's id with the id of its app, in its own spelling."""
    return {app_id.strip("/").replace("/", "_"): policy(app)[1][0] for app_id, app in apps.items()}


def _describe(scene: Scene, cells: Cells) -> list[str]:
    lines = ["not in place in time:"]
    lines += [_line(actor) for actor in scene.actors if not actor.settled]
    return lines + list_wrong(cells)


def _line(actor: Actor) -> str:
    return (
        f"{actor.task.name} on {actor.task.host}: {actor.verdict} {actor.reason}, "
        f"address {actor.address}, in the kernel {actor.kernel_address}"
    )

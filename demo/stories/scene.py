"""What runs in the cluster right now, seen from Marathon, the product and the kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from demo.embedded.cluster import Cluster
from demo.embedded.hosts import MASTER
from demo.embedded.processes import AGENT_PORT, MESOS_AGENT_PORT
from demo.stories.matrix import PUBLIC, Host, Outcome, Pair, Sender, Task, pairs
from demo.stories.rest import Json, MarathonApi

REPORT_LIMIT = 1 << 20
MEASURE = (sys.executable, "-m", "demo.stories.measure")


class MeasureError(Exception):
    """A measurement could not be made."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A task with all that is known of it."""

    task_id: str
    app_id: str
    task: Task
    pid: int | None
    kernel_address: str | None
    address: str | None
    verdict: str
    reason: str
    running: bool
    #: On its host's network: no affair of the product's.
    on_host: bool = False

    @property
    def settled(self) -> bool:
        """True once Marathon, the product and the kernel agree that it is in place."""
        if self.on_host:
            return self.running and self.kernel_address is not None
        return (
            self.running
            and self.verdict == "IN_SYNC"
            and self.address is not None
            and self.address == self.kernel_address
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """All tasks and hosts at one moment."""

    actors: tuple[Actor, ...]
    hosts: tuple[Host, ...]
    pid_by_host: Mapping[str, int] = field(default_factory=dict)

    @property
    def senders(self) -> tuple[Sender, ...]:
        """Whoever may try to connect: hosts, then tasks that have a process."""
        return (*self.hosts, *(actor.task for actor in self.actors if actor.pid))

    @property
    def targets(self) -> tuple[Task, ...]:
        """Every task that can be tried: one with an address in the kernel."""
        return tuple(actor.task for actor in self.actors if actor.kernel_address)

    def actors_of(self, app_id: str) -> tuple[Actor, ...]:
        """The tasks of one app, the oldest first."""
        return tuple(actor for actor in self.actors if actor.app_id == app_id)

    def of_task(self, task_id: str) -> Actor | None:
        """One task by its id."""
        return next((actor for actor in self.actors if actor.task_id == task_id), None)


class Commands(Protocol):
    """What is asked of the master again and again."""

    def product(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `marathon-calico` with these arguments."""

    def measure(self, what: str, text: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m demo.stories.measure` with this input."""


@dataclass(frozen=True, slots=True)
class Started:
    """Starts each command."""

    cluster: Cluster

    def product(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `marathon-calico` with these arguments."""
        return self.cluster.product(*arguments)

    def measure(self, what: str, text: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m demo.stories.measure` with this input."""
        return self.cluster.run(MASTER, (*MEASURE, what), text)


class Watcher:
    """Looks at the tasks of the apps that it was told to expect.

    It remembers under which definition of its app a task was first seen.
    """

    def __init__(
        self, cluster: Cluster, marathon: MarathonApi, commands: Commands | None = None
    ) -> None:
        self._cluster = cluster
        self._marathon = marathon
        self._commands = commands or Started(cluster)
        self._app_by_id: dict[str, Json] = {}
        self._app_by_task: dict[str, Json] = {}
        self._has_pools = False

    def expect(self, app_id: str, app: Json) -> None:
        """From now on, new tasks of the app have these groups and ports."""
        self._app_by_id[app_id] = app

    def look(self, verdicts: bool = True) -> Scene:
        """Read Marathon, the kernel and, for the verdicts, the product, once each."""
        tasks = [task for task in self._marathon.tasks() if task.app_id in self._app_by_id]
        status = self._cluster.control.status()
        address_by_host = {host.name: host.address for host in status.hosts}
        workers = [name for name in address_by_host if name != MASTER]
        kernel = self._measure("look", [(address_by_host[n], MESOS_AGENT_PORT) for n in workers])
        rows = {row["task"]: row for row in (self._get_tasks() if verdicts else ())}
        names = _names([(task.task_id, task.app_id) for task in tasks])
        actors = []
        for task in tasks:
            app = self._app_by_task.setdefault(task.task_id, self._app_by_id[task.app_id])
            row = rows.get(task.task_id, {})
            seen = kernel.get(task.task_id, {})
            actors.append(
                Actor(
                    task.task_id,
                    task.app_id,
                    Task(names[task.task_id], task.host, *policy(app)),
                    seen.get("pid"),
                    seen.get("address"),
                    next(iter(row.get("addresses", ())), None),
                    row.get("verdict", "UNKNOWN"),
                    row.get("reason", ""),
                    task.running,
                    is_on_host(app),
                )
            )
        # The master has no agent; Marathon's address there may reach what the groups forbid.
        hosts = tuple(Host(name) for name in workers)
        return Scene(tuple(actors), hosts, {host.name: host.pid for host in status.hosts})

    def reach(self, scene: Scene, port: int | None = None) -> dict[Pair, Outcome]:
        """Try every pair: on the declared ports, or on the given one."""
        wanted = pairs(scene.senders, scene.targets, port)
        address_by_name = {actor.task.name: actor.kernel_address for actor in scene.actors}
        return self._try(
            scene, {pair: (address_by_name[pair.target] or "", pair.port) for pair in wanted}
        )

    def reach_address(self, scene: Scene, address: str, port: int) -> dict[Pair, Outcome]:
        """Try one address from everywhere."""
        wanted = {Pair(s.name, address, port): (address, port) for s in scene.senders}
        return self._try(scene, wanted)

    def hosts_registered(self) -> int:
        """How many hosts' agents can give tasks a network that they find: they are registered.

        None as long as no controller led, for the pool is its work.
        """
        return len(self._registered())

    def hosts_ready(self) -> int:
        """How many hosts' agents can give tasks a network, also before those start.

        An agent that is new does so once a leader has renewed its lease twice.
        """
        agents = [(row["address"], AGENT_PORT) for row in self._registered()]
        return sum(self._measure("attaching", agents)) if agents else 0

    def _registered(self) -> Sequence[Json]:
        if not self._has_pools:
            self._has_pools = bool(self._listed("pools"))
        return self._listed("hosts") if self._has_pools else ()

    def _listed(self, what: str) -> Sequence[Json]:
        result = self._commands.product("get", what, "-o", "json")
        try:
            listed: Sequence[Json] = json.loads(result.stdout)
        except ValueError:
            # Nothing to read yet: etcd is starting.
            return ()
        return listed

    def knows(self, task_id: str) -> bool:
        """Whether the product still lists a task."""
        return any(row["task"] == task_id for row in self._get_tasks())

    def _try(self, scene: Scene, targets: Mapping[Pair, tuple[str, int]]) -> dict[Pair, Outcome]:
        pid_by_name = dict(scene.pid_by_host) | {
            actor.task.name: actor.pid for actor in scene.actors if actor.pid
        }
        rows = [
            {"pid": pid_by_name[pair.source], "address": address, "port": port}
            for pair, (address, port) in targets.items()
        ]
        outcomes = self._measure("reach", rows)
        return {pair: Outcome(word) for pair, word in zip(targets, outcomes, strict=True)}

    def _get_tasks(self) -> Sequence[Json]:
        result = self._commands.product("get", "tasks", "-o", "json")
        try:
            rows: Sequence[Json] = json.loads(result.stdout)
        except ValueError as error:
            raise MeasureError(f"marathon-calico get tasks: {result.stderr.strip()}") from error
        return rows

    def _measure(self, what: str, given: object) -> Any:
        result = self._commands.measure(what, json.dumps(given))
        if result.returncode != 0:
            raise MeasureError(f"measuring {what}: {result.stderr.strip()}")
        return json.loads(result.stdout)


class Observers:
    """A process on each host that times how soon it reaches each of the host's tasks."""

    def __init__(self, cluster: Cluster, ports: Mapping[str, int]) -> None:
        self._cluster = cluster
        self._ports = ports
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Observers:
        self._reports = self._stack.enter_context(tempfile.TemporaryFile(mode="w+b"))
        given = json.dumps(self._ports).encode()
        for host in self._cluster.control.status().hosts:
            if host.name == MASTER:
                continue
            process = self._cluster.popen(
                host.name,
                (*MEASURE, "observe", host.address, str(MESOS_AGENT_PORT)),
                stdin=subprocess.PIPE,
                stdout=self._reports,
                interruptible=False,
            )
            self._stack.enter_context(process)
            self._processes.append(process)
            assert process.stdin is not None
            process.stdin.write(given)
            process.stdin.close()
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._processes:
            process.kill()
        self._stack.close()

    def reachable(self) -> dict[str, float]:
        """Seconds from a task's start until its host reached it, for each task so far."""
        # Read by offset: the observers go on to write at the end of the same file.
        content = os.pread(self._reports.fileno(), REPORT_LIMIT, 0)
        reports = [
            json.loads(line) for line in content.splitlines(keepends=True) if line[-1:] == b"\n"
        ]
        return {report["task"]: report["reachable"] for report in reports}


def is_on_host(app: Json) -> bool:
    """Whether an app's definition leaves its tasks on their hosts' network."""
    return "ipAddress" not in app


def policy(app: Json) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Groups and declared TCP ports of an app's definition.

    Nothing keeps anybody from what is on its host's network: it is public.
    """
    if is_on_host(app):
        return (PUBLIC,), tuple(app["ports"])
    network = app["ipAddress"]
    ports = network.get("discovery", {}).get("ports", ())
    return (
        tuple(network.get("groups", ())),
        tuple(port["number"] for port in ports if port.get("protocol", "tcp") == "tcp"),
    )


def _names(tasks: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A short name for each task: the app's, and the older ones of an app say so."""
    newest = {app_id: task_id for task_id, app_id in tasks}
    names = {}
    olds: dict[str, int] = {}
    for task_id, app_id in tasks:
        short = app_id.rsplit("/", 1)[-1]
        if newest[app_id] == task_id:
            names[task_id] = short
        else:
            olds[app_id] = olds.get(app_id, 0) + 1
            number = "" if olds[app_id] == 1 else f" {olds[app_id]}"
            names[task_id] = f"{short} (old{number})"
    return names

"""Finds tasks of Mesos' Docker containerizer by what the engine says of its containers.

Which task a container is, its Mesos agent knows best: the container's name
holds the id that Mesos gave it. Where Mesos says nothing of it, its label
(Marathon 1.5 and newer) or its environment tells, which are an app's own words:
a container of which they say different things is no task's.
"""

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from calico.dataplane.namespaces import now
from calico.model import ContainerId, TaskId
from reconciler.agent.locators.api import (
    Identify,
    Located,
    LocatorName,
    LocatorUnavailable,
    identify_all,
)
from reconciler.agent.locators.docker_api import (
    ContainerHangs,
    Conversation,
    DockerContainer,
    DockerEngine,
    EngineHangs,
)
from reconciler.agent.locators.mesos_agent import MesosAgent

#: Seconds that an engine which did not answer in time is let alone: the other
#: locators shall not wait for it at every search.
REST = 10.0
#: Seconds that a container is passed over of which the engine did not tell in
#: time, longer than the engine's own rest: or else the same ones would end
#: every search. So many in one search are taken for the engine's fault.
HUNG_REST = 60.0
MOST_HUNG = 2
OURS = "none"
#: `mesos-ID`, and from Mesos 0.23 to 1.3 `mesos-AGENT.ID`.
_NAME = re.compile(r"mesos-(?:[^.]+\.)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)
#: The executor's own container, where Mesos runs executors in Docker too.
_EXECUTOR = re.compile(r"mesos-.+\.executor", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """What does not change of a container that says whose it is."""

    container: ContainerId | None
    named: frozenset[TaskId]


def claim_of(container: DockerContainer) -> Claim:
    """Whose a container may be, by its name, its label and its environment."""
    if _EXECUTOR.fullmatch(container.name):
        return Claim(None, frozenset())
    match = _NAME.fullmatch(container.name)
    named = (container.labelled, container.told)
    return Claim(
        ContainerId(match[1]) if match else None,
        frozenset(TaskId(task) for task in named if task),
    )


@dataclass(frozen=True, slots=True)
class Sighting:
    """A container that is one of some tasks, unless what it says is disputed."""

    container: DockerContainer
    tasks: frozenset[TaskId]
    disputed: bool = False


class DockerLocator:
    """Asks one engine, and a Mesos agent about its containers; used by one thread."""

    name: LocatorName = "docker"

    def __init__(
        self,
        engine: DockerEngine,
        mesos: MesosAgent,
        identify: Identify,
        own: Collection[int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._engine = engine
        self._mesos = mesos
        self._identify = identify
        self._own = own
        self._claims: dict[str, Claim] = {}
        self._known: Mapping[ContainerId, frozenset[TaskId]] = {}
        self._rests_until = float("-inf")
        self._hung_until: dict[str, float] = {}
        self._hung: list[ContainerHangs] = []

    def find(self, tasks: Collection[TaskId]) -> Located:
        """Look for some tasks among the engine's containers."""
        if self._monotonic() < self._rests_until:
            raise LocatorUnavailable(f"{self._engine} did not answer in time a moment ago")
        asked = now()
        self._hung = []
        try:
            fresh = self._take_in()
            silent = self._ask_mesos()
            sightings = list(self._sightings(frozenset(tasks), fresh))
        except EngineHangs:
            self._rests_until = self._monotonic() + REST
            raise
        located = locate_containers(sightings, self._identify, self._own, asked)
        if silent and located == Located() and any(map(self._is_nobodys, self._claims.values())):
            raise LocatorUnavailable(silent)
        if self._hung and located == Located():
            raise self._hung[0]
        return located

    def _take_in(self) -> Mapping[str, DockerContainer]:
        """Learn what runs; tells of the containers that were not known."""
        fresh: dict[str, DockerContainer] = {}
        with self._engine.conversation() as talk:
            running = frozenset(talk.running())
            self._claims = {each: claim for each, claim in self._claims.items() if each in running}
            self._hung_until = {k: v for k, v in self._hung_until.items() if k in running}
            for each in running - self._claims.keys():
                container = self._inspect(talk, each)
                if container is not None:
                    fresh[each] = container
                    self._claims[each] = claim_of(container)
        return fresh

    def _inspect(self, talk: Conversation, container: str) -> DockerContainer | None:
        """What a container is; None also if it hangs, or hung a moment ago."""
        if self._monotonic() < self._hung_until.get(container, float("-inf")):
            return None
        try:
            return talk.inspect(container)
        except ContainerHangs as error:
            self._hung_until[container] = self._monotonic() + HUNG_REST
            self._hung.append(error)
            if len(self._hung) >= MOST_HUNG:
                raise
            return None

    def _ask_mesos(self) -> str:
        """Learn whose the containers are that Mesos named; tells why that cannot be."""
        named = {claim.container for claim in self._claims.values()} - {None}
        if named <= self._known.keys():
            return ""
        try:
            self._known = self._mesos.tasks_by_container()
        except LocatorUnavailable as error:
            return str(error)
        return ""

    def _sightings(
        self, tasks: frozenset[TaskId], fresh: Mapping[str, DockerContainer]
    ) -> Iterator[Sighting]:
        """What runs now and may be one of some tasks."""
        with self._engine.conversation() as talk:
            for each, claim in self._claims.items():
                owners = self._owners(claim)
                if owners & tasks:
                    # What runs in a container that was known before may be new.
                    container = fresh.get(each) or self._inspect(talk, each)
                    if container is not None:
                        yield Sighting(container, owners & tasks, self._is_disputed(claim))

    def _owners(self, claim: Claim) -> frozenset[TaskId]:
        return self._known.get(claim.container, claim.named) if claim.container else claim.named

    def _is_disputed(self, claim: Claim) -> bool:
        return claim.container not in self._known and len(claim.named) > 1

    def _is_nobodys(self, claim: Claim) -> bool:
        """Whether only Mesos could tell whose it is."""
        return claim.container is not None and not self._owners(claim)


def locate_containers(
    sightings: Collection[Sighting], identify: Identify, own: Collection[int], asked: int
) -> Located:
    """The namespaces of the containers that are on no network, and why others have none."""
    pids: list[tuple[TaskId, int]] = []
    refused: dict[TaskId, str] = {}
    for seen in sightings:
        why = _why_not(seen)
        for task in seen.tasks:
            if why:
                refused[task] = why
            elif seen.container.pid:
                pids.append((task, seen.container.pid))
    found = identify_all(pids, identify, own, asked)
    # Another container that says so takes nothing away from one that was found.
    others = {task: why for task, why in refused.items() if task not in found.namespaces}
    return Located(found.namespaces, {**others, **found.refused})


def _why_not(seen: Sighting) -> str:
    if seen.disputed:
        return (
            f"Docker container {seen.container.name!r} says that it is one task by its label"
            " and another by its environment"
        )
    if seen.container.network != OURS:
        return (
            f"Docker container {seen.container.name!r} is on Docker's network"
            f" {seen.container.network!r}: deploy the app with the network NONE"
        )
    return ""

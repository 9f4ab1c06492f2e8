"""Which containers are being attached and detached, by which isolator.

Everything here is called by the agent's loop thread but for the isolators
themselves, which work in the background: one call at a time for a container.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Protocol, TypeVar

from demo.mesos.containers.container import Container
from demo.mesos.isolators.api import Attached, IsolationFailed, Isolator
from demo.mesos.isolators.cni import CniIsolator
from demo.mesos.isolators.netmodules import NetModulesIsolator
from demo.mesos.records import GroupOrder, Isolation

log = logging.getLogger(__name__)

T = TypeVar("T")


class Background(Protocol):
    """Runs something off the loop; what it returned or raised comes back on the loop."""

    def __call__(
        self, work: Callable[[], T], done: Callable[[T | IsolationFailed], None], /
    ) -> None: ...


class Attachments:
    """Calls the isolators of one agent."""

    def __init__(
        self,
        isolators: Iterable[Isolator],
        background: Background,
        undone: Callable[[str], None],
    ) -> None:
        self._isolators = {isolator.name: isolator for isolator in isolators}
        self._background = background
        self._undone = undone
        self._attaching: set[str] = set()
        self._unwanted: set[str] = set()

    def isolator_of(self, group: GroupOrder) -> str:
        """What attaches these tasks, empty for nothing.

        Named networks are CNI's; what is left is net-modules', which knows no names.
        """
        if group.isolation is not Isolation.NAMESPACE or not group.networks:
            return ""
        named = any(info.get("name") for info in group.networks)
        if named and CniIsolator.name in self._isolators:
            return CniIsolator.name
        return NetModulesIsolator.name if NetModulesIsolator.name in self._isolators else ""

    def attach(
        self, container: Container, pid: int, done: Callable[[Attached | IsolationFailed], None]
    ) -> None:
        """Attach the namespace of a held process; `done` is told unless it is ended before."""
        container_id, name = container.container_id, container.isolator
        isolator, networks = self._isolators[name], container.group.networks
        self._attaching.add(container_id)

        def attached(result: Attached | IsolationFailed) -> None:
            self._attaching.discard(container_id)
            if container_id not in self._unwanted:
                done(result)
                return
            self._unwanted.discard(container_id)
            self.detach(container_id, name)

        self._background(lambda: isolator.attach(container_id, pid, networks), attached)

    def detach(self, container_id: str, name: str) -> None:
        """Undo all of it, also what failed; what cannot be undone is tried at the next start."""
        if container_id in self._attaching:
            self._unwanted.add(container_id)
            return
        isolator = self._isolators.get(name)
        if isolator is None:
            log.warning("no isolator", extra={"container": container_id, "isolator": name})
            return

        def detached(result: IsolationFailed | None) -> None:
            if isinstance(result, IsolationFailed):
                reason = str(result)
                log.warning("not detached", extra={"container": container_id, "reason": reason})
            else:
                self._undone(container_id)

        self._background(lambda: isolator.detach(container_id), detached)

    def sweep(self, known: Collection[str]) -> None:
        """Undo what earlier runs left of containers that nobody knows any more."""
        for name, isolator in self._isolators.items():
            for container_id in sorted(isolator.leftovers().difference(known)):
                log.info("orphaned container", extra={"container": container_id})
                self.detach(container_id, name)

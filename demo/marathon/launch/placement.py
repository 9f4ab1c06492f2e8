"""Where new instances go, by which ids and ports, and the orders that start them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from demo.marathon.core.effects import Launch, LaunchGroup
from demo.marathon.core.plan import eligible_hosts
from demo.marathon.core.state import App, Part, Task
from demo.marathon.definitions.commands import CommandRule
from demo.marathon.definitions.pods import endpoint_requests
from demo.marathon.definitions.ports import FIRST_HOST_PORT, host_ports, requested_ports
from demo.marathon.era import Era
from demo.marathon.launch.identity import (
    app_task_id,
    next_incarnation,
    pod_instance_id,
    pod_task_id,
)
from demo.marathon.launch.offers import CONSTRAINT, PORTS, Declined, Offers
from demo.marathon.launch.orders import render_group_order, render_order
from demo.mesos.records import AppId, HostName, PortRanges

SPARE_APP_PORTS = 1000


class Placement:
    """Goes round the hosts and their ports, so that neither is used up at one end."""

    def __init__(
        self,
        hosts: Sequence[HostName],
        era: Era,
        rule: CommandRule,
        new_uuid: Callable[[], uuid.UUID],
    ) -> None:
        self._hosts = hosts
        self._era = era
        self._rule = rule
        self._new_uuid = new_uuid
        self.offers = Offers()
        self._relaunched: dict[AppId, list[Task]] = {}
        self._next_host = 0
        self._next_port = 0

    def place(
        self,
        app: App,
        own: Collection[Task],
        tasks: Iterable[Task],
        offered: Mapping[HostName, PortRanges],
        when: str,
    ) -> Task | None:
        """One more instance on the next host that takes it, beside its own and all tasks.

        `offered` are the ports of every host that can be given tasks now.
        """
        allowed = eligible_hosts(app, own, [host for host in self._hosts if host in offered])
        requests = (endpoint_requests if app.is_pod else requested_ports)(app.definition)
        # Who asks for no port need not know those that are taken.
        taken = {(task.host, port) for task in tasks for port in task.ports} if requests else set()
        declined: list[Declined] = []
        for offset in range(len(self._hosts)):
            index = (self._next_host + offset) % len(self._hosts)
            host = self._hosts[index]
            if host not in offered:
                continue
            if host not in allowed:
                declined.append(Declined(host, CONSTRAINT))
                continue
            there = {port for at, port in taken if at == host}
            ports = host_ports(requests, offered[host], there, self._next_port)
            if ports is None:
                declined.append(Declined(host, PORTS))
                continue
            self._next_host = index + 1
            self._next_port += len(ports)
            self.offers.looked(app.id, declined, True, when)
            return self._new_task(app, host, ports, when)
        self.offers.looked(app.id, declined, False, when)
        return None

    def ended(self, task: Task) -> None:
        """A task has ended by itself: since 1.8 its instance lives on with another one."""
        # A task of before the upgrade has no number to count on.
        numbered = all(task_id.rpartition(".")[2].isdigit() for task_id in task.task_ids)
        if self._era.numbers_incarnations and numbered:
            self._relaunched.setdefault(task.app_id, []).append(task)

    def forget(self, app_id: AppId) -> None:
        """Begin with instances of their own: the app's tasks are to be others, or none."""
        self._relaunched.pop(app_id, None)
        self.offers.forget(app_id)

    def order(self, app: App, task: Task, framework_id: str) -> Launch | LaunchGroup:
        """What the instance's host is asked to start."""
        if app.is_pod:
            group = render_group_order(app, task, self._rule, framework_id)
            return LaunchGroup(task.host, task.id, group)
        order = render_order(app, task, self._rule, framework_id, self._era, self._app_port)
        return Launch(task.host, order)

    def _new_task(self, app: App, host: HostName, ports: tuple[int, ...], when: str) -> Task:
        ended = self._relaunched.get(app.id)
        if ended:
            return _again(ended.pop(0), app, host, ports, when)
        unique = self._new_uuid()
        parts: tuple[Part, ...] = ()
        if app.is_pod:
            task_id = pod_instance_id(app.id, unique)
            names = [container["name"] for container in app.definition["containers"]]
            parts = tuple(Part(pod_task_id(task_id, name, self._era), name) for name in names)
        else:
            task_id = app_task_id(app.id, unique, self._era)
        return Task(
            id=task_id,
            app_id=app.id,
            host=host,
            version=app.version,
            staged_at=when,
            ports=ports,
            parts=parts,
        )

    def _app_port(self) -> int:
        # Inside a namespace of its own any number is free; these are nobody else's.
        self._next_port += 1
        return FIRST_HOST_PORT - SPARE_APP_PORTS + self._next_port % SPARE_APP_PORTS


def _again(ended: Task, app: App, host: HostName, ports: tuple[int, ...], when: str) -> Task:
    """The next incarnation of an instance; a pod's keeps its id, its tasks do not."""
    parts = tuple(Part(next_incarnation(part.id), part.name) for part in ended.parts)
    task_id = ended.id if parts else next_incarnation(ended.id)
    return Task(
        id=task_id,
        app_id=app.id,
        host=host,
        version=app.version,
        staged_at=when,
        ports=ports,
        parts=parts,
    )

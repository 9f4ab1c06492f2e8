"""What time brings to containers: deadlines, addresses that come late, health checks."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import msgspec

from demo.mesos.containers.container import Container, render_duration
from demo.mesos.containers.lifecycle import Containers

log = logging.getLogger(__name__)


class Overseer:
    """Called by the agent's loop thread whenever something is due."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def next_at(self) -> float | None:
        """When `tick` has something to do, on the monotonic clock."""
        moments = [self._containers.checks.next_at()]
        for container in self._containers.registry.all():
            moments += [container.register_by, container.addresses_at]
            moments += [member.kill_at for member in container.members]
        return min((moment for moment in moments if moment is not None), default=None)

    def tick(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        for container in self._containers.registry.all():
            if container.register_by is not None and container.register_by <= now:
                patience = render_duration(self._containers.rules.registration)
                self._containers.fail(container, f"Executor did not register within {patience}")
                continue
            self._end_overdue(container, now)
            if container.addresses_at is not None and container.addresses_at <= now:
                self._tell_addresses(container.container_id)
        self._look(now)

    def checked(self, key: str, well: bool, message: str) -> None:
        """A check has a result."""
        verdict = self._containers.checks.result(key, well, time.monotonic())
        if verdict is None:
            return
        if not well:
            log.info("check failed", extra={"task": verdict.task_id, "reason": message})
        container = self._containers.registry.of_task(verdict.task_id)
        if container is None:
            return
        member = container.member(verdict.task_id)
        if member.record.healthy != verdict.healthy:
            record = msgspec.structs.replace(member.record, healthy=verdict.healthy)
            self._containers.keep(container.with_member(replace(member, record=record)))
        if verdict.kill:
            self._containers.kill(verdict.task_id)

    def _end_overdue(self, container: Container, now: float) -> None:
        overdue = [m for m in container.members if m.kill_at is not None and m.kill_at <= now]
        if not overdue:
            return
        self._containers.end_members(*(member.task_id for member in overdue))
        again = now + self._containers.rules.kill_grace
        for member in overdue:
            container = container.with_member(replace(member, kill_at=again))
        self._containers.registry.put(container)

    def _tell_addresses(self, container_id: str) -> None:
        container = self._containers.registry.get(container_id)
        if container is not None:
            self._containers.keep(replace(container, addresses_at=None))

    def _look(self, now: float) -> None:
        for key, health in self._containers.checks.take_due(now):
            container = self._containers.registry.of_task(health.task_id)
            if container is not None:
                self._containers.check(container, key, health)

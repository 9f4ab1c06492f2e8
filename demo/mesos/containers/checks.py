"""When an executor looks whether its tasks are well, and what the results mean; no IO, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from demo.mesos.records import HealthCheck, TaskId


@dataclass(frozen=True, slots=True)
class Health:
    """One check of one task and what became of it so far."""

    task_id: TaskId
    check: HealthCheck
    began: float
    next_at: float
    looking: bool = False
    well: bool | None = None
    ever_well: bool = False
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a result says of its task; `kill` once it has failed too often in a row."""

    task_id: TaskId
    healthy: bool | None
    kill: bool


class Checks:
    """The checks of all tasks of one agent."""

    def __init__(self) -> None:
        self._by_id: dict[str, Health] = {}

    def begin(self, task_id: TaskId, checks: Sequence[HealthCheck], now: float) -> None:
        """The task runs from now on."""
        for index, check in enumerate(checks):
            self._by_id[f"{task_id}#{index}"] = Health(
                task_id=task_id, check=check, began=now, next_at=now + check.delay
            )

    def end(self, task_id: TaskId) -> None:
        """The task has ended; results that come later say nothing."""
        for key in [key for key, health in self._by_id.items() if health.task_id == task_id]:
            del self._by_id[key]

    def next_at(self) -> float | None:
        """When to look again."""
        waiting = [health.next_at for health in self._by_id.values() if not health.looking]
        return min(waiting, default=None)

    def take_due(self, now: float) -> list[tuple[str, Health]]:
        """The checks to be made now, each under the id that its result is to carry."""
        due = [(k, h) for k, h in self._by_id.items() if not h.looking and h.next_at <= now]
        for key, health in due:
            self._by_id[key] = replace(health, looking=True)
        return due

    def result(self, key: str, well: bool, now: float) -> Verdict | None:
        """Take one result; None if its task has ended.

        A task that has never been well may fail for as long as its grace lasts.
        """
        health = self._by_id.get(key)
        if health is None:
            return None
        excused = not well and not health.ever_well and now < health.began + health.check.grace
        failures = 0 if well or excused else health.failures + 1
        health = replace(
            health,
            looking=False,
            next_at=now + health.check.interval,
            well=health.well if excused else well,
            ever_well=health.ever_well or well,
            failures=failures,
        )
        self._by_id[key] = health
        results = [h.well for h in self._by_id.values() if h.task_id == health.task_id]
        healthy = None if None in results else all(results)
        if False in results:
            healthy = False
        return Verdict(health.task_id, healthy, 0 < health.check.failures <= failures)

    def forget_looks(self, now: float) -> None:
        """Whoever was looking has ended: look again."""
        for key, health in self._by_id.items():
            if health.looking:
                self._by_id[key] = replace(health, looking=False, next_at=now)

"""Whether tasks are well: results of checks, and what follows from them; no IO.

Results are in memory only: after a start nothing is known of any task's health,
as after a change of Marathon's leader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from demo.marathon.core.plan import runs
from demo.marathon.core.results import CheckResult, judge
from demo.marathon.core.state import State, Task, timestamp
from demo.marathon.definitions.checks import BY_EXECUTOR, BY_MARATHON, checked_port
from demo.marathon.era import Era
from demo.marathon.replies import events
from demo.mesos.records import Json, TaskId


@dataclass(frozen=True, slots=True)
class Target:
    """One check that Marathon itself does, again and again.

    Without an address or a port there is nothing to ask, which counts as a
    failure.
    """

    task_id: TaskId
    index: int
    protocol: str
    address: str | None
    port: int | None
    path: str
    interval: float
    timeout: float
    ignore_1xx: bool = False


class Health:
    """What is known of the health of every task."""

    def __init__(
        self,
        state: State,
        era: Era,
        publish: Callable[[events.Event], None],
        kill: Callable[[Task, float], None],
    ) -> None:
        self._state = state
        self._era = era
        self._publish = publish
        self._kill = kill
        self._results: dict[TaskId, dict[int, CheckResult]] = {}
        #: Grace periods begin anew with every run of Marathon.
        self.began = 0.0

    def checks(self, task: Task) -> list[Json]:
        """The checks of the task's own version of its app."""
        versions = self._state.versions.get(task.app_id, {})
        app = versions.get(task.version) or self._state.apps.get(task.app_id)
        return [] if app is None else app.definition.get("healthChecks") or []

    def results(self, task: Task) -> list[CheckResult]:
        """The results that there are, in the order of the checks."""
        return [result for _, result in sorted(self._results.get(task.id, {}).items())]

    def alive(self, task: Task) -> bool | None:
        """True if every check says so; None without checks, or before any result."""
        if task.parts:
            return self._pod_alive(task)
        wanted, results = self.checks(task), self.results(task)
        if not wanted or not results:
            return None
        if not all(result.alive for result in results):
            return False
        return True if len(results) == len(wanted) else None

    def is_ready(self, task: Task) -> bool:
        """True for a task that runs, and is well if anybody looks."""
        if not runs(task):
            return False
        needs = self._pod_checks(task) if task.parts else bool(self.checks(task))
        return not needs or self.alive(task) is True

    def targets(self) -> frozenset[Target]:
        """Everything that Marathon itself has to look at now."""
        return frozenset(self._targets())

    def executor_says(self, task: Task, now: float) -> None:
        """Take over what the task's own executor reports."""
        for index, check in enumerate(self.checks(task)):
            if check["protocol"] in BY_EXECUTOR and task.healthy is not None:
                cause = None if task.healthy else "the executor reports the task as unhealthy"
                self.found(task, index, cause, now)
                return

    def found(self, task: Task, index: int, cause: str | None, now: float) -> None:
        """One look at a task; after too many failures in a row the task is ended."""
        checks = self.checks(task)
        if not runs(task) or task.killing or index >= len(checks):
            return
        check, when, before = checks[index], timestamp(now), self.alive(task)
        previous = self._results.get(task.id, {}).get(index, CheckResult())
        if cause is not None and previous.first_success is None:
            started = max(self.began, _started(task, now))
            if now < started + check["gracePeriodSeconds"]:
                return
        result = judge(previous, cause, when)
        self._results.setdefault(task.id, {})[index] = result
        if cause is not None:
            self._publish(events.failed_health_check(when, task, check, self._era))
        if result.alive is not previous.alive:
            event = events.health_status_changed(when, task, result.alive, self._era)
            self._publish(event)
        if self._era.has_instances and self.alive(task) is not before:
            self._publish(events.instance_health_changed(when, task, self.alive(task)))
        most = check["maxConsecutiveFailures"]
        if cause is not None and 0 < most <= result.consecutive_failures:
            if self._era.reports_task_state:
                self._publish(events.unhealthy_kill(when, task, cause, self._era))
            self._kill(task, now)

    def forget(self, task_id: TaskId) -> None:
        """The task has ended."""
        self._results.pop(task_id, None)

    def _targets(self) -> Iterator[Target]:
        for app_id, tasks in self._state.tasks.items():
            versions = self._state.versions.get(app_id, {}).values()
            if not any(app.definition.get("healthChecks") for app in versions):
                continue
            for task in tasks.values():
                if not runs(task) or task.killing or task.parts:
                    continue
                for index, check in enumerate(self.checks(task)):
                    if check["protocol"] in BY_MARATHON:
                        yield self._target(task, index, check)

    def _target(self, task: Task, index: int, check: Json) -> Target:
        versions = self._state.versions.get(task.app_id, {})
        app = versions.get(task.version) or self._state.apps[task.app_id]
        return Target(
            task_id=task.id,
            index=index,
            protocol=check["protocol"],
            # A task on its host's network has the host's address here.
            address=task.addresses[0] if task.addresses else None,
            port=checked_port(app.definition, check, task.ports),
            path=check.get("path", "/"),
            interval=float(check["intervalSeconds"]),
            timeout=float(check["timeoutSeconds"]),
            ignore_1xx=check.get("ignoreHttp1xx", False),
        )

    def _pod_checks(self, task: Task) -> bool:
        versions = self._state.versions.get(task.app_id, {})
        app = versions.get(task.version) or self._state.apps.get(task.app_id)
        containers: list[Json] = [] if app is None else app.definition["containers"]
        return any(container.get("healthCheck") is not None for container in containers)

    def _pod_alive(self, task: Task) -> bool | None:
        known = [part.healthy for part in task.parts if part.healthy is not None]
        return all(known) if known else None


def _started(task: Task, now: float) -> float:
    return now if task.started_at is None else datetime.fromisoformat(task.started_at).timestamp()

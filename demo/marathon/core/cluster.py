"""Marathon's mind: changes come in, tasks and events come out; no IO, no clock.

It is driven by one thread. What should happen outside is gathered as effects,
to be carried out once the state that led to them is stored.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import msgspec

from demo.marathon.core.deployments import Change, Deployments
from demo.marathon.core.effects import Effect, Kill, Launch, Publish
from demo.marathon.core.environment import render_order
from demo.marathon.core.plan import eligible_hosts, plan_app, waiting_apps
from demo.marathon.core.state import (
    App,
    State,
    Task,
    timestamp,
)
from demo.marathon.definitions.commands import CommandRule
from demo.marathon.definitions.ports import FIRST_HOST_PORT, host_ports
from demo.marathon.era import Era
from demo.marathon.replies import events
from demo.mesos.records import AppId, HostName, Json, TaskId, TaskReport, TaskState

KILL_AGAIN_SECONDS = 2.0
PLACE_AGAIN_SECONDS = 1.0
SPARE_APP_PORTS = 1000


class Cluster:
    """The apps, tasks and deployments of one Marathon."""

    def __init__(
        self,
        state: State,
        hosts: Sequence[HostName],
        era: Era,
        rule: CommandRule,
        new_uuid: Callable[[], uuid.UUID] = uuid.uuid1,
    ) -> None:
        self.state = state
        self.hosts = hosts
        self.era = era
        self._rule = rule
        self._new_uuid = new_uuid
        self._deployments = Deployments(state, era, rule, self._publish, self.look_at)
        self._effects: list[Effect] = []
        self._dirty: set[AppId] = set()
        self._due: dict[AppId, float] = {}
        self._not_before: dict[AppId, float] = {}
        self._killed_at: dict[TaskId, float] = {}
        self._app_by_task: dict[TaskId, AppId] = {}
        self._reachable: set[HostName] = set()
        self._next_host = 0
        self._next_port = 0

    def take_effects(self) -> list[Effect]:
        """What is to be done outside since the last time, in order."""
        taken, self._effects = self._effects, []
        return taken

    def next_wake(self) -> float | None:
        """When to settle again although nothing has come in."""
        again = [moment + KILL_AGAIN_SECONDS for moment in self._killed_at.values()]
        return min((*again, *self._due.values()), default=None)

    def change(self, change: Change, now: float) -> Json:
        """Accept a mutation and begin to deploy it; raises ApiError instead."""
        before = dict(self.state.apps)
        result = self._deployments.begin(change, now)
        for app_id, app in self.state.apps.items():
            if app is not before.get(app_id):
                # A new definition is not held back for what the last one did.
                self._not_before.pop(app_id, None)
        return result

    def cancel(self, deployment_id: str, now: float) -> None:
        """Forget a deployment; what it changed stays changed."""
        self._deployments.cancel(deployment_id, now)

    def kill(self, tasks: Collection[Task], now: float) -> None:
        """Begin to end tasks; each goes once its agent says that it has ended."""
        for task in tasks:
            if not task.killing:
                self._put(msgspec.structs.replace(task, killing=True))
            self._killed_at[task.id] = now
            if task.launched is not None:
                self._effects.append(Kill(task.host, task.id))

    def resume(self, now: float) -> None:
        """After a start: finish what was under way when the last run ended."""
        state = self.state
        self._app_by_task = {
            task_id: app_id for app_id, tasks in state.tasks.items() for task_id in tasks
        }
        self._dirty |= {*state.apps, *state.tasks}
        self._publish(events.scheduler_registered(timestamp(now), state.framework_id))
        for task in self.tasks():
            version = state.versions.get(task.app_id, {}).get(task.version)
            if task.killing:
                self._killed_at[task.id] = now - KILL_AGAIN_SECONDS
            if task.launched is None and version is not None:
                # Whether the order arrived is not known; asking twice starts one task.
                self._order(version, task)
            elif task.launched is None:
                self._remove(task, TaskState.LOST, "The order was never sent", now)

    def launched(self, task_id: TaskId, revision: int, now: float) -> None:
        """An agent has taken the order."""
        task = self.task(task_id)
        if task is not None:
            accepted = msgspec.structs.replace(task, launched=revision)
            self._put(accepted)
            if task.killing:
                self.kill([accepted], now)

    def launch_failed(self, task_id: TaskId, state: TaskState, message: str, now: float) -> None:
        """An agent has refused the order or could not be asked; tried again later."""
        task = self.task(task_id)
        if task is not None:
            self._remove(task, TaskState.KILLED if task.killing else state, message, now)

    def reported(self, host: HostName, report: TaskReport, now: float) -> None:
        """Take over what one agent says of all its tasks."""
        if host not in self._reachable:
            self._reachable.add(host)
            self._dirty |= set(self._due)
        named = set()
        for record in report.tasks:
            if record.framework_id != self.state.framework_id:
                continue
            named.add(record.task_id)
            task = self.task(record.task_id)
            if task is None:
                if not record.state.terminal:
                    # Ours, but forgotten: nobody wants it any more.
                    self._effects.append(Kill(host, record.task_id))
                continue
            if record.state.terminal:
                self._remove(task, record.state, record.message, now)
                continue
            updated = msgspec.structs.replace(
                task, state=record.state, addresses=record.addresses, slave_id=report.agent_id
            )
            if updated != task:
                self._update(updated, task.state, now)
        for task in list(self.tasks()):
            if (
                task.host == host
                and task.launched is not None
                and task.launched <= report.revision
                and task.id not in named
            ):
                gone = TaskState.KILLED if task.killing else TaskState.LOST
                self._remove(task, gone, "The agent does not know the task", now)

    def reachable(self) -> tuple[HostName, ...]:
        """Agents that have reported and still answer."""
        return tuple(sorted(self._reachable))

    def unreachable(self, host: HostName) -> None:
        """An agent cannot be asked: it keeps its tasks and is given no new ones."""
        self._reachable.discard(host)

    def settle(self, now: float) -> None:
        """Start, end and deploy until nothing more can be done right now."""
        overdue = [t for t, at in self._killed_at.items() if at + KILL_AGAIN_SECONDS <= now]
        for task_id in overdue:
            task = self.task(task_id)
            if task is None:
                del self._killed_at[task_id]
            else:
                self.kill([task], now)
        self._dirty |= {app_id for app_id, moment in self._due.items() if moment <= now}
        while self._dirty:
            looked_at, self._dirty = self._dirty, set()
            waiting = waiting_apps(self.state.deployments.values())
            for app_id in sorted(looked_at):
                self._due.pop(app_id, None)
                self._settle_app(app_id, app_id in waiting, now)
            self._deployments.advance(looked_at, now)

    def look_at(self, apps: Iterable[AppId]) -> None:
        """Settle these apps next."""
        self._dirty.update(apps)

    def seconds_until_launch(self, app_id: AppId, now: float) -> float:
        """How long the app's next task is held back."""
        return self._not_before.get(app_id, now) - now

    def reset_delay(self, app_id: AppId) -> None:
        """Start the app's next task at once."""
        self._not_before.pop(app_id, None)
        self._dirty.add(app_id)

    def task(self, task_id: TaskId) -> Task | None:
        """The task of that id, if there is one."""
        app_id = self._app_by_task.get(task_id)
        return None if app_id is None else self.state.tasks[app_id][task_id]

    def tasks(self) -> Iterator[Task]:
        """Every task that has not ended."""
        for tasks in list(self.state.tasks.values()):
            yield from list(tasks.values())

    def _settle_app(self, app_id: AppId, waiting: bool, now: float) -> None:
        app = self.state.apps.get(app_id)
        tasks = self.state.tasks.get(app_id, {})
        if app is None:
            self.kill([task for task in tasks.values() if not task.killing], now)
            return
        if waiting:
            return
        plan = plan_app(app, tasks.values())
        self.kill([tasks[task_id] for task_id in plan.kills], now)
        not_before = self._not_before.get(app_id, now)
        if plan.launches and not_before > now:
            self._due[app_id] = not_before
            return
        for _ in range(plan.launches):
            if not self._place(app, now):
                self._due[app_id] = now + PLACE_AGAIN_SECONDS
                return

    def _place(self, app: App, now: float) -> bool:
        """Start one more task on the next host that takes it; False if none does."""
        tasks = self.state.tasks.get(app.id, {})
        allowed = self._reachable.intersection(eligible_hosts(app, tasks.values(), self.hosts))
        for offset in range(len(self.hosts)):
            index = (self._next_host + offset) % len(self.hosts)
            host = self.hosts[index]
            taken = {p for task in self.tasks() if task.host == host for p in task.ports}
            ports = host_ports(app.definition, taken, self._next_port) if host in allowed else None
            if ports is None:
                continue
            self._next_host = index + 1
            self._next_port += len(ports)
            safe = app.id.strip("/").replace("/", "_")
            task = Task(
                TaskId(f"{safe}.{self._new_uuid()}"),
                app.id,
                host,
                app.version,
                timestamp(now),
                ports=ports,
            )
            self._put(task)
            self._order(app, task)
            self._announce(task, "Created", "", now)
            return True
        return False

    def _order(self, app: App, task: Task) -> None:
        program = self._rule(app.definition)
        order = render_order(app, task, program, self.state.framework_id, self._app_port)
        self._effects.append(Launch(task.host, order))

    def _app_port(self) -> int:
        # Inside a namespace of its own any number is free; these are nobody else's.
        self._next_port += 1
        return FIRST_HOST_PORT - SPARE_APP_PORTS + self._next_port % SPARE_APP_PORTS

    def _put(self, task: Task) -> None:
        self.state.tasks.setdefault(task.app_id, {})[task.id] = task
        self._app_by_task[task.id] = task.app_id

    def _update(self, task: Task, before: TaskState, now: float) -> None:
        if task.state is TaskState.RUNNING and task.started_at is None:
            task = msgspec.structs.replace(task, started_at=timestamp(now))
        self._put(task)
        self._dirty.add(task.app_id)
        condition = "" if task.state is before else events.CONDITIONS[task.state]
        self._announce(task, condition, "", now)

    def _remove(self, task: Task, state: TaskState, message: str, now: float) -> None:
        tasks = self.state.tasks[task.app_id]
        del tasks[task.id], self._app_by_task[task.id]
        if not tasks:
            del self.state.tasks[task.app_id]
        self._killed_at.pop(task.id, None)
        self._dirty.add(task.app_id)
        ended = msgspec.structs.replace(task, state=state)
        app = self.state.apps.get(task.app_id)
        if app is not None and not task.killing:
            self._not_before[app.id] = now + app.definition["backoffSeconds"]
            if state is not TaskState.FINISHED:
                self.state.failures[app.id] = _render_failure(ended, message, timestamp(now))
        if app is None:
            self.state.failures.pop(task.app_id, None)
        self._announce(ended, events.CONDITIONS[state], message, now)

    def _announce(self, task: Task, condition: str, message: str, now: float) -> None:
        when = timestamp(now)
        if self.era.has_instances and condition:
            self._publish(events.instance_changed(when, task, condition))
        if self.era.has_instances or task.state is not TaskState.STAGING:
            self._publish(events.status_update(when, task, message, self.era))

    def _publish(self, event: events.Event) -> None:
        self._effects.append(Publish(event))


def _render_failure(task: Task, message: str, when: str) -> Json:
    return {
        "appId": task.app_id,
        "host": task.host,
        "message": message,
        "state": str(task.state),
        "taskId": task.id,
        "timestamp": when,
        "version": task.version,
        "slaveId": task.slave_id,
    }

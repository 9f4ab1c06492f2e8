"""Marathon's mind: changes come in, tasks and events come out; no IO, no clock.

It is driven by one thread. What should happen outside is gathered as effects,
to be carried out once the state that led to them is stored.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import msgspec

from demo.marathon.core.deployments import Change, Deployments
from demo.marathon.core.effects import Effect, Kill, Publish
from demo.marathon.core.health import Health, Target
from demo.marathon.core.migration import migrate
from demo.marathon.core.plan import plan_app, waiting_apps
from demo.marathon.core.reports import taken_over
from demo.marathon.core.state import App, State, Task, timestamp
from demo.marathon.definitions.commands import CommandRule
from demo.marathon.definitions.pods import backoff_of
from demo.marathon.era import Era
from demo.marathon.launch.delays import Delays
from demo.marathon.launch.placement import Placement
from demo.marathon.replies import events
from demo.marathon.replies.apps import render_failure
from demo.mesos.records import (
    AppId,
    HostName,
    Json,
    PortRanges,
    TaskId,
    TaskRecord,
    TaskReport,
    TaskState,
)

KILL_AGAIN_SECONDS = 2.0
PLACE_AGAIN_SECONDS = 1.0


class Cluster:
    """The apps, tasks and deployments of one Marathon."""

    def __init__(
        self,
        state: State,
        hosts: Sequence[HostName],
        era: Era,
        rule: CommandRule,
        new_uuid: Callable[[], uuid.UUID] = uuid.uuid1,
        default_network: str | None = None,
    ) -> None:
        migrate(state, era, default_network)
        self.state = state
        self.hosts = hosts
        self.era = era
        self.default_network = default_network
        self.health = Health(state, era, self._publish, lambda task, now: self.kill([task], now))
        self._placement = Placement(hosts, era, rule, new_uuid)
        self.offers = self._placement.offers
        self._deployments = Deployments(state, era, rule, self._publish, self.look_at, self.health)
        self._effects: list[Effect] = []
        self._dirty: set[AppId] = set()
        self._due: dict[AppId, float] = {}
        self._delays = Delays()
        self._killed_at: dict[TaskId, float] = {}
        # By the instance's id and, for a pod, by those of its tasks.
        self._instance_by_id: dict[TaskId, tuple[AppId, TaskId]] = {}
        self._forgotten: set[TaskId] = set()
        # The ports of every agent that has reported and still answers.
        self._offered: dict[HostName, PortRanges] = {}

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
                self._delays.forget(app_id)
                self._placement.forget(app_id)
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
                # A pod's executor ends all of its tasks with one of them.
                self._effects.append(Kill(task.host, task.task_ids[0]))

    def resume(self, now: float) -> None:
        """After a start: finish what was under way when the last run ended."""
        state = self.state
        self.health.began = now
        for task in self.tasks():
            self._put(task)
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
        if host not in self._offered:
            self._dirty |= set(self._due)
        self._offered[host] = report.ports
        records: dict[TaskId, dict[TaskId, TaskRecord]] = {}
        for record in report.tasks:
            if record.framework_id != self.state.framework_id:
                continue
            task = self.task(record.task_id)
            if task is not None:
                records.setdefault(task.id, {})[record.task_id] = record
            elif not record.state.terminal:
                # Ours, but forgotten: nobody wants it any more.
                self._forgotten.add(record.task_id)
                self._effects.append(Kill(host, record.task_id))
            elif record.task_id in self._forgotten:
                self._forgotten.remove(record.task_id)
                if self.era.has_instances:
                    self._publish(events.unknown_terminated(timestamp(now), record))
        for task_id, said in records.items():
            self._take_over(self._known(task_id), said, report.agent_id, now)
        for task in list(self.tasks()):
            if (
                task.host == host
                and task.launched is not None
                and task.launched <= report.revision
                and task.id not in records
            ):
                gone = TaskState.KILLED if task.killing else TaskState.LOST
                self._remove(task, gone, "The agent does not know the task", now)

    def checked(self, task_id: TaskId, index: int, cause: str | None, now: float) -> None:
        """Marathon has looked at a task once; without a cause it is well."""
        task = self.task(task_id)
        if task is not None:
            self.health.found(task, index, cause, now)
            self._dirty.add(task.app_id)

    def targets(self) -> frozenset[Target]:
        """What Marathon itself has to look at, again and again."""
        return self.health.targets()

    def reachable(self) -> tuple[HostName, ...]:
        """Agents that have reported and still answer."""
        return tuple(sorted(self._offered))

    def unreachable(self, host: HostName) -> None:
        """An agent cannot be asked: it keeps its tasks and is given no new ones."""
        self._offered.pop(host, None)

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
        return self._delays.until(app_id, now) - now

    def reset_delay(self, app_id: AppId) -> None:
        """Start the app's next task at once."""
        self._delays.forget(app_id)
        self._dirty.add(app_id)

    def task(self, task_id: TaskId) -> Task | None:
        """The instance of that id, or that a task of that id is part of."""
        found = self._instance_by_id.get(task_id)
        return None if found is None else self.state.tasks[found[0]][found[1]]

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
        plan = plan_app(app, tasks.values(), self.health.is_ready)
        self.kill([tasks[task_id] for task_id in plan.kills], now)
        if not plan.launches:
            self.offers.forget(app_id)
            return
        not_before = self._delays.until(app_id, now)
        if not_before > now:
            self._due[app_id] = not_before
            return
        for _ in range(plan.launches):
            if not self._place(app, now):
                self._due[app_id] = now + PLACE_AGAIN_SECONDS
                return

    def _place(self, app: App, now: float) -> bool:
        """Start one more task on the next host that takes it; False if none does."""
        own = self.state.tasks.get(app.id, {}).values()
        task = self._placement.place(app, own, self.tasks(), self._offered, timestamp(now))
        if task is None:
            return False
        self._put(task)
        self._order(app, task)
        self._announce(task, "Provisioned" if self.era.since(1, 8) else "Created", "", now)
        return True

    def _order(self, app: App, task: Task) -> None:
        self._effects.append(self._placement.order(app, task, self.state.framework_id))

    def _put(self, task: Task) -> None:
        self.state.tasks.setdefault(task.app_id, {})[task.id] = task
        for task_id in (task.id, *task.task_ids):
            self._instance_by_id[task_id] = (task.app_id, task.id)

    def _known(self, task_id: TaskId) -> Task:
        app_id, instance = self._instance_by_id[task_id]
        return self.state.tasks[app_id][instance]

    def _take_over(
        self, task: Task, said: dict[TaskId, TaskRecord], agent_id: str, now: float
    ) -> None:
        updated, message = taken_over(task, said, agent_id, self.era)
        if updated.state.terminal:
            state = TaskState.KILLED if task.killing and task.parts else updated.state
            self._remove(updated, state, message, now)
        elif updated != task:
            self._update(updated, task, now)

    def _update(self, task: Task, before: Task, now: float) -> None:
        if task.state is TaskState.RUNNING and task.started_at is None:
            task = msgspec.structs.replace(task, started_at=timestamp(now))
        self._put(task)
        self._dirty.add(task.app_id)
        condition = "" if task.state is before.state else events.CONDITIONS[task.state]
        if task.healthy is not before.healthy:
            self.health.executor_says(task, now)
        # Up to 1.3 only a change of state is told.
        if condition or self.era.has_instances:
            self._announce(task, condition, "", now, before)

    def _remove(self, task: Task, state: TaskState, message: str, now: float) -> None:
        tasks = self.state.tasks[task.app_id]
        del tasks[task.id]
        for task_id in {task.id, *task.task_ids}:
            self._instance_by_id.pop(task_id, None)
        self.health.forget(task.id)
        if not tasks:
            del self.state.tasks[task.app_id]
        self._killed_at.pop(task.id, None)
        self._dirty.add(task.app_id)
        ended = msgspec.structs.replace(task, state=state)
        app = self.state.apps.get(task.app_id)
        if app is not None and not task.killing:
            self._delays.failed(app.id, backoff_of(app.definition), now)
            self._placement.ended(ended)
            if state is not TaskState.FINISHED:
                self.state.failures[app.id] = render_failure(ended, message, timestamp(now))
        if app is None:
            self.state.failures.pop(task.app_id, None)
        self._announce(ended, events.CONDITIONS[state], message, now)

    def _announce(
        self, task: Task, condition: str, message: str, now: float, before: Task | None = None
    ) -> None:
        when = timestamp(now)
        if self.era.has_instances and condition:
            self._publish(events.instance_changed(when, task, condition))
        if task.parts:
            known = () if before is None else before.parts
            for part in task.parts:
                if part not in known:
                    self._publish(events.part_update(when, task, part, self.era))
        elif self.era.has_instances or task.state is not TaskState.STAGING:
            self._publish(events.status_update(when, task, message, self.era))

    def tell(self, event: events.Event) -> None:
        """Publish what a request of its own announces."""
        self._publish(event)

    def _publish(self, event: events.Event) -> None:
        self._effects.append(Publish(event))

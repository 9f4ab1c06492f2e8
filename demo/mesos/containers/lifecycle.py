"""The containers of one host: started, attached, watched and ended.

Everything here is called by the agent's loop thread.
"""

from __future__ import annotations

import logging
import signal
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace

import msgspec

from demo.mesos.containers.api import LaunchRefused, Machine, Rules
from demo.mesos.containers.attachments import Attachments, Background
from demo.mesos.containers.checks import Checks, Health
from demo.mesos.containers.container import (
    Container,
    Process,
    Stage,
    judge_exit,
    new_members,
    statuses_of,
)
from demo.mesos.containers.orders import (
    Site,
    render_check,
    render_member,
    render_release,
    render_start,
)
from demo.mesos.containers.registry import Registry
from demo.mesos.isolators.api import Attached, IsolationFailed, Isolator, addresses_of
from demo.mesos.launcher.client import LauncherGone
from demo.mesos.processes import end_group, end_members, end_process, start_time
from demo.mesos.records import GroupOrder, Isolation, TaskId, TaskRecord, TaskState

log = logging.getLogger(__name__)


class Containers:
    """All tasks of one agent."""

    def __init__(
        self,
        site: Site,
        registry: Registry,
        isolators: Iterable[Isolator],
        rules: Rules,
        machine: Machine,
        background: Background,
    ) -> None:
        self._site = site
        self.rules = rules
        self.checks = Checks()
        self.registry = registry
        self._machine = machine
        self._attachments = Attachments(isolators, background, registry.undone)
        self._accepted: dict[str, Future[int]] = {}

    def launch(self, group: GroupOrder, alone: bool, accepted: Future[int]) -> None:
        """Begin to start tasks; the future is told once reports name them."""
        if self.registry.knows_any([order.task_id for order in group.tasks]):
            accepted.set_result(self._machine.publish())
            return
        container_id = str(uuid.uuid4())
        isolator = self._attachments.isolator_of(group)
        members = new_members(group, container_id)
        container = Container(
            container_id=container_id, group=group, alone=alone, members=members, isolator=isolator
        )
        if isolator:
            register_by = time.monotonic() + self.rules.registration
            container = replace(container, register_by=register_by)
        try:
            self.registry.note(container)
            sandbox = self.registry.sandbox(container)
            self._machine.send(render_start(self._site, container, sandbox))
        except (OSError, LauncherGone) as error:
            self.registry.drop(container)
            accepted.set_exception(LaunchRefused(str(error)))
            return
        self.registry.put(container)
        if container.announced:
            accepted.set_result(self._machine.publish())
        else:
            self._accepted[container_id] = accepted

    def held(self, container_id: str, pid: int) -> None:
        """A process waits in its new namespaces: attach them."""
        process = Process(pid, start_time(pid) or 0)
        container = self.registry.get(container_id)
        if container is None:
            end_process(process.pid, process.started)
            return
        container = replace(container, stage=Stage.ATTACHING, executor=process)
        self.keep(container)
        self._attachments.attach(
            container, pid, lambda result: self._attached(container_id, result)
        )

    def _attached(self, container_id: str, result: Attached | IsolationFailed) -> None:
        container = self.registry.get(container_id)
        if container is None:
            return
        if isinstance(result, IsolationFailed):
            self.fail(container, f"Failed to launch container: {result}")
            return
        container = replace(
            container, stage=Stage.REGISTERING, infos=result.infos, env=dict(result.env)
        )
        self.keep(container)
        sandbox = self.registry.sandbox(container)
        try:
            self._machine.send(render_release(self._site, container, result, sandbox))
        except LauncherGone as error:
            self.fail(container, f"Failed to launch container: {error}")

    def registered(self, framework_id: str, executor_id: str) -> bool:
        """An executor has reached the agent; False if it is none that is waited for."""
        for container in self.registry.all():
            group = container.group
            if (group.framework_id, group.executor_id) != (framework_id, executor_id):
                continue
            if container.stage is Stage.REGISTERING:
                self.registry.put(replace(container, register_by=None))
                return True
        return False

    def launched(self, name: str, pid: int | None, error: str) -> None:
        """A forked process executes its program, or does not for that reason."""
        container_id, _, task_id = name.partition("/")
        container = self.registry.get(container_id)
        process = None if pid is None else Process(pid, start_time(pid) or 0)
        if container is None or container.over:
            # It was ended meanwhile.
            if process is not None:
                end_process(process.pid, process.started)
        elif process is None:
            self._not_launched(container, error)
        elif task_id:
            self._run(container, TaskId(task_id), process)
        elif container.alone:
            self._run(self._risen(container, process), container.task_ids[0], process)
        else:
            container = self._risen(container, process)
            self.keep(container)
            for member in container.members:
                sandbox = self.registry.sandbox(container, member.task_id)
                self._machine.send(render_member(self._site, container, member, sandbox))

    def _risen(self, container: Container, executor: Process) -> Container:
        late = self.rules.late_addresses if container.isolator else 0.0
        return replace(
            container,
            stage=Stage.UP,
            executor=executor,
            register_by=None,
            addresses_at=time.monotonic() + late if late else None,
        )

    def _run(self, container: Container, task_id: TaskId, process: Process) -> None:
        member = container.member(task_id)
        record = msgspec.structs.replace(member.record, state=TaskState.RUNNING, pid=process.pid)
        member = replace(member, process=process, record=record, changed_at=time.time())
        self.keep(container.with_member(member))
        self.checks.begin(task_id, member.order.checks, time.monotonic())
        accepted = self._accepted.pop(container.container_id, None)
        if accepted is not None:
            accepted.set_result(self._machine.publish())
        if member.killing:
            self.kill(task_id)

    def _addressed(self, container: Container) -> Container:
        """With its addresses told to Marathon, unless they are to come late."""
        infos = container.infos if container.addresses_at is None else ()
        addresses = tuple(address for info in infos for address in addresses_of(info))
        if container.group.isolation is Isolation.HOST:
            addresses = (self._site.address,)
        for member in container.members:
            if member.record.state is TaskState.RUNNING:
                record = msgspec.structs.replace(
                    member.record, addresses=addresses, networks=statuses_of(infos)
                )
                container = container.with_member(replace(member, record=record))
        return container

    def end_members(self, *task_ids: TaskId) -> None:
        """End what is left of these tasks."""
        end_members(self._site.agent_id, *task_ids)

    def _not_launched(self, container: Container, error: str) -> None:
        accepted = self._accepted.pop(container.container_id, None)
        if accepted is None:
            self.fail(container, f"Failed to launch container: {error}")
            return
        # Nobody has been told of it yet.
        self.end_members(*container.task_ids)
        self.registry.drop(container)
        accepted.set_exception(LaunchRefused(error))

    def kill(self, task_id: TaskId) -> None:
        """Begin to end a task, and with it those of its group."""
        container = self.registry.of_task(task_id)
        if container is None:
            return
        if container.announced and container.stage is not Stage.UP:
            self.fail(container, "Killed before delivered to the executor", TaskState.KILLED)
            return
        for member in container.members:
            if member.kill_at is not None or member.record.state.terminal:
                continue
            kill_at = None
            if member.process is not None:
                grace = member.order.kill_grace
                kill_at = time.monotonic() + (self.rules.kill_grace if grace is None else grace)
                end_group(member.process.pid, member.process.started, signal.SIGTERM)
            container = container.with_member(replace(member, killing=True, kill_at=kill_at))
        self.registry.put(container)

    def exited(
        self, statuses: Mapping[int, int | None], among: Sequence[Container] | None = None
    ) -> None:
        """Processes have ended, all at once: to look for what they left behind is costly."""
        ended: dict[TaskId, int | None] = {}
        for container in self.registry.all() if among is None else among:
            executor = container.executor
            held = not container.alone or container.stage is not Stage.UP
            if executor is not None and executor.pid in statuses and held:
                self.fail(container, "Executor terminated")
                continue
            for member in container.members:
                if member.process is not None and member.process.pid in statuses:
                    ended[member.task_id] = statuses[member.process.pid]
        self._finish(ended)

    def _finish(self, statuses: Mapping[TaskId, int | None]) -> None:
        if not statuses:
            return
        self.end_members(*statuses)
        for task_id, status in statuses.items():
            container = self.registry.of_task(task_id)
            if container is None or container.member(task_id).record.state.terminal:
                continue
            killing = container.member(task_id).killing
            state, message = judge_exit(status, killing)
            container = self._with_end(container, task_id, state, message)
            self.registry.put(container)
            if container.over:
                self._close(container)
            elif state is not TaskState.FINISHED:
                # A pod's tasks live and die together, but for one that is done.
                self.kill(task_id)
        self._machine.publish()

    def fail(self, container: Container, message: str, state: TaskState = TaskState.FAILED) -> None:
        """End all of a container, whatever it is doing."""
        self.end_members(*container.task_ids)
        for member in container.members:
            if not member.record.state.terminal:
                container = self._with_end(container, member.task_id, state, message)
        self._close(container)
        self._machine.publish()

    def _with_end(
        self, container: Container, task_id: TaskId, state: TaskState, message: str
    ) -> Container:
        log.info("task ended", extra={"task": task_id, "state": state, "reason": message})
        self.checks.end(task_id)
        member = container.member(task_id)
        record = TaskRecord(
            task_id=task_id,
            framework_id=container.group.framework_id,
            state=state,
            message=message,
            healthy=member.record.healthy,
            container_id=container.container_id,
        )
        return container.with_member(
            replace(member, record=record, process=None, kill_at=None, changed_at=time.time())
        )

    def _close(self, container: Container) -> None:
        """Nothing of it runs any more: undo what attached it."""
        if container.executor is not None:
            end_process(container.executor.pid, container.executor.started)
        self.registry.close(container)
        if container.isolator:
            self._attachments.detach(container.container_id, container.isolator)

    def keep(self, container: Container) -> None:
        """Take over a changed container, on disk too, and let everyone see it."""
        self.registry.save(self._addressed(container))
        self._machine.publish()

    def check(self, container: Container, key: str, health: Health) -> None:
        """Have the launcher look whether a task is well."""
        sandbox = self.registry.sandbox(container, health.task_id)
        self._machine.send(render_check(self._site, container, key, health, sandbox))

    def lost_launcher(self) -> None:
        """What was under way with it is not known; all else lives on, watched from here."""
        for container in self.registry.all():
            if container.stage is not Stage.UP:
                # It may run or not: whatever carries the task's name is ended.
                self._not_launched(container, "the launcher ended")
            elif any(m.process is None and not m.record.state.terminal for m in container.members):
                self.fail(container, "Failed to launch container: the launcher ended")
            else:
                self._watch(container)
        self.checks.forget_looks(time.monotonic())

    def adopt(self) -> None:
        """Take over what an earlier run of the agent started."""
        known = set()
        for container in self.registry.load():
            known.add(container.container_id)
            if container.over:
                self._attachments.detach(container.container_id, container.isolator)
                continue
            self.registry.put(container)
            if container.stage is not Stage.UP:
                self.fail(container, "Failed to launch container: the agent was started again")
                continue
            for member in container.members:
                if member.process is not None:
                    self.checks.begin(member.task_id, member.order.checks, time.monotonic())
            self._watch(container)
        self._attachments.sweep(known)

    def _watch(self, container: Container) -> None:
        """Await the ends of processes that are not our launcher's children."""
        processes = {m.process for m in container.members if m.process is not None}
        if container.executor is not None:
            processes.add(container.executor)
        gone = [process for process in processes if not self._machine.watch(process)]
        self.exited(dict.fromkeys((process.pid for process in gone), None), [container])

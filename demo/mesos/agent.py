"""The tasks of one host: started, watched and ended by one loop thread.

Tasks outlive this process, as they outlive a real Mesos agent: each is noted on
disk and found again by pid and start time. Whoever inherits them reaps them, so
the exit status of an adopted task is not known.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from demo.mesos.container import Container, judge_exit
from demo.mesos.fork_server import Exited, ForkServer, Launched, LauncherGone
from demo.mesos.processes import end_group, end_members, start_time
from demo.mesos.records import (
    HostName,
    Isolation,
    LaunchOrder,
    TaskId,
    TaskRecord,
    TaskReport,
    TaskState,
)
from demo.mesos.store import Checkpoint, Store

log = logging.getLogger(__name__)

# Mesos' own default between the polite and the final signal.
KILL_GRACE_SECONDS = 3.0
ENDED_KEPT = 500
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LaunchRefused(Exception):
    """This order can never be started as it is."""


class Agent:
    """Owns the tasks of one host; every state is touched by its loop thread only."""

    def __init__(
        self, name: HostName, address: str, endpoint: str, store: Store, grace: float | None = None
    ) -> None:
        self.name = name
        self.address = address
        self.endpoint = endpoint
        self.agent_id = ""
        self._store = store
        self._grace = KILL_GRACE_SECONDS if grace is None else grace
        self._containers: dict[TaskId, Container] = {}
        self._ended: dict[TaskId, Container] = {}
        self._starting: dict[TaskId, Future[int]] = {}
        self._watched: dict[int, TaskId] = {}
        self._launcher: ForkServer | None = None
        self._poller = select.poll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._published = threading.Condition()
        self._report = TaskReport("", 0)
        self._snapshot: tuple[Container, ...] = ()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="containers", daemon=True)

    def start(self) -> None:
        """Adopt the tasks of the last run, then begin to serve orders."""
        self.agent_id = self._store.agent_id()
        # Wall-clock microseconds, so that revisions also grow across a restart.
        self._report = TaskReport(self.agent_id, time.time_ns() // 1000)
        self._poller.register(self._wake, select.POLLIN)
        self._start_launcher()
        self._adopt_all()
        self._publish()
        self._thread.start()

    def stop(self) -> None:
        """End the loop; the tasks live on."""
        self._call(self._stop)
        self._thread.join(timeout=5)

    def launch(self, order: LaunchOrder) -> int:
        """Start the task once, however often asked; the revision that names it."""
        started: Future[int] = Future()
        self._call(lambda: self._launch(order, started))
        return started.result(timeout=10)

    def kill(self, task_id: TaskId) -> None:
        """Begin to end the task: SIGTERM now, SIGKILL after the grace period."""
        self._call(lambda: self._kill(task_id))

    def tasks(self, after: int, timeout: float) -> TaskReport:
        """The newest report, once it is newer than `after` or the time is over."""
        with self._published:
            self._published.wait_for(
                lambda: self._report.revision > after or self._stopping, timeout
            )
            return self._report

    @property
    def launcher_pid(self) -> int | None:
        """The process that forks the tasks."""
        return None if self._launcher is None else self._launcher.pid

    def containers(self) -> tuple[Container, ...]:
        """Every task that has not ended."""
        with self._published:
            return self._snapshot

    # Everything below runs on the loop thread.

    def _call(self, action: Callable[[], None]) -> None:
        self._calls.put(action)
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception:
                # A bug, or a full disk: the other tasks are still to be looked after.
                log.exception("loop failed")
        if self._launcher is not None:
            self._launcher.close()

    def _turn(self) -> None:
        ready = [descriptor for descriptor, _ in self._poller.poll(self._poll_milliseconds())]
        if ready:
            # One at a time: what is done about it may close another of them, and
            # its number may belong to something else by then. Calls come last.
            self._look_at(next((fd for fd in ready if fd != self._wake), self._wake))
        self._end_overdue()

    def _poll_milliseconds(self) -> int | None:
        deadlines = [c.kill_at for c in self._containers.values() if c.kill_at is not None]
        if not deadlines:
            return None
        return max(0, int((min(deadlines) - time.monotonic()) * 1000) + 1)

    def _look_at(self, descriptor: int) -> None:
        if descriptor == self._wake:
            os.eventfd_read(self._wake)
            while not self._calls.empty():
                self._calls.get_nowait()()
        elif self._launcher is not None and descriptor == self._launcher.fileno():
            self._hear_launcher(self._launcher)
        elif (task_id := self._watched.get(descriptor)) is not None:
            self._unwatch(descriptor)
            self._finish({task_id: None})

    def _stop(self) -> None:
        self._stopping = True
        with self._published:
            self._published.notify_all()

    def _launch(self, order: LaunchOrder, started: Future[int]) -> None:
        task_id = order.task_id
        if task_id in self._containers or task_id in self._ended:
            started.set_result(self._report.revision)
            return
        container_id = str(uuid.uuid4())
        try:
            sandbox = self._store.sandbox(container_id)
            self._store.save(Checkpoint(order, container_id))
            self._send(order, sandbox)
        except (OSError, LauncherGone) as error:
            self._store.forget(task_id)
            started.set_exception(LaunchRefused(str(error)))
            return
        record = TaskRecord(task_id, order.framework_id, TaskState.STAGING)
        self._containers[task_id] = Container(order, container_id, record)
        self._starting[task_id] = started

    def _send(self, order: LaunchOrder, sandbox: Path) -> None:
        env = self._environment(order, str(sandbox))
        isolate = order.isolation is Isolation.NAMESPACE
        launcher = self._launcher or self._start_launcher()
        try:
            launcher.send(order.task_id, order.argv, env, sandbox, isolate)
        except LauncherGone as error:
            self._lose_launcher(launcher, error)
            self._start_launcher().send(order.task_id, order.argv, env, sandbox, isolate)

    def _environment(self, order: LaunchOrder, sandbox: str) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", SYSTEM_PATH),
            "LANG": "C.UTF-8",
            **order.env,
            "MESOS_TASK_ID": order.task_id,
            "MESOS_FRAMEWORK_ID": order.framework_id,
            "MESOS_EXECUTOR_ID": order.task_id,
            "MESOS_SLAVE_ID": self.agent_id,
            "MESOS_AGENT_ENDPOINT": self.endpoint,
            "MESOS_DIRECTORY": sandbox,
            "MESOS_SANDBOX": sandbox,
            "MESOS_CHECKPOINT": "1",
            # With an address of its own a task may bind to any of them.
            "LIBPROCESS_IP": "0.0.0.0" if order.isolation is Isolation.NAMESPACE else self.address,
        }

    def _start_launcher(self) -> ForkServer:
        self._launcher = ForkServer()
        self._poller.register(self._launcher.fileno(), select.POLLIN)
        return self._launcher

    def _hear_launcher(self, launcher: ForkServer) -> None:
        ended: dict[TaskId, int | None] = {}
        try:
            while (message := launcher.receive()) is not None:
                match message:
                    case Launched():
                        self._launched(message)
                    case Exited(pid, status):
                        task_ids = (t for t, c in self._containers.items() if c.record.pid == pid)
                        ended |= dict.fromkeys(task_ids, status)
                    case _:
                        assert_never(message)
        except LauncherGone as error:
            self._finish(ended)
            self._lose_launcher(launcher, error)
        else:
            # All at once: looking for what they left behind is the costly part.
            self._finish(ended)

    def _launched(self, message: Launched) -> None:
        task_id = TaskId(message.launched)
        container = self._containers[task_id]
        started = self._starting.pop(task_id)
        if message.pid is None:
            del self._containers[task_id]
            self._store.forget(task_id)
            started.set_exception(LaunchRefused(message.error))
            return
        # 0 stands for a process that has ended already; its exit is on its way.
        begun = start_time(message.pid) or 0
        own_address = (self.address,) if container.order.isolation is Isolation.HOST else ()
        self._containers[task_id] = replace(
            container,
            started=begun,
            changed_at=time.time(),
            record=TaskRecord(
                task_id,
                container.order.framework_id,
                TaskState.RUNNING,
                addresses=own_address,
                pid=message.pid,
            ),
        )
        self._store.save(Checkpoint(container.order, container.container_id, message.pid, begun))
        self._publish()
        started.set_result(self._report.revision)
        if container.killing:
            self._kill(task_id)

    def _lose_launcher(self, launcher: ForkServer, error: LauncherGone) -> None:
        log.warning("launcher lost", extra={"pid": launcher.pid, "reason": str(error)})
        self._poller.unregister(launcher.fileno())
        launcher.close()
        self._launcher = None
        for task_id, started in self._starting.items():
            # It may run or not: whatever carries the task's name is ended.
            end_members(task_id)
            del self._containers[task_id]
            self._store.forget(task_id)
            started.set_exception(LaunchRefused("the launcher ended"))
        self._starting.clear()
        watched = set(self._watched.values())
        for task_id in [task_id for task_id in self._containers if task_id not in watched]:
            self._watch(task_id)

    def _kill(self, task_id: TaskId) -> None:
        container = self._containers.get(task_id)
        if container is None:
            return
        if container.record.pid is None or container.kill_at is not None:
            self._containers[task_id] = replace(container, killing=True)
            return
        self._containers[task_id] = replace(
            container, killing=True, kill_at=time.monotonic() + self._grace
        )
        end_group(container.record.pid, container.started, signal.SIGTERM)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for task_id, container in list(self._containers.items()):
            if container.kill_at is not None and container.kill_at <= now:
                end_members(task_id)
                self._containers[task_id] = replace(container, kill_at=now + self._grace)

    def _finish(self, statuses: Mapping[TaskId, int | None]) -> None:
        if not statuses:
            return
        end_members(*statuses)
        for task_id, status in statuses.items():
            container = self._containers.pop(task_id)
            state, message = judge_exit(status, container.killing)
            log.info("task ended", extra={"task": task_id, "state": state, "reason": message})
            record = TaskRecord(task_id, container.order.framework_id, state, message)
            self._ended[task_id] = replace(container, record=record, changed_at=time.time())
            self._store.forget(task_id)
        while len(self._ended) > ENDED_KEPT:
            del self._ended[next(iter(self._ended))]
        self._publish()

    def _adopt_all(self) -> None:
        for checkpoint in self._store.load():
            order = checkpoint.order
            own_address = (self.address,) if order.isolation is Isolation.HOST else ()
            self._containers[order.task_id] = Container(
                order,
                checkpoint.container_id,
                TaskRecord(
                    order.task_id,
                    order.framework_id,
                    TaskState.RUNNING,
                    addresses=own_address,
                    pid=checkpoint.pid,
                ),
                checkpoint.started or 0,
            )
            self._watch(order.task_id)

    def _watch(self, task_id: TaskId) -> None:
        """Await the end of a task that is not our launcher's child."""
        container = self._containers[task_id]
        pid = container.record.pid
        try:
            descriptor = os.pidfd_open(pid) if pid is not None else None
        except ProcessLookupError:
            descriptor = None
        if descriptor is not None and pid is not None and start_time(pid) != container.started:
            os.close(descriptor)
            descriptor = None
        if descriptor is None:
            self._finish({task_id: None})
            return
        self._watched[descriptor] = task_id
        self._poller.register(descriptor, select.POLLIN)

    def _unwatch(self, descriptor: int) -> None:
        self._poller.unregister(descriptor)
        os.close(descriptor)
        del self._watched[descriptor]

    def _publish(self) -> None:
        running = tuple(c for c in self._containers.values() if c.record.pid is not None)
        records = tuple(c.record for c in (*running, *self._ended.values()))
        with self._published:
            self._report = TaskReport(self.agent_id, self._report.revision + 1, records)
            self._snapshot = running
            self._published.notify_all()

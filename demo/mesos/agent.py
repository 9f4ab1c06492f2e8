"""The Mesos agent of one host: the thread that owns its containers.

Tasks outlive this process, as they outlive a real Mesos agent: each is noted on
disk and found again by pid and start time. Whoever inherits them reaps them, so
the exit status of an adopted task is not known.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

import msgspec

from demo.mesos.containers.api import LaunchRefused, Rules
from demo.mesos.containers.container import Container, Process
from demo.mesos.containers.lifecycle import Containers
from demo.mesos.containers.orders import Site
from demo.mesos.containers.overseer import Overseer
from demo.mesos.containers.registry import Registry
from demo.mesos.isolators.api import IsolationFailed, Isolator
from demo.mesos.launcher.client import (
    Check,
    Checked,
    Exited,
    ForkServer,
    Held,
    Launched,
    LauncherGone,
    Release,
    Start,
)
from demo.mesos.processes import start_time
from demo.mesos.records import (
    DEFAULT_PORTS,
    GroupOrder,
    HostName,
    LaunchOrder,
    PortRanges,
    TaskId,
    TaskReport,
)
from demo.mesos.store import Store

__all__ = ["Agent", "LaunchRefused", "Setup"]

log = logging.getLogger(__name__)

T = TypeVar("T")

ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What an operator chose for one agent.

    `hidden` are its mounts that no task may keep, `nameservers` what the tasks
    in namespaces of their own ask for names, nobody for the host's own. `ports`
    are the host's that tasks may be given.
    """

    rules: Rules = field(default_factory=Rules)
    isolators: Sequence[Isolator] = ()
    hidden: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    ports: PortRanges = DEFAULT_PORTS


class Agent:
    """Owns the tasks of one host; every state is touched by its loop thread only."""

    def __init__(
        self,
        name: HostName,
        address: str,
        endpoint: str,
        store: Store,
        setup: Setup | None = None,
    ) -> None:
        self.name = name
        self.address = address
        self.endpoint = endpoint
        self.agent_id = ""
        self._store = store
        self._setup = setup or Setup()
        self._watched: dict[int, int] = {}
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
        self._report = TaskReport(self.agent_id, time.time_ns() // 1000, ports=self._setup.ports)
        files = self._store.network_files(self._setup.nameservers)
        self.site = Site(
            name=self.name,
            address=self.address,
            endpoint=self.endpoint,
            agent_id=self.agent_id,
            files=files,
            hidden=self._setup.hidden,
        )
        self._registry = Registry(self._store)
        self._containers = Containers(
            self.site,
            self._registry,
            self._setup.isolators,
            self._setup.rules,
            self,
            self._background,
        )
        self._overseer = Overseer(self._containers)
        self._poller.register(self._wake, select.POLLIN)
        self._start_launcher()
        self._containers.adopt()
        self.publish()
        self._thread.start()

    def stop(self) -> None:
        """End the loop; the tasks live on."""
        self._call(self._stop)
        self._thread.join(timeout=5)

    def launch(self, order: LaunchOrder) -> int:
        """Start the task once, however often asked; the revision that names it."""
        group = GroupOrder(
            executor_id=order.task_id,
            framework_id=order.framework_id,
            tasks=(order,),
            isolation=order.isolation,
            networks=order.networks,
        )
        return self._ask(lambda answer: self._containers.launch(group, True, answer))

    def launch_group(self, group: GroupOrder) -> int:
        """Start the tasks of a pod's instance, likewise."""
        return self._ask(lambda answer: self._containers.launch(group, False, answer))

    def kill(self, task_id: TaskId) -> None:
        """Begin to end the task: SIGTERM now, SIGKILL after the grace period."""
        self._call(lambda: self._containers.kill(task_id))

    def register(self, framework_id: str, executor_id: str) -> bool:
        """An executor subscribes; False if it is not one that is waited for."""

        def registered(answer: Future[bool]) -> None:
            answer.set_result(self._containers.registered(framework_id, executor_id))

        return self._ask(registered)

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
        """Every container that has a process and has not ended."""
        with self._published:
            return self._snapshot

    # Everything below runs on the loop thread.

    def send(self, order: Start | Release | Check) -> None:
        """See Machine; a launcher that has ended is replaced once."""
        launcher = self._launcher or self._start_launcher()
        try:
            launcher.send(order)
        except LauncherGone as error:
            self._lose_launcher(launcher, error)
            self._start_launcher().send(order)

    def watch(self, process: Process) -> bool:
        """See Machine."""
        if process.pid in self._watched.values():
            return True
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return False
        # Checked behind the handle: from here on the pid cannot change hands.
        if start_time(process.pid) != process.started:
            os.close(descriptor)
            return False
        self._watched[descriptor] = process.pid
        self._poller.register(descriptor, select.POLLIN)
        return True

    def publish(self) -> int:
        """See Machine."""
        records = self._registry.records()
        present = tuple(c for c in self._registry.all() if c.executor is not None)
        with self._published:
            self._report = msgspec.structs.replace(
                self._report, revision=self._report.revision + 1, tasks=records
            )
            self._snapshot = present
            self._published.notify_all()
            return self._report.revision

    def _ask(self, question: Callable[[Future[T]], None]) -> T:
        """Called by any other thread: put a question to the loop and await its answer."""
        answer: Future[T] = Future()
        self._call(lambda: question(answer))
        return answer.result(timeout=ANSWER_SECONDS)

    def _call(self, action: Callable[[], None]) -> None:
        self._calls.put(action)
        os.eventfd_write(self._wake, 1)

    def _background(
        self, work: Callable[[], T], done: Callable[[T | IsolationFailed], None]
    ) -> None:
        def run() -> None:
            try:
                result: T | IsolationFailed = work()
            except IsolationFailed as error:
                result = error
            except Exception as error:
                # A bug: the container still has to end, with a word on why.
                log.exception("isolator failed")
                result = IsolationFailed(repr(error))
            self._call(lambda: done(result))

        threading.Thread(target=run, name="isolator", daemon=True).start()

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
        self._overseer.tick()

    def _poll_milliseconds(self) -> int | None:
        moment = self._overseer.next_at()
        return None if moment is None else max(0, int((moment - time.monotonic()) * 1000) + 1)

    def _look_at(self, descriptor: int) -> None:
        if descriptor == self._wake:
            os.eventfd_read(self._wake)
            while not self._calls.empty():
                self._calls.get_nowait()()
        elif self._launcher is not None and descriptor == self._launcher.fileno():
            self._hear_launcher(self._launcher)
        elif (pid := self._watched.pop(descriptor, None)) is not None:
            self._poller.unregister(descriptor)
            os.close(descriptor)
            self._containers.exited({pid: None})

    def _stop(self) -> None:
        self._stopping = True
        with self._published:
            self._published.notify_all()

    def _start_launcher(self) -> ForkServer:
        self._launcher = ForkServer()
        self._poller.register(self._launcher.fileno(), select.POLLIN)
        return self._launcher

    def _hear_launcher(self, launcher: ForkServer) -> None:
        exited: dict[int, int | None] = {}
        try:
            while (message := launcher.receive()) is not None:
                match message:
                    case Held(container_id, pid):
                        self._containers.held(container_id, pid)
                    case Launched(name, pid, error):
                        self._containers.launched(name, pid, error)
                    case Checked(key, well, reason):
                        self._overseer.checked(key, well, reason)
                    case Exited(pid, status):
                        exited[pid] = status
                    case _:
                        assert_never(message)
        except LauncherGone as error:
            self._containers.exited(exited)
            self._lose_launcher(launcher, error)
        else:
            self._containers.exited(exited)

    def _lose_launcher(self, launcher: ForkServer, error: LauncherGone) -> None:
        if launcher is not self._launcher:
            return
        log.warning("launcher lost", extra={"pid": launcher.pid, "reason": str(error)})
        self._poller.unregister(launcher.fileno())
        launcher.close()
        self._launcher = None
        self._containers.lost_launcher()

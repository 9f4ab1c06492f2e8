"""The one thread that owns the cluster, and the threads that talk to the hosts."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, assert_never

from demo.marathon.agents import AgentUnavailable, LaunchRefused, MesosAgent
from demo.marathon.checker import Checker
from demo.marathon.core.cluster import Cluster
from demo.marathon.core.effects import Kill, Launch, LaunchGroup, Publish
from demo.marathon.core.state import StateFile
from demo.marathon.errors import ApiError
from demo.marathon.serving.callbacks import Callbacks
from demo.marathon.serving.stream import Hub
from demo.mesos.records import HostName, TaskId, TaskReport, TaskState

log = logging.getLogger(__name__)

T = TypeVar("T")
Question = Callable[[Cluster, float], T]

POLL_SECONDS = 5.0
AGENT_RETRY_SECONDS = 0.25
ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Ask:
    """Something to do with the cluster, and where the answer goes."""

    question: Question[Any]
    answer: Future[Any]
    writes: bool


@dataclass(frozen=True, slots=True)
class Launched:
    """An agent has taken an order."""

    task_id: TaskId
    revision: int


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """An agent has not taken an order."""

    task_id: TaskId
    state: TaskState
    reason: str


@dataclass(frozen=True, slots=True)
class Reported:
    """What one agent says of its tasks; None while it cannot be asked."""

    host: HostName
    report: TaskReport | None


@dataclass(frozen=True, slots=True)
class Checked:
    """One look at a task by Marathon itself; without a cause it was well."""

    task_id: TaskId
    index: int
    cause: str | None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the loop."""


Message = Ask | Launched | LaunchFailed | Reported | Checked | Stop
Order = Launch | LaunchGroup | Kill


class Loop:
    """Takes messages in batches: think, store, then act and answer."""

    def __init__(
        self,
        cluster: Cluster,
        file: StateFile,
        hub: Hub,
        agents: Mapping[HostName, MesosAgent],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._file = file
        self._hub = hub
        self._agents = agents
        self._now = now
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._orders: dict[HostName, queue.SimpleQueue[Order | None]] = {
            host: queue.SimpleQueue() for host in agents
        }
        self._callbacks = Callbacks()
        self._checker = Checker(lambda *found: self._inbox.put(Checked(*found)))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="marathon", daemon=True)

    def start(self) -> None:
        """Finish what the last run began, then serve."""
        self._cluster.resume(self._now())
        self._think([])
        self._thread.start()
        self._checker.start()
        for host, agent in self._agents.items():
            for target, name in ((self._watch, "watch"), (self._carry_out, "orders")):
                threading.Thread(
                    target=target, args=(host, agent), name=f"{name} {host}", daemon=True
                ).start()

    def stop(self) -> None:
        """End the loop; tasks live on with their agents."""
        self._stopped.set()
        self._checker.stop()
        self._inbox.put(Stop())
        self._thread.join(timeout=5)
        self._callbacks.keep(())
        for orders in self._orders.values():
            orders.put(None)

    def ask(self, question: Question[T], writes: bool = False) -> T:
        """Run a question on the loop's thread; what it wrote is stored before it answers."""
        answer: Future[T] = Future()
        self._inbox.put(Ask(question, answer, writes))
        return answer.result(timeout=ANSWER_SECONDS)

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            try:
                answers = self._think(batch)
            except Exception:
                # A bug: what the batch did so far stands, the cluster goes on.
                log.exception("loop failed")
                for message in batch:
                    if isinstance(message, Ask) and not message.answer.done():
                        message.answer.set_exception(ApiError(500, {"message": "see the log"}))
                continue
            for answer, value in answers:
                if isinstance(value, ApiError):
                    answer.set_exception(value)
                else:
                    answer.set_result(value)
            if any(isinstance(message, Stop) for message in batch):
                return

    def _next_batch(self) -> list[Message]:
        wake = self._cluster.next_wake()
        try:
            timeout = None if wake is None else max(0.0, wake - self._now())
            batch = [self._inbox.get(timeout=timeout)]
        except queue.Empty:
            return []
        while not self._inbox.empty():
            batch.append(self._inbox.get())
        return batch

    def _think(self, batch: list[Message]) -> list[tuple[Future[Any], Any]]:
        cluster, now = self._cluster, self._now()
        answers: list[tuple[Future[Any], Any]] = []
        wrote = False
        for message in batch:
            if not isinstance(message, Ask):
                self._hear(message, now)
                continue
            wrote = wrote or message.writes
            try:
                answers.append((message.answer, message.question(cluster, now)))
            except ApiError as refusal:
                answers.append((message.answer, refusal))
        cluster.settle(now)
        effects = cluster.take_effects()
        if effects or wrote:
            self._file.save(cluster.state)
        self._callbacks.keep(cluster.state.callbacks)
        for effect in effects:
            match effect:
                case Publish(event):
                    self._hub.publish(event)
                    self._callbacks.publish(event)
                case Launch(host) | LaunchGroup(host) | Kill(host):
                    self._orders[host].put(effect)
                case _:
                    assert_never(effect)
        self._checker.watch(cluster.targets())
        return answers

    def _hear(
        self, message: Launched | LaunchFailed | Reported | Checked | Stop, now: float
    ) -> None:
        cluster = self._cluster
        match message:
            case Launched(task_id, revision):
                cluster.launched(task_id, revision, now)
            case LaunchFailed(task_id, state, reason):
                cluster.launch_failed(task_id, state, reason, now)
            case Reported(host, report):
                if report is None:
                    cluster.unreachable(host)
                else:
                    cluster.reported(host, report, now)
            case Checked(task_id, index, cause):
                cluster.checked(task_id, index, cause, now)
            case Stop():
                return
            case _:
                assert_never(message)

    def _watch(self, host: HostName, agent: MesosAgent) -> None:
        after, reachable = -1, True
        while not self._stopped.is_set():
            try:
                report = agent.tasks(after, POLL_SECONDS)
            except AgentUnavailable as error:
                if reachable:
                    log.warning("agent unreachable", extra={"host": host, "reason": str(error)})
                    self._inbox.put(Reported(host, None))
                after, reachable = -1, False
                self._stopped.wait(AGENT_RETRY_SECONDS)
                continue
            if report.revision != after:
                self._inbox.put(Reported(host, report))
            after, reachable = report.revision, True

    def _carry_out(self, host: HostName, agent: MesosAgent) -> None:
        orders = self._orders[host]
        # One at a time and in order: a kill never overtakes its launch.
        while (effect := orders.get()) is not None and not self._stopped.is_set():
            match effect:
                case Launch(_, order):
                    self._launch(host, order.task_id, partial(agent.launch, order))
                case LaunchGroup(_, instance, group):
                    self._launch(host, instance, partial(agent.launch_group, group))
                case Kill(_, task_id):
                    try:
                        agent.kill(task_id)
                    except AgentUnavailable as error:
                        # The cluster asks again by itself.
                        log.info("kill not sent", extra={"task": task_id, "reason": str(error)})
                case _:
                    assert_never(effect)

    def _launch(self, host: HostName, task_id: TaskId, launch: Callable[[], int]) -> None:
        try:
            revision = launch()
        except LaunchRefused as error:
            reason = f"Failed to launch container: {error}"
            self._inbox.put(LaunchFailed(task_id, TaskState.FAILED, reason))
        except AgentUnavailable as error:
            reason = f"Agent {host} did not answer: {error}"
            self._inbox.put(LaunchFailed(task_id, TaskState.LOST, reason))
        else:
            self._inbox.put(Launched(task_id, revision))

"""The seam to the hosts' Mesos agents: over HTTP, or records in memory."""

from __future__ import annotations

import http.client
import threading
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from demo.mesos.records import (
    GroupOrder,
    Isolation,
    LaunchOrder,
    LaunchReply,
    NetworkStatus,
    PortRanges,
    TaskId,
    TaskRecord,
    TaskReport,
    TaskState,
)

T = TypeVar("T")

CALL_SECONDS = 15.0
EVERY_PORT: PortRanges = ((1, 65535),)


class AgentUnavailable(Exception):
    """The agent did not answer; what became of the request is not known."""


class LaunchRefused(Exception):
    """The agent says that it has not started the task, and why."""


class MesosAgent(Protocol):
    """One host's agent, as Marathon uses it."""

    def launch(self, order: LaunchOrder) -> int:
        """Start a task, once however often asked; the revision that names it."""

    def launch_group(self, group: GroupOrder) -> int:
        """Start a pod instance, likewise; all of its tasks are named from then on."""

    def kill(self, task_id: TaskId) -> None:
        """Begin to end a task, with it those of its group; an unknown one is no error."""

    def tasks(self, after: int, timeout: float) -> TaskReport:
        """All tasks, as soon as there is a newer revision or the time is over."""


class HttpAgent:
    """An agent behind a URL."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"not an http URL: {url!r}")
        self._host = parts.hostname
        self._port = parts.port or 5051

    def launch(self, order: LaunchOrder) -> int:
        """See MesosAgent."""
        return self._call("POST", "/stand-in/launch", LaunchReply, order).revision

    def launch_group(self, group: GroupOrder) -> int:
        """See MesosAgent."""
        return self._call("POST", "/stand-in/launch-group", LaunchReply, group).revision

    def kill(self, task_id: TaskId) -> None:
        """See MesosAgent."""
        self._call("POST", "/stand-in/kill", dict, {"task_id": task_id})

    def tasks(self, after: int, timeout: float) -> TaskReport:
        """See MesosAgent."""
        path = f"/stand-in/tasks?after={after}&timeout={timeout}"
        return self._call("GET", path, TaskReport, None, timeout)

    def _call(
        self, method: str, path: str, reply: type[T], body: object, patience: float = 0.0
    ) -> T:
        content = b"" if body is None else msgspec.json.encode(body)
        connection = http.client.HTTPConnection(
            self._host, self._port, timeout=CALL_SECONDS + patience
        )
        try:
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            received = response.read()
            if response.status == http.HTTPStatus.CONFLICT:
                raise LaunchRefused(received.decode(errors="replace"))
            if response.status != http.HTTPStatus.OK:
                raise AgentUnavailable(f"{method} {path}: {response.status}")
            return msgspec.json.decode(received, type=reply)
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            raise AgentUnavailable(f"{self._host}:{self._port}: {error}") from error
        finally:
            connection.close()


def _no_address(_order: LaunchOrder) -> tuple[str, ...]:
    return ()


class MemoryAgent:
    """An agent whose tasks are records; tests say when they run and how they end."""

    def __init__(
        self,
        address: str = "127.0.0.1",
        starts: bool = True,
        address_of: Callable[[LaunchOrder], tuple[str, ...]] = _no_address,
        agent_id: str = "memory-S0",
        ports: PortRanges = EVERY_PORT,
    ) -> None:
        self.orders: dict[TaskId, LaunchOrder] = {}
        self.groups: dict[TaskId, GroupOrder] = {}
        self._address = address
        self._starts = starts
        self._address_of = address_of
        self._agent_id = agent_id
        self._ports = ports
        self._changed = threading.Condition()
        self._records: dict[TaskId, TaskRecord] = {}
        self._revision = 0
        self._refusals = 0

    def launch(self, order: LaunchOrder) -> int:
        """See MesosAgent; STAGING until `run` unless tasks start by themselves."""
        with self._changed:
            self._accept((order,))
            return self._revision

    def launch_group(self, group: GroupOrder) -> int:
        """See MesosAgent; each task of the group is run and ended on its own."""
        with self._changed:
            self.groups |= {order.task_id: group for order in group.tasks}
            self._accept(group.tasks)
            return self._revision

    def kill(self, task_id: TaskId) -> None:
        """See MesosAgent."""
        with self._changed:
            group = self.groups.get(task_id)
            for each in (task_id,) if group is None else [t.task_id for t in group.tasks]:
                record = self._records.get(each)
                if record is not None and not record.state.terminal:
                    self._set(msgspec.structs.replace(record, state=TaskState.KILLED))

    def tasks(self, after: int, timeout: float) -> TaskReport:
        """See MesosAgent."""
        with self._changed:
            self._changed.wait_for(lambda: self._revision > after, timeout)
            records = tuple(self._records.values())
            return TaskReport(
                agent_id=self._agent_id, revision=self._revision, tasks=records, ports=self._ports
            )

    def run(self, task_id: TaskId) -> None:
        """The task's process is there."""
        with self._changed:
            self._set(self._running(self._records[task_id]))

    def end(self, task_id: TaskId, state: TaskState = TaskState.FAILED, message: str = "") -> None:
        """The task has ended by itself."""
        with self._changed:
            self._set(msgspec.structs.replace(self._records[task_id], state=state, message=message))

    def readdress(self, task_id: TaskId, *addresses: str) -> None:
        """Mesos learns of other addresses of a task that runs."""
        with self._changed:
            self._set(msgspec.structs.replace(self._records[task_id], addresses=addresses))

    def feel(self, task_id: TaskId, healthy: bool) -> None:
        """The task's executor has looked whether it is well."""
        with self._changed:
            self._set(msgspec.structs.replace(self._records[task_id], healthy=healthy))

    def forget(self, task_id: TaskId) -> None:
        """The task has vanished without a word."""
        with self._changed:
            del self._records[task_id]
            self._revision += 1
            self._changed.notify_all()

    def refuse(self, times: int) -> None:
        """Refuse that many launches from now on."""
        with self._changed:
            self._refusals = times

    def alive(self) -> tuple[TaskId, ...]:
        """The tasks that have not ended."""
        with self._changed:
            return tuple(r.task_id for r in self._records.values() if not r.state.terminal)

    def _accept(self, orders: Sequence[LaunchOrder]) -> None:
        if self._refusals:
            self._refusals -= 1
            raise LaunchRefused("refused, as told")
        for order in orders:
            if order.task_id not in self._records:
                self.orders[order.task_id] = order
                record = TaskRecord(order.task_id, order.framework_id, TaskState.STAGING)
                self._set(self._running(record) if self._starts else record)

    def _running(self, record: TaskRecord) -> TaskRecord:
        order = self.orders[record.task_id]
        group = self.groups.get(record.task_id)
        isolation, infos = order.isolation, order.networks
        if group is not None:
            isolation, infos = group.isolation, group.networks
        own = isolation is Isolation.NAMESPACE
        addresses = self._address_of(order) if own else (self._address,)
        # As if every network had given the same addresses; mostly there is one.
        networks = tuple(NetworkStatus(info.get("name", ""), addresses) for info in infos)
        return msgspec.structs.replace(
            record, state=TaskState.RUNNING, addresses=addresses, networks=networks
        )

    def _set(self, record: TaskRecord) -> None:
        self._records[record.task_id] = record
        self._revision += 1
        self._changed.notify_all()

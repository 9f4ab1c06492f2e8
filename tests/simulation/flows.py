"""P2 on connections: what is under way between two tasks is nobody else's."""

from collections.abc import Iterable, Mapping, Sequence

from netaddr import IPAddress

from calico.dataplane.state import Connection
from calico.model import TaskId
from tests.simulation.leaks import HIGH_PORT, PORT, TCP, Gate, Resident
from tests.simulation.twins.host import HostTwin

Ends = tuple[TaskId, TaskId]


class Flows:
    """A connection for every pair of tasks that may have one, as both hosts track it."""

    def __init__(self, hosts: Sequence[HostTwin]) -> None:
        self._hosts = hosts
        self._between: dict[tuple[int, Connection], Ends] = {}
        #: Those of before etcd was set back: the rest of addresses went with what
        #: it knew, and a host that has not read it since cannot end them.
        self._excused: set[tuple[int, Connection]] = set()

    def excuse(self) -> None:
        """What is under way may meet another holder; it ends all the same."""
        self._excused |= {(number, each) for number, each, _ in self._tracked()}

    def inherited(self, residents: Iterable[Resident]) -> str:
        """A task that another one's connection leads to by now; or empty."""
        holders = {each.address: each for each in residents}
        for number, connection, ends in self._tracked():
            if (number, connection) in self._excused:
                continue
            now = (holders.get(connection.source), holders.get(connection.destination))
            if not any(each is not None and each.host == number for each in now):
                continue
            for before, each in zip(ends, now, strict=True):
                if each is not None and each.task != before:
                    return (
                        f"h{number} lets {' and '.join(ends)} go on talking:"
                        f" {each.address} is {each.task} by now"
                    )
        return ""

    def left(self, live: Iterable[TaskId]) -> str:
        """A connection of a task that ended, which its hosts still track; or empty."""
        alive = set(live)
        for number, _, ends in self._tracked():
            if not alive >= set(ends):
                return f"h{number} still tracks a connection of {' and '.join(ends)}"
        return ""

    def begin(self, residents: Sequence[Resident], gates: Mapping[int, Gate]) -> None:
        """Let everybody talk to whom the other's host lets in."""
        tracked = {(number, connection) for number, connection, _ in self._tracked()}
        for source in residents:
            for target in residents:
                if source.task == target.task or not source.groups & target.groups:
                    continue
                connection = Connection(
                    TCP,
                    source.address,
                    target.address,
                    answering=target.address,
                    answered=source.address,
                    source_port=HIGH_PORT,
                    destination_port=PORT,
                )
                ends = {source.host, target.host}
                missing = {number for number in ends if (number, connection) not in tracked}
                if missing and gates[target.host].admits(source, target):
                    for number in sorted(missing):
                        self._hosts[number].dataplane.track(connection)
                        self._between[number, connection] = (source.task, target.task)

    def _tracked(self) -> list[tuple[int, Connection, Ends]]:
        addresses: set[IPAddress] = set()
        for _, connection in self._between:
            addresses |= connection.ends
        found = []
        for host in self._hosts:
            for connection in host.dataplane.connections(addresses):
                found.append((host.number, connection, self._between[host.number, connection]))
        return found

"""P2 on connections: what is under way between two tasks is nobody else's."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from calico.dataplane.state import Connection
from calico.model import TaskId
from tests.simulation.leaks import HIGH_PORT, PORT, TCP, Gate, Resident
from tests.simulation.twins.host import HostTwin

Ends = tuple[TaskId, TaskId]
#: On which host, from which address and to which one.
Way = tuple[int, int, int]


class Flows:
    """A connection for every pair of tasks that may have one, as both hosts track it."""

    def __init__(self, hosts: Sequence[HostTwin]) -> None:
        self._hosts = hosts
        self._between: dict[Way, Ends] = {}
        #: Those of before etcd was set back: the rest of addresses went with what
        #: it knew, and a host that has not read it since cannot end them.
        self._excused: set[Way] = set()

    def excuse(self) -> None:
        """What is under way may meet another holder; it ends all the same."""
        self._excused |= {_way(number, each) for number, each in self._tracked()}

    def inherited(self, residents: Iterable[Resident]) -> str:
        """A task that another one's connection leads to by now; or empty."""
        holders = {each.address: each for each in residents}
        for number, connection in self._tracked():
            way = _way(number, connection)
            if way in self._excused:
                continue
            ends = self._between[way]
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
        for number, connection in self._tracked():
            ends = self._between[_way(number, connection)]
            if not alive >= set(ends):
                return f"h{number} still tracks a connection of {' and '.join(ends)}"
        return ""

    def begin(self, residents: Sequence[Resident], gates: Mapping[int, Gate]) -> None:
        """Let everybody talk to whom the other's host lets in."""
        tracked = {_way(number, connection) for number, connection in self._tracked()}
        for source in residents:
            for target in residents:
                if source.task == target.task or not source.groups & target.groups:
                    continue
                pair = (int(source.address), int(target.address))
                ways = {(source.host, *pair), (target.host, *pair)} - tracked
                if ways and gates[target.host].admits(source, target):
                    for way in sorted(ways):
                        self._hosts[way[0]].dataplane.track(_opened(source, target))
                        self._between[way] = (source.task, target.task)

    def _tracked(self) -> Iterator[tuple[int, Connection]]:
        for host in self._hosts:
            for connection in host.dataplane.tracked:
                yield host.number, connection


def _way(number: int, connection: Connection) -> Way:
    return number, int(connection.source), int(connection.destination)


def _opened(source: Resident, target: Resident) -> Connection:
    return Connection(
        TCP,
        source.address,
        target.address,
        answering=target.address,
        answered=source.address,
        source_port=HIGH_PORT,
        destination_port=PORT,
    )

"""What is served: the records of every name; changed task by task.

Owned by one thread. A change costs as much as the task has names, however
many others there are.
"""

from collections.abc import Iterable, KeysView, Mapping, Sequence
from types import MappingProxyType

from calico.model import TaskId
from reconciler.dns.names import (
    Address,
    Delegate,
    Entry,
    Name,
    NamedTask,
    Pointer,
    Record,
    Service,
    Suffixes,
    names_of,
    suffixes_of,
    wire_name,
)

A, NS, SOA, PTR, AAAA, SRV = 1, 2, 6, 12, 28, 33

_NOTHING: Mapping[Record, int] = MappingProxyType({})


def type_of(record: Record) -> int:
    """The number that the DNS has for this kind of record."""
    match record:
        case Address(address):
            return A if address.version == 4 else AAAA
        case Service():
            return SRV
        case Pointer():
            return PTR
        case Delegate():
            return NS


def ancestors(name: Name) -> Iterable[Name]:
    """The names above one, the nearest first, without the root."""
    above = name[1 + name[0] :]
    while above != b"\0":
        yield Name(above)
        above = above[1 + above[0] :]


class Zone:
    """The records of all tasks, and those of the zone itself."""

    def __init__(self, domain: str, framework: str, servers: Sequence[Record] = ()) -> None:
        """`servers` are the addresses of the one that answers, if they are known."""
        self._suffixes: Suffixes = suffixes_of(domain, framework)
        apex, server = wire_name(domain.split(".")), wire_name(("ns1", *domain.split(".")))
        assert apex is not None
        assert server is not None
        self.apex: Name = apex
        self.server: Name = server
        self._records: dict[Name, dict[int, dict[Record, int]]] = {}
        #: How many names are below each name, which then exists too.
        self._below: dict[Name, int] = {}
        self._tasks: dict[TaskId, NamedTask] = {}
        self._touched: set[Name] = set()
        self._add((apex, Delegate(server)))
        for record in servers:
            self._add((server, record))

    def covers(self, name: Name) -> bool:
        """Whether a name is the zone's own or below it."""
        apex = self.apex
        return name.endswith(apex) and (name == apex or apex in ancestors(name))

    @property
    def tasks(self) -> int:
        """How many tasks have names."""
        return len(self._tasks)

    @property
    def names(self) -> int:
        """How many names have records."""
        return len(self._records)

    def publish(self, task: NamedTask) -> None:
        """Have these be the names of a task, and no others."""
        if self._tasks.get(task.task) == task:
            return
        self.withdraw(task.task)
        self._tasks[task.task] = task
        for entry in names_of(task, self._suffixes):
            self._add(entry)

    def withdraw(self, task: TaskId) -> None:
        """Have a task have no names."""
        known = self._tasks.pop(task, None)
        if known is not None:
            for entry in names_of(known, self._suffixes):
                self._remove(entry)

    def records(self, name: Name, kind: int) -> KeysView[Record]:
        """The records of one type that a name has; tasks may share one."""
        return self._records.get(name, {}).get(kind, _NOTHING).keys()

    def kinds(self, name: Name) -> Iterable[int]:
        """The types of the records that a name has."""
        return self._records.get(name, {}).keys()

    def __contains__(self, name: Name) -> bool:
        """Whether a name has records."""
        return name in self._records

    def exists(self, name: Name) -> bool:
        """Whether a name, or one below it, has records."""
        return name in self._records or name in self._below

    def take_touched(self) -> set[Name]:
        """The names whose records changed since this was last asked."""
        touched, self._touched = self._touched, set()
        return touched

    def _add(self, entry: Entry) -> None:
        name, record = entry
        self._touched.add(name)
        kinds = self._records.get(name)
        if kinds is None:
            kinds = self._records[name] = {}
            for above in ancestors(name):
                self._below[above] = self._below.get(above, 0) + 1
        counts = kinds.setdefault(type_of(record), {})
        counts[record] = counts.get(record, 0) + 1

    def _remove(self, entry: Entry) -> None:
        name, record = entry
        self._touched.add(name)
        kinds = self._records[name]
        kind = type_of(record)
        counts = kinds[kind]
        counts[record] -= 1
        if counts[record]:
            return
        del counts[record]
        if counts:
            return
        del kinds[kind]
        if kinds:
            return
        del self._records[name]
        for above in ancestors(name):
            self._below[above] -= 1
            if not self._below[above]:
                del self._below[above]

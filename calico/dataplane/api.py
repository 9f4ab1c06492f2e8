"""The seam to the kernel of one host."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from netaddr import IPAddress, IPNetwork

from calico.dataplane.changes import Change, Plan
from calico.dataplane.foreign.rules import ForeignRules
from calico.dataplane.state import Connection, HostFacts, HostState, Link
from calico.model import InterfaceName


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a plan: the changes that failed, each with its reason."""

    failures: Mapping[Change, str]


class Dataplane(Protocol):
    """Reads and writes the owned objects of one host; used by one thread."""

    def facts(self, address: IPAddress | None) -> HostFacts:
        """What the host has of its own; `address` picks the underlay's interface."""
        ...

    def observe(self) -> HostState:
        """What the kernel holds of ours, complete; raises DataplaneError.

        A rule has its digest, which tells it from another, and perhaps no more.
        """
        ...

    def apply(self, plan: Plan) -> Applied:
        """Carry a plan out, in its order; applying it twice is applying it once.

        A table's change that the kernel does not take in one transaction is
        made in several, closed in between.

        A change to one task's link or routes that fails is told and does not
        stop the others. A refused nftables transaction, a policy that could
        not be brought in, raises DataplaneError before anything after it ran.
        """
        ...

    def connections(
        self, addresses: Iterable[IPAddress], networks: Iterable[IPNetwork] = ()
    ) -> Sequence[Connection]:
        """Tracked connections of which an end is one of these, begun by either side."""
        ...

    def forget(self, connections: Iterable[Connection]) -> None:
        """Stop tracking connections; one that is not tracked is fine.

        What still comes of them is then judged like a first packet.
        """
        ...


@dataclass(frozen=True, slots=True)
class Noticed:
    """What may be otherwise in the kernel than it was left.

    `foreign` is that another program changed something of ours, or something
    that facts are read from, or that this is not known. `links` are devices of
    ours as they are now, None for one that is gone: those that changed since
    the last notice, whoever did it.
    """

    foreign: bool = False
    links: Mapping[InterfaceName, Link | None] = field(default_factory=dict)


class Monitor(Protocol):
    """Notices what others do to the owned objects of one host; used by one thread."""

    def open(self) -> None:
        """Notice from now on; raises DataplaneError."""
        ...

    def close(self) -> None:
        """Notice no more; may be opened again."""
        ...

    def wait(self, timeout: float) -> Noticed | None:
        """The next notice, None if there was none in so many seconds.

        Changes that do not concern us give none. Those made through this
        process's dataplane give none but for settings, which do not say who
        changed them, and for `links`. Raises DataplaneError.
        """
        ...


class Firewalls(Protocol):
    """Reads what other programs on the host filter by; used by one thread."""

    def open(self) -> None:
        """Get ready to read; raises DataplaneError."""
        ...

    def close(self) -> None:
        """Let go; may be opened again."""
        ...

    def read(self) -> ForeignRules:
        """What concerns tasks, as it is now; raises DataplaneError."""
        ...

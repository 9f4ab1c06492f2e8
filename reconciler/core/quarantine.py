"""When an address that no endpoint holds any more may be given again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from netaddr import IPAddress

from calico.model import AppliedRecord, HandleId, HostName

#: Seconds that an address rests after its endpoint is withdrawn.
REST = 120.0
#: Marks allocations as ours in Calico's blocks; others are never released.
OWNER = ("owner", "marathon-calico")
#: Marks an address that the app asked for by name: it needs no rest, since
#: only tasks of that app take it over.
FIXED = ("fixed", "true")


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """One address and the handle that holds it."""

    handle: HandleId
    address: IPAddress
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Resting:
    """Since when, and since which datastore revision, an address is unused."""

    since: float
    revision: int


def newly_unused(unused: Collection[Held], resting: Mapping[Held, Resting]) -> frozenset[Held]:
    """Addresses whose rest starts with this look."""
    return frozenset(unused) - resting.keys()


def releasable(
    resting: Mapping[Held, Resting],
    hosts: Collection[HostName],
    applied: Mapping[HostName, AppliedRecord],
    now: float,
) -> frozenset[Held]:
    """Addresses that rested and that every registered host has let go of."""
    seen = [applied[host].revision if host in applied else -1 for host in hosts]
    oldest = min(seen, default=None)
    return frozenset(
        held
        for held, rest in resting.items()
        if (oldest is None or oldest >= rest.revision) and (held.fixed or now - rest.since >= REST)
    )

"""When an address that no endpoint holds any more may be given again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netaddr import IPAddress

from calico.model import AppliedRecord, HandleId, HostName

#: Seconds that an address rests after its endpoint is withdrawn.
REST = 120.0
#: Beside the owner: the app that asked for this very address by its label.
FIXED_FOR = "fixed-for"
#: No app asks for any.
NOBODY: Mapping[str, Collection[IPAddress]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """One address and the handle that holds it; `app` if it was asked for by name."""

    handle: HandleId
    address: IPAddress
    app: str = ""


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
    waiting_apps: Collection[str],
    now: float,
    *,
    awaited: Mapping[str, Collection[IPAddress]] = NOBODY,
    all_forgotten: bool = False,
) -> frozenset[Held]:
    """Addresses that rested and that every registered host has let go of.

    An address that an app asked for by name need not rest if a task of that
    same app waits for it: one of the `waiting_apps`, or one that has yet to be
    attached, which makes its app ask for what is `awaited`. Without any host
    there is nobody to have let go, unless an operator declared all that there
    were gone.
    """
    oldest = min((applied[h].revision if h in applied else -1 for h in hosts), default=-1)
    let_go = all_forgotten and not hosts
    return frozenset(
        held
        for held, rest in resting.items()
        if (let_go or oldest >= rest.revision)
        and (
            now - rest.since >= REST
            or (held.app and held.app in waiting_apps)
            or held.address in awaited.get(held.app, ())
        )
    )

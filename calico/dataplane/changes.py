"""Changes of one host's kernel as values, and the order they are carried out in."""

import enum
from dataclasses import dataclass, field

from calico.dataplane.state import Chain, Link, MarkRule, NftSet, Route
from calico.model import InterfaceName


@dataclass(frozen=True, slots=True)
class NamespaceRef:
    """A task's network namespace, named so that reuse of a number is noticed.

    `start_time` is field 22 of /proc/PID/stat in clock ticks; `inode` is that
    of /proc/PID/ns/net. The kernel gives the inode of an ended namespace to the
    next one, but never its `cookie` (SO_NETNS_COOKIE, Linux 5.14), which is 0
    where it is not known.

    With `pid` 0 no process speaks for it: it is the one that `descriptor` has
    open, else what lies at `path`, else that of any process, and always only
    if inode and cookie are these. What it is found by makes no other namespace
    of it.
    """

    pid: int
    start_time: int
    inode: int
    cookie: int = field(default=0, compare=False)
    path: str = field(default="", compare=False)
    descriptor: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class CommitTable:
    """Everything about our nftables table that changes, as one transaction.

    `chains` are created or get exactly these rules, `sets` exactly these
    elements; `previous_sets` tell what the kernel holds of them, so that only
    the difference is sent. `removed_*` are names that nothing refers to any more.
    """

    chains: tuple[Chain, ...] = ()
    sets: tuple[NftSet, ...] = ()
    previous_sets: tuple[NftSet, ...] = ()
    removed_chains: tuple[str, ...] = ()
    removed_sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Write one kernel setting; `path` is below /proc/sys."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class AddMarkRule:
    """Let marked packets look into our routing table."""

    rule: MarkRule


@dataclass(frozen=True, slots=True)
class AttachTask:
    """Put a veth into a task's namespace, configure it, then bring it up."""

    link: Link
    namespace: NamespaceRef


@dataclass(frozen=True, slots=True)
class MendLink:
    """Make the host's side of a finished veth what it was, and bring it up.

    The task's side is left alone, and needs no mending: the alias says so.
    """

    link: Link


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Add or replace one route."""

    route: Route


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    """Remove one route."""

    route: Route


@dataclass(frozen=True, slots=True)
class RemoveLink:
    """Remove the veth of a task, both ends."""

    name: InterfaceName


@dataclass(frozen=True, slots=True)
class RemoveMarkRule:
    """Remove an `ip rule` of ours that is not wanted."""

    rule: MarkRule


Change = (
    CommitTable
    | SetSysctl
    | AddMarkRule
    | AttachTask
    | MendLink
    | AddRoute
    | RemoveRoute
    | RemoveLink
    | RemoveMarkRule
)


class Stage(enum.IntEnum):
    """The rank of a change: policy stands before any link or route opens.

    The one transaction also takes away: what it takes away is closed at once,
    before its route and link go. Routes to other hosts come before others go:
    a wide one may take the place of narrow ones, whose packets must not be
    lost in between, and who may receive is for the other host to say.
    """

    TABLE = 10
    SYSCTLS = 20
    HOST_ROUTES = 25
    REMOVE_ROUTES = 30
    REMOVE_LINKS = 40
    MARK_RULES = 50
    CLOSING_ROUTES = 60
    ADD_LINKS = 70
    ADD_ROUTES = 80


Plan = tuple[Change, ...]

"""The dataplane that is the kernel of the calling thread's network namespace."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from errno import EPERM
from typing import TypeVar, assert_never

from netaddr import IPAddress, IPNetwork
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from calico.dataplane import sysctl
from calico.dataplane.api import Applied
from calico.dataplane.changes import (
    AddMarkRule,
    AddRoute,
    AttachTask,
    Change,
    CommitTable,
    MendLink,
    Plan,
    RemoveLink,
    RemoveMarkRule,
    RemoveRoute,
    SetSysctl,
)
from calico.dataplane.host import observe_facts
from calico.dataplane.namespaces import entered
from calico.dataplane.netlink import conntrack, messages, rules
from calico.dataplane.netlink.batches import (
    NetlinkSocket,
    Step,
    go_on,
)
from calico.dataplane.netlink.links import Links, owned
from calico.dataplane.netlink.routes import Routes
from calico.dataplane.nft.grace import wait_for_packets_under_way
from calico.dataplane.nft.table import Table
from calico.dataplane.state import Connection, HostFacts, HostState
from calico.errors import DataplaneError, DataplaneUnsupported

#: An index that no device has: the kernel judges the right before the device.
NO_DEVICE = 0x7FFFFFFF

Simple = TypeVar("Simple", SetSysctl, AddMarkRule, RemoveMarkRule)


@dataclass(frozen=True, slots=True)
class _Session:
    """What is open while the dataplane is used; all in one namespace."""

    kernel: IPRoute
    links: Links
    routes: Routes
    table: Table


class KernelDataplane:
    """Implements `Dataplane`; the first use opens it in the thread that does so.

    `step` is told of every change of a link or route before it is made. With a
    `mark` host ports stay closed also while the table is missing, see Table.
    """

    def __init__(self, step: Step = go_on, mark: int | None = None) -> None:
        self._step = step
        self._mark = mark
        self._session: _Session | None = None
        self._held = ExitStack()
        self._settings: set[str] = set()
        self._judged_anew = False

    def close(self) -> None:
        """Let go of the kernel; what was applied stays."""
        self._session = None
        self._held.close()

    def facts(self, address: IPAddress | None) -> HostFacts:
        """What the host has of its own; raises DataplaneUnsupported with the remedy."""
        session = self._open()
        try:
            facts = observe_facts(session.kernel, session.routes, address)
        except NetlinkError as error:
            raise DataplaneError(f"read the host's networks: {error}") from error
        # An earlier run has set these as a rule: then there is nothing to set.
        self._settings |= set(sysctl.of_host(facts.interface))
        return facts

    def observe(self) -> HostState:
        """What is ours in the kernel.

        Of the settings those are read that were ever set through this object,
        and once the host's facts are known, those that every host has.
        """
        session = self._open()
        seen = session.links.observe()
        chains, sets = session.table.read()
        try:
            mark_rules = rules.observe(session.kernel)
        except NetlinkError as error:
            raise DataplaneError(f"read the ip rules: {error}") from error
        sysctls = sysctl.read(self._settings)
        # Settings of devices that went are of no more interest.
        self._settings &= sysctls.keys()
        return HostState(
            links={each.name: each.link for each in seen if owned(each.name)},
            routes=session.routes.observe({link.index: link.name for link in seen}),
            mark_rules=mark_rules,
            chains=chains,
            sets=sets,
            sysctls=sysctls,
        )

    def apply(self, plan: Plan) -> Applied:
        """Carry a plan out; changes of one kind that follow each other go together."""
        session = self._open()
        failures: dict[Change, str] = {}
        for _, run in itertools.groupby(plan, key=type):
            failures.update(self._apply_alike(session, tuple(run)))
        return Applied(failures)

    def _apply_alike(self, session: _Session, run: Sequence[Change]) -> Mapping[Change, str]:
        failures: dict[Change, str] = {}
        match run[0]:
            case CommitTable():
                self._judged_anew = True
                for change in _only(CommitTable, run):
                    session.table.commit(change)
            case SetSysctl():
                failures.update(_each(_only(SetSysctl, run), self._set))
            case AddMarkRule():
                failures.update(
                    _each(
                        _only(AddMarkRule, run), lambda each: rules.add(session.kernel, each.rule)
                    )
                )
            case RemoveMarkRule():
                failures.update(
                    _each(
                        _only(RemoveMarkRule, run),
                        lambda each: rules.remove(session.kernel, each.rule),
                    )
                )
            case AttachTask():
                failures.update(session.links.attach(_only(AttachTask, run)))
            case MendLink():
                failures.update(session.links.mend(_only(MendLink, run)))
            case RemoveLink():
                failures.update(session.links.remove(_only(RemoveLink, run)))
            case AddRoute():
                failures.update(session.routes.add(_only(AddRoute, run)))
            case RemoveRoute():
                failures.update(session.routes.remove(_only(RemoveRoute, run)))
            case _:
                assert_never(run[0])
        return failures

    def _set(self, change: SetSysctl) -> None:
        sysctl.write(change.path, change.value)
        self._settings.add(change.path)

    def connections(
        self, addresses: Iterable[IPAddress], networks: Iterable[IPNetwork] = ()
    ) -> Sequence[Connection]:
        """See Dataplane."""
        self._open()
        if self._judged_anew:
            wait_for_packets_under_way()
            self._judged_anew = False
        return conntrack.read(addresses, networks)

    def forget(self, connections: Iterable[Connection]) -> None:
        """Stop tracking connections; one that is not tracked is fine."""
        self._open()
        conntrack.forget(connections)

    def _open(self) -> _Session:
        if self._session is not None:
            return self._session
        with ExitStack() as held:
            home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            held.callback(os.close, home)
            host = held.enter_context(NetlinkSocket(self._step))
            _expect_rights(home)
            table = Table(mark=self._mark)
            table.open()
            held.callback(table.close)
            self._session = _Session(
                kernel=held.enter_context(IPRoute()),
                links=Links(host, home, self._step),
                routes=Routes(host),
                table=table,
            )
            self._held = held.pop_all()
        return self._session


def _expect_rights(home: int) -> None:
    """Raise DataplaneUnsupported unless devices and namespaces may be changed."""
    remedy = "run as root, or inside `unshare --user --map-root-user --net`"
    with NetlinkSocket() as probe:
        (refusal,) = probe.transact([messages.put_in_group(NO_DEVICE, 0)])
    if refusal is not None and refusal.code == EPERM:
        raise DataplaneUnsupported(f"no right to change network devices (CAP_NET_ADMIN): {remedy}")
    try:
        with entered(home, home):
            pass
    except DataplaneError as error:
        raise DataplaneUnsupported(
            f"no right to enter network namespaces (CAP_SYS_ADMIN): {remedy}"
        ) from error


Alike = TypeVar("Alike")


def _only(kind: type[Alike], run: Sequence[Change]) -> list[Alike]:
    return [change for change in run if isinstance(change, kind)]


def _each(changes: Iterable[Simple], make: Callable[[Simple], None]) -> dict[Change, str]:
    """Make changes one by one; those that failed, with their reasons."""
    failures: dict[Change, str] = {}
    for change in changes:
        try:
            make(change)
        except DataplaneError as error:
            failures[change] = str(error)
    return failures

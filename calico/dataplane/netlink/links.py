"""The veths of a host's tasks: seen, put into their namespaces, taken away.

A link is made in an order that leaves every stop in between harmless: created
down and nameless (no alias), then the task's side, then the host's settings,
last alias and `up` in one message. A link without its alias is unfinished and
is made anew.
"""

import itertools
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from errno import EEXIST, ENODEV

from netaddr import IPAddress

from calico.dataplane import sysctl
from calico.dataplane.changes import AttachTask, Change, MendLink, RemoveLink
from calico.dataplane.namespaces import entered, not_for_tasks, opened
from calico.dataplane.netlink import messages
from calico.dataplane.netlink.batches import (
    NetlinkSocket,
    Refusal,
    Step,
    go_on,
)
from calico.dataplane.netlink.link_settings import (
    HOST_SIDE_IPV4,
    HOST_SIDE_IPV6,
    IPV6_OFF,
    restore_address,
)
from calico.dataplane.netlink.messages import SeenLink
from calico.dataplane.netlink.wire import Request
from calico.dataplane.state import GATEWAY4, GATEWAY6, HOST_MAC, Wiring
from calico.errors import DataplaneError
from calico.model import INTERFACE_PREFIX, InterfaceName

#: Namespaces held open at once while links are made in one go.
TOGETHER = 64
#: The first of the device groups in which links are put to be deleted at once.
DOOMED_GROUP = 0x6D630000

TASK_SIDE_IPV6 = {"disable_ipv6": "0", "accept_ra": "0", "accept_redirects": "0", "accept_dad": "0"}


@dataclass(frozen=True, slots=True)
class _Work:
    """One link in the making; `namespace` is a descriptor of the task's, if it is needed."""

    change: AttachTask | MendLink
    wiring: Wiring
    namespace: int = -1

    @property
    def name(self) -> InterfaceName:
        return self.change.link.name


def _as_told(_: _Work, refusal: Refusal) -> str:
    return refusal.reason


class Links:
    """Reads and writes the `cali*` devices through one open socket.

    `home` is a descriptor of the namespace that the socket lives in.
    """

    def __init__(self, host: NetlinkSocket, home: int, step: Step = go_on) -> None:
        self._host = host
        self._home = home
        self._step = step
        self._ipv6 = True

    def observe(self) -> list[SeenLink]:
        """All devices of the host, foreign ones too."""
        replies = self._host.dump(messages.dump_links())
        return [messages.parse_link(reply.body) for reply in replies]

    def attach(self, changes: Sequence[AttachTask]) -> dict[Change, str]:
        """Make links; those that failed, with their reasons."""
        failures: dict[Change, str] = {}
        self._ipv6 = sysctl.has_ipv6()
        own = not_for_tasks()
        # As a rule all are new; then the list of all devices is not needed.
        known = any(_exists(change.link.name) for change in changes)
        seen = {link.name: link for link in self.observe()} if known else {}
        for first in range(0, len(changes), TOGETHER):
            with ExitStack() as held:
                works = []
                for change in changes[first : first + TOGETHER]:
                    try:
                        works.append(_start(change, own, held))
                    except DataplaneError as error:
                        failures[change] = str(error)
                self._attach_together(works, seen, failures)
        return failures

    def mend(self, changes: Sequence[MendLink]) -> dict[Change, str]:
        """Restore the host's side of links; those that failed, with their reasons."""
        failures: dict[Change, str] = {}
        self._ipv6 = sysctl.has_ipv6()
        requests: dict[_Work, list[Request]] = {}
        for change in changes:
            try:
                work = _Work(change, _wiring_of(change))
                requests[work] = [restore_address(_index_of(work.name))]
            except DataplaneError as error:
                failures[change] = str(error)
        reasons = self._transact(requests)
        reasons |= self._open([work for work in requests if work not in reasons])
        return failures | {work.change: reason for work, reason in reasons.items()}

    def remove(self, changes: Sequence[RemoveLink]) -> dict[Change, str]:
        """Delete links, at the price of one; those that failed, with their reasons."""
        failures: dict[Change, str] = {
            each: f"{each.name} is not ours" for each in changes if not owned(each.name)
        }
        seen = {link.name: link for link in self.observe()}
        doomed = [seen[each.name] for each in changes if each not in failures and each.name in seen]
        if reason := self._delete(doomed, seen.values()):
            failures |= {each: reason for each in changes if each not in failures}
        return failures

    def _attach_together(
        self,
        works: Sequence[_Work],
        seen: Mapping[InterfaceName, SeenLink],
        failures: dict[Change, str],
    ) -> None:
        fresh = [work for work in works if not self._is_wired(work, seen.get(work.name))]
        unfinished = [seen[work.name] for work in fresh if work.name in seen]
        if reason := self._delete(unfinished, seen.values()):
            failures |= {work.change: reason for work in works}
            return
        reasons = self._transact(
            {
                work: [
                    messages.create_veth(
                        work.name,
                        work.wiring.device,
                        work.namespace,
                        work.wiring.mac,
                        work.wiring.mtu,
                    )
                ]
                for work in fresh
            },
            explain=_creation_refused,
        )
        inside: dict[_Work, int] = {}
        for work in fresh:
            if work not in reasons:
                try:
                    inside[work] = self._wire_task(work)
                except DataplaneError as error:
                    reasons[work] = str(error)
        reasons |= self._open([work for work in works if work not in reasons])
        for work, index in inside.items():
            if work not in reasons:
                self._settle(work, index)
        failures |= {work.change: reason for work, reason in reasons.items()}

    def _is_wired(self, work: _Work, link: SeenLink | None) -> bool:
        """Whether the task's side is done, and done in this very namespace."""
        if link is None or link.alias != work.wiring.alias:
            return False
        return link.namespace_id == self._namespace_id(work)

    def _namespace_id(self, work: _Work) -> int:
        reply = self._host.ask(messages.ask_namespace_id(work.namespace))
        return messages.parse_namespace_id(reply.body)

    def _wire_task(self, work: _Work) -> int:
        """Set up the task's side from inside; its index there. Raises DataplaneError."""
        with entered(work.namespace, self._home), NetlinkSocket(self._step) as inside:
            index = _index_of(work.wiring.device)
            ipv6 = TASK_SIDE_IPV6 if _has_ipv6_address(work.wiring) else IPV6_OFF
            self._set_ipv6(work.wiring.device, ipv6)
            if reason := _first_reason(inside.transact(_task_side(index, work.wiring))):
                raise DataplaneError(reason)
            return index

    def _settle(self, work: _Work, index: int) -> None:
        # Only speeds up the first packet: a task that went by now is no failure.
        with suppress(DataplaneError):
            self._host.ask(messages.settle_link(index, self._namespace_id(work)))

    def _open(self, works: Sequence[_Work]) -> dict[_Work, str]:
        """Set up the host's side; only what is wholly set up comes up."""
        reasons: dict[_Work, str] = {}
        index_by_work: dict[_Work, int] = {}
        with sysctl.opened_tree() as tree:
            for work in works:
                try:
                    index_by_work[work] = _index_of(work.name)
                    ipv6 = HOST_SIDE_IPV6 if _has_ipv6_address(work.wiring) else IPV6_OFF
                    self._set_ipv6(work.name, ipv6, tree)
                except DataplaneError as error:
                    reasons[work] = str(error)
        reasons |= self._transact(
            {
                work: _host_side(index, work.wiring)
                for work, index in index_by_work.items()
                if work not in reasons
            }
        )
        return reasons | self._transact(
            {
                work: [messages.raise_link(index, work.wiring.alias)]
                for work, index in index_by_work.items()
                if work not in reasons
            }
        )

    def _set_ipv6(self, interface: str, values: Mapping[str, str], tree: int | None = None) -> None:
        if not self._ipv6:
            return
        for name, value in values.items():
            path = f"net/ipv6/conf/{interface}/{name}"
            self._step(f"set {path}")
            sysctl.write(path, value, tree)

    def _delete(self, doomed: Sequence[SeenLink], present: Iterable[SeenLink]) -> str:
        """Delete devices; the reason if that failed.

        Each deletion of its own waits for a grace period of the kernel (21 ms
        measured), so they are gathered in a group that no other device is in.
        """
        if not doomed:
            return ""
        taken = {link.group for link in present}
        group = next(each for each in itertools.count(DOOMED_GROUP) if each not in taken)
        gather = [messages.put_in_group(link.index, group) for link in doomed]
        answers = self._host.transact([*gather, messages.delete_group(group)])
        return _first_reason(answers, accepted=ENODEV)

    def _transact(
        self,
        requests: Mapping[_Work, Sequence[Request]],
        explain: Callable[[_Work, Refusal], str] = _as_told,
    ) -> dict[_Work, str]:
        """Send all in one go; the reasons of those of which any was refused."""
        answers = iter(self._host.transact([each for many in requests.values() for each in many]))
        reasons: dict[_Work, str] = {}
        for work, many in requests.items():
            for refusal in itertools.islice(answers, len(many)):
                if refusal is not None and work not in reasons:
                    reasons[work] = explain(work, refusal)
        return reasons


def owned(name: str) -> bool:
    """Whether a device is ours, by its name."""
    return name.startswith(INTERFACE_PREFIX)


def _start(change: AttachTask, own: frozenset[int], held: ExitStack) -> _Work:
    wiring = _wiring_of(change)
    return _Work(change, wiring, held.enter_context(opened(change.namespace, own)))


def _wiring_of(change: AttachTask | MendLink) -> Wiring:
    link = change.link
    if not owned(link.name):
        raise DataplaneError(f"{link.name} is not ours")
    if link.wiring is None:
        raise DataplaneError(f"{link.name} has no wiring")
    return link.wiring


def _exists(name: str) -> bool:
    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False


def _index_of(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise DataplaneError(f"interface {name} is gone") from error


def _task_side(index: int, wiring: Wiring) -> list[Request]:
    """All that a task needs: its addresses, a gateway, and that gateway's MAC."""
    requests = [messages.raise_link(messages.LOOPBACK)]
    if _has_ipv6_address(wiring):
        requests.append(messages.set_no_link_local(index))
    requests += [messages.add_address(index, address) for address in wiring.addresses]
    requests.append(messages.raise_link(index))
    for gateway in _gateways(wiring):
        requests += messages.add_gateway(index, gateway)
        requests.append(messages.add_neighbour(index, gateway, HOST_MAC))
    return requests


def _host_side(index: int, wiring: Wiring) -> list[Request]:
    """All that the host needs before the link may come up."""
    requests = [messages.set_ipv4(index, HOST_SIDE_IPV4)]
    if _has_ipv6_address(wiring):
        requests.append(messages.set_no_link_local(index))
    requests += [messages.add_neighbour(index, each, wiring.mac) for each in wiring.addresses]
    return requests


def _gateways(wiring: Wiring) -> list[IPAddress]:
    versions = {address.version for address in wiring.addresses}
    return [gateway for gateway in (GATEWAY4, GATEWAY6) if gateway.version in versions]


def _has_ipv6_address(wiring: Wiring) -> bool:
    return any(address.version == 6 for address in wiring.addresses)


def _creation_refused(work: _Work, refusal: Refusal) -> str:
    # The host's side was free, so it is the task's that is taken.
    if refusal.code == EEXIST:
        return f"its namespace already has an interface {work.wiring.device} that is not ours"
    return refusal.reason


def _first_reason(answers: Iterable[Refusal | None], accepted: int = 0) -> str:
    refused = (each.reason for each in answers if each is not None and each.code != accepted)
    return next(refused, "")

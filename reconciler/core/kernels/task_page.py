"""What an agent tells of a task's network over HTTP, as values that both ends share.

A reader that is newer or older than the agent takes what it knows and passes
over the rest, so fields are only ever added, each with a default.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from calico.dataplane.nft.words import Names, element_text
from calico.dataplane.render.endpoints import mac_text
from calico.dataplane.state import (
    HostState,
    Link,
    LinkSide,
    NftRule,
    NftSet,
    Route,
    RuleCount,
    SeenTaskLink,
)
from calico.model import InterfaceName
from reconciler.core.kernels.look import (
    KernelDifference,
    Look,
    kernel_differences,
    route_text,
    rules_by_digest,
    set_names,
    spoken,
    task_of_link,
)

Counts = Mapping[str, tuple[RuleCount, ...]]

POLICED = (("inbound", "in4"), ("inbound", "in6"), ("outbound", "out"))


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing of a task's network: as the agent wants it, and as the kernel has it."""

    what: str
    wanted: tuple[str, ...] = ()
    found: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleTold:
    """A rule of the kernel; the counts are None where nothing is counted."""

    number: int
    text: str
    wanted: bool = True
    packets: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ChainTold:
    """A chain that a task's packets walk; all tasks with the same profiles share it."""

    direction: str
    name: str
    rules: tuple[RuleTold, ...] = ()


@dataclass(frozen=True, slots=True)
class SetTold:
    """A set of the kernel that a task is in; `meaning` is empty for a plain name."""

    name: str
    meaning: str
    elements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went through a task's link since it was made."""

    packets: int = 0
    bytes: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One task's network in its host's kernel.

    `unread` says why the task's own side could not be read; it is empty if it was.
    """

    host: str
    task: str
    looked_at: str
    revision: int
    interface: str = ""
    facts: tuple[Fact, ...] = ()
    chains: tuple[ChainTold, ...] = ()
    sets: tuple[SetTold, ...] = ()
    sent: Traffic | None = None
    received: Traffic | None = None
    differences: tuple[KernelDifference, ...] = ()
    unread: str = ""


def link_of_task(look: Look, task: str) -> Link | None:
    """The link that a task should have, else one that it has."""
    for state in (look.desired, look.observed):
        for link in state.links.values():
            if task_of_link(link) == task:
                return link
    return None


def is_known(look: Look, task: str) -> bool:
    """Whether the host has anything of a task, or should have."""
    asked = any(each.host == look.host and each.workload == task for each in look.snapshot.specs)
    return asked or link_of_task(look, task) is not None


def chains_of_task(look: Look, task: str) -> tuple[str, ...]:
    """The chains of its profiles that a task's packets walk in the kernel."""
    link = link_of_task(look, task)
    if link is None:
        return ()
    policed = _policed(look.observed, link.name, _addresses(look, link.name))
    return tuple(dict.fromkeys(name for _, name in policed))


def task_page(
    look: Look, task: str, seen: SeenTaskLink | None, counts: Counts, unread: str = ""
) -> TaskPage:
    """One task, perhaps without anything of it; `counts` are those of its chains."""
    link = link_of_task(look, task)
    interface = link.name if link is not None else InterfaceName("")
    names = set_names(look.snapshot)
    addresses = _addresses(look, interface)
    chains = _policed(look.observed, interface, addresses)
    return TaskPage(
        host=look.host,
        task=task,
        looked_at=look.at,
        revision=look.revision,
        interface=interface,
        facts=tuple(_facts(look, interface, addresses, seen)),
        chains=tuple(
            _chain_told(direction, look, name, counts.get(name, ()))
            for direction, name in chains
            if name in look.observed.chains
        ),
        sets=tuple(_sets(look.observed.sets.values(), interface, addresses, names)),
        # The host's side receives what the task sends.
        sent=None if seen is None else _received(seen.host),
        received=None if seen is None else _sent(seen.host),
        differences=tuple(each for each in kernel_differences(look) if each.task == task),
        unread=unread,
    )


def _addresses(look: Look, interface: InterfaceName) -> tuple[str, ...]:
    """A task's addresses: those that it should have, else those that lead to it."""
    wanted = look.desired.links.get(interface)
    if wanted is not None and wanted.wiring is not None:
        return tuple(str(address) for address in wanted.wiring.addresses)
    return tuple(sorted(str(each.destination.ip) for each in _routes(look.observed, interface)))


def _routes(state: HostState, interface: InterfaceName) -> Iterator[Route]:
    return (route for route in state.routes if route.interface == interface)


def _facts(
    look: Look, interface: InterfaceName, addresses: tuple[str, ...], seen: SeenTaskLink | None
) -> Iterator[Fact]:
    wanted = look.desired.links.get(interface)
    wiring = wanted.wiring if wanted is not None else None
    inside = seen.inside if seen is not None else None
    yield Fact("link", _link(wanted), _link(look.observed.links.get(interface)))
    yield Fact(
        "address",
        () if wiring is None else tuple(sorted(map(str, wiring.addresses))),
        () if seen is None else tuple(sorted(map(str, seen.addresses))),
    )
    yield Fact(
        "mac",
        () if wiring is None else (mac_text(wiring.mac),),
        () if inside is None else (mac_text(inside.mac),),
    )
    yield Fact(
        "mtu",
        () if wiring is None else (str(wiring.mtu),),
        () if inside is None else (str(inside.mtu),),
    )
    yield Fact(
        "task's side",
        () if wiring is None else ("eth0 up",),
        () if inside is None else (f"{inside.name} {'up' if inside.up else 'down'}",),
    )
    yield Fact(
        "route",
        tuple(sorted(map(route_text, _routes(look.desired, interface)))),
        tuple(sorted(map(route_text, _routes(look.observed, interface)))),
    )
    yield Fact(
        "source check",
        _source_checks(look.desired, interface),
        _source_checks(look.observed, interface),
    )
    for direction in ("inbound", "outbound"):
        yield Fact(
            direction,
            _chain_names(look.desired, interface, addresses, direction),
            _chain_names(look.observed, interface, addresses, direction),
        )


def _link(link: Link | None) -> tuple[str, ...]:
    if link is None:
        return ()
    sound = "" if link.sound else ", with changed settings"
    return (f"{link.name} {'up' if link.up else 'down'}{sound}",)


def _source_checks(state: HostState, interface: InterfaceName) -> tuple[str, ...]:
    """What packets of an interface must come from, or are dropped."""
    found = []
    for version in (4, 6):
        held = state.sets.get(f"source{version}")
        for element in held.elements if held is not None else ():
            match element:
                case ("concat", name, mac, address) if name == interface:
                    found.append(f"{address} from {mac}")
    return tuple(sorted(found))


def _policed(
    state: HostState, interface: InterfaceName, addresses: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """The chains that the verdict maps lead a task's packets to, with their direction."""
    keys = {interface, *addresses}
    found: dict[tuple[str, str], None] = {}
    for direction, name in POLICED:
        held = state.sets.get(name)
        for element in sorted(held.elements, key=repr) if held is not None else ():
            match element:
                case (key, ("goto", str() as chain)) if key in keys:
                    found[direction, chain] = None
    return tuple(found)


def _chain_names(
    state: HostState, interface: InterfaceName, addresses: Iterable[str], direction: str
) -> tuple[str, ...]:
    return tuple(
        f"chain {name}" for each, name in _policed(state, interface, addresses) if each == direction
    )


def _chain_told(direction: str, look: Look, name: str, counts: tuple[RuleCount, ...]) -> ChainTold:
    names, known = set_names(look.snapshot), rules_by_digest(look.desired)
    wanted = look.desired.chains.get(name)
    digests = {rule.digest for rule in wanted.rules} if wanted is not None else set()
    rules = []
    for number, rule in enumerate(look.observed.chains[name].rules, start=1):
        count = count_of(rule, number, counts)
        text = spoken(rule, known, names)
        rules.append(
            RuleTold(
                number=number,
                text=text,
                wanted=rule.digest in digests,
                packets=count.packets,
                bytes=count.bytes,
            )
        )
    return ChainTold(direction, name, tuple(rules))


def count_of(rule: NftRule, number: int, counts: tuple[RuleCount, ...]) -> RuleCount:
    """A rule's count; chains may have changed since they were looked at."""
    if number <= len(counts) and counts[number - 1].digest == rule.digest:
        return counts[number - 1]
    return RuleCount(rule.digest)


def _sets(
    sets: Iterable[NftSet], interface: InterfaceName, addresses: Iterable[str], names: Names
) -> Iterator[SetTold]:
    keys = {interface, *addresses}
    for each in sorted(sets, key=lambda each: each.name):
        if each.verdicts:
            continue
        held = [element for element in each.elements if keys & _parts(element)]
        if held:
            elements = tuple(sorted(map(element_text, held)))
            yield SetTold(each.name, names.get(each.name, ""), elements)


def _parts(element: object) -> set[object]:
    return set(element) if isinstance(element, tuple) else {element}


def _received(side: LinkSide) -> Traffic:
    counters = side.counters
    return Traffic(counters.received_packets, counters.received_bytes, counters.received_dropped)


def _sent(side: LinkSide) -> Traffic:
    counters = side.counters
    return Traffic(counters.sent_packets, counters.sent_bytes, counters.sent_dropped)

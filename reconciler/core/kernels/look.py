"""One look at a host's kernel beside what it should hold, and where they differ."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import assert_never

from netaddr import IPAddress

from calico.dataplane.nft.words import Names, element_text, rule_text
from calico.dataplane.render.policy import tag_set_name
from calico.dataplane.state import (
    Chain,
    HostState,
    Link,
    MarkRule,
    NftRule,
    NftSet,
    Route,
    RouteKind,
)
from calico.model import HostName, InterfaceName, Snapshot

MOST_ELEMENTS = 5


@dataclass(frozen=True, slots=True)
class Look:
    """What an agent saw in its kernel, and what it wanted to see.

    `addresses` are the host's own. `revision` is that of the datastore's state
    behind `desired`; `doubt` says why newer state is not acted on. `at` is the
    time in RFC 3339.
    """

    host: HostName
    addresses: tuple[IPAddress, ...]
    underlay: str
    at: str
    revision: int
    source: str
    desired: HostState
    observed: HostState
    snapshot: Snapshot
    doubt: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KernelDifference:
    """`+` should be in the kernel and is not, `-` is and should not.

    `task` is empty for what is no single task's.
    """

    sign: str
    task: str
    what: str
    value: str


@dataclass(frozen=True, slots=True)
class _Owners:
    """Whose an interface or an address is."""

    tasks: Mapping[str, str] = field(default_factory=dict)

    def of(self, *names: object) -> str:
        """The task of the first name that is one's."""
        return next((self.tasks[str(name)] for name in names if str(name) in self.tasks), "")


def kernel_differences(look: Look) -> tuple[KernelDifference, ...]:
    """Everything that is missing in the kernel, and everything of ours that is too much."""
    desired, observed, names = look.desired, look.observed, set_names(look.snapshot)
    owners = _owners(desired, observed)
    return (
        *_links(desired.links, observed.links, owners),
        *_routes(desired.routes, observed.routes, owners),
        *_mark_rules(desired.mark_rules, observed.mark_rules),
        *_chains(desired.chains, observed.chains, names, rules_by_digest(desired)),
        *_sets(desired.sets, observed.sets, names, owners),
        *_sysctls(desired.sysctls, observed.sysctls),
    )


def set_names(snapshot: Snapshot) -> Names:
    """The sets of tags in words: their names in the kernel are digests."""
    return {
        tag_set_name(tag, version): f"tag {tag}"
        for profile in snapshot.profiles.values()
        for tag in profile.tags
        for version in (4, 6)
    }


def rules_by_digest(desired: HostState) -> Mapping[str, NftRule]:
    """The rules as we wrote them: the kernel tells their names, or uses other words."""
    return {rule.digest: rule for chain in desired.chains.values() for rule in chain.rules}


def spoken(rule: NftRule, known: Mapping[str, NftRule], names: Names) -> str:
    """A rule of the kernel in words, which are ours if it is."""
    return rule_text(known.get(rule.digest, rule), names)


def task_of_link(link: Link) -> str:
    """The task that a link was made for; a finished one carries its id."""
    return link.wiring.task if link.wiring is not None else link.alias.partition(" ")[0]


def route_text(route: Route) -> str:
    """A route as `ip route` writes it."""
    words = [str(route.destination.cidr)]
    match route.kind:
        case RouteKind.TASK:
            words.append(f"dev {route.interface}")
        case RouteKind.HOST:
            words.append(f"via {route.gateway}")
        case RouteKind.BLACKHOLE:
            words.insert(0, "blackhole")
        case _:
            assert_never(route.kind)
    if route.source is not None:
        words.append(f"src {route.source}")
    return " ".join((*words, f"table {route.table}"))


def mark_rule_text(rule: MarkRule) -> str:
    """An `ip rule` in one line."""
    who = "the host's own packets" if rule.mark is None else f"fwmark {rule.mark:#x}"
    return f"IPv{rule.version} {rule.preference}: {who} look into our table"


def _owners(desired: HostState, observed: HostState) -> _Owners:
    tasks: dict[str, str] = {}
    for link in (*observed.links.values(), *desired.links.values()):
        tasks[link.name] = task_of_link(link)
        if link.wiring is not None:
            tasks |= {str(address): link.wiring.task for address in link.wiring.addresses}
    return _Owners(tasks)


def _links(
    desired: Mapping[InterfaceName, Link], observed: Mapping[InterfaceName, Link], owners: _Owners
) -> Iterator[KernelDifference]:
    for name in sorted(desired.keys() | observed.keys()):
        wanted, found = desired.get(name), observed.get(name)
        if wanted == found:
            continue
        if found is not None:
            yield KernelDifference(
                sign="-", task=owners.of(name), what="link", value=_link_text(found, wanted)
            )
        if wanted is not None:
            yield KernelDifference(
                sign="+", task=owners.of(name), what="link", value=_link_text(wanted, None)
            )


def _link_text(link: Link, wanted: Link | None) -> str:
    state = ("up" if link.up else "down") + ("" if link.sound else ", with changed settings")
    if wanted is None or link.alias == wanted.alias:
        return f"{link.name} {state}"
    if not link.alias:
        return f"{link.name} {state}, unfinished"
    return f"{link.name} {state}, wired otherwise: {link.alias}"


def _routes(
    desired: AbstractSet[Route], observed: AbstractSet[Route], owners: _Owners
) -> Iterator[KernelDifference]:
    for sign, routes in (("-", observed - desired), ("+", desired - observed)):
        for route in sorted(routes, key=route_text):
            task = owners.of(route.interface, route.destination.ip)
            yield KernelDifference(sign=sign, task=task, what="route", value=route_text(route))


def _mark_rules(
    desired: AbstractSet[MarkRule], observed: AbstractSet[MarkRule]
) -> Iterator[KernelDifference]:
    for sign, rules in (("-", observed - desired), ("+", desired - observed)):
        for text in sorted(map(mark_rule_text, rules)):
            yield KernelDifference(sign=sign, task="", what="ip rule", value=text)


def _chains(
    desired: Mapping[str, Chain],
    observed: Mapping[str, Chain],
    names: Names,
    known: Mapping[str, NftRule],
) -> Iterator[KernelDifference]:
    for name in sorted(desired.keys() | observed.keys()):
        wanted, found = desired.get(name), observed.get(name)
        if wanted == found:
            continue
        if wanted is None or found is None:
            sign, chain = ("+", wanted) if wanted is not None else ("-", found)
            count = len(chain.rules) if chain is not None else 0
            yield KernelDifference(
                sign=sign, task="", what="chain", value=f"{name} ({count} rules)"
            )
            continue
        if wanted.base != found.base:
            yield KernelDifference(sign="-", task="", what="chain", value=_hook_text(found))
            yield KernelDifference(sign="+", task="", what="chain", value=_hook_text(wanted))
        yield from _rules(wanted, found, names, known)


def _hook_text(chain: Chain) -> str:
    if chain.base is None:
        return f"{chain.name} at no hook"
    base = chain.base
    return f"{chain.name} at {base.hook}, priority {base.priority}, policy {base.policy}"


def _rules(
    wanted: Chain, found: Chain, names: Names, known: Mapping[str, NftRule]
) -> Iterator[KernelDifference]:
    """Rules by their place: the same ones in another order differ too."""
    had, should = ([rule.digest for rule in chain.rules] for chain in (found, wanted))
    matcher = difflib.SequenceMatcher(a=had, b=should, autojunk=False)
    for word, first, last, to_first, to_last in matcher.get_opcodes():
        if word == "equal":
            continue
        for sign, chain, span in (
            ("-", found, range(first, last)),
            ("+", wanted, range(to_first, to_last)),
        ):
            for place in span:
                text = f"{chain.name} {place + 1}: {spoken(chain.rules[place], known, names)}"
                yield KernelDifference(sign=sign, task="", what="rule", value=text)


def _sets(
    desired: Mapping[str, NftSet],
    observed: Mapping[str, NftSet],
    names: Names,
    owners: _Owners,
) -> Iterator[KernelDifference]:
    for name in sorted(desired.keys() | observed.keys()):
        wanted, found = desired.get(name), observed.get(name)
        shown = f"{name} ({names[name]})" if name in names else name
        if wanted is None or found is None:
            held = wanted or found
            count = len(held.elements) if held is not None else 0
            sign = "-" if wanted is None else "+"
            yield KernelDifference(
                sign=sign, task="", what="set", value=f"{shown} ({count} elements)"
            )
            continue
        if wanted.elements is found.elements or wanted.elements == found.elements:
            continue
        for sign, elements in (
            ("-", found.elements - wanted.elements),
            ("+", wanted.elements - found.elements),
        ):
            yield from _elements(sign, shown, elements, owners)


def _elements(
    sign: str, name: str, elements: Iterable[object], owners: _Owners
) -> Iterator[KernelDifference]:
    listed = sorted(elements, key=repr)
    for element in listed[:MOST_ELEMENTS]:
        parts = element if isinstance(element, tuple) else (element,)
        text = f"{name}: {element_text(element)}"
        yield KernelDifference(sign=sign, task=owners.of(*parts), what="element", value=text)
    if len(listed) > MOST_ELEMENTS:
        more = f"{name}: and {len(listed) - MOST_ELEMENTS} more"
        yield KernelDifference(sign=sign, task="", what="element", value=more)


def _sysctls(desired: Mapping[str, str], observed: Mapping[str, str]) -> Iterator[KernelDifference]:
    for path, value in sorted(desired.items()):
        found = observed.get(path)
        if found == value:
            continue
        if found is not None:
            yield KernelDifference(sign="-", task="", what="setting", value=f"{path} = {found}")
        yield KernelDifference(sign="+", task="", what="setting", value=f"{path} = {value}")

"""A change of our table that is too large for one transaction, in several; pure.

Whoever is not in the initial user namespace may send the kernel so much at once
and no more. Whatever passes in between, the table before or the table after
lets pass as well. Verdict maps lead to policy: they are emptied first and filled
last, unless the change only adds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from calico.dataplane.changes import CommitTable
from calico.dataplane.nft.wire import TYPES
from calico.dataplane.state import Chain, NftRule, NftSet

#: Bytes that one element without its key, a verdict, one name and one rule may
#: take at most; a rule's ports become the two ends of an interval each.
ELEMENT, VERDICT, NAMED, RULE, PORT = 24, 72, 256, 400, 40
LARGEST_TYPE = 64
NOTHING: frozenset[object] = frozenset()

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that one transaction may have: of any change, and of elements alone."""

    any: int
    elements: int


def weight(change: CommitTable) -> int:
    """Bytes that a change surely does not exceed."""
    before = {each.name: each.elements for each in change.previous_sets}
    elements = sum(
        len(each.elements ^ before.get(each.name, NOTHING)) * _weight_of_element(each)
        for each in change.sets
    )
    names = len(change.sets) + len(change.removed_chains) + len(change.removed_sets)
    return elements + NAMED * names + sum(map(_weight_of_chain, change.chains))


def _weight_of_element(each: NftSet) -> int:
    key = ELEMENT + sum(TYPES[kind][1] + 3 if kind in TYPES else LARGEST_TYPE for kind in each.kind)
    return key * (2 if each.interval else 1) + (VERDICT if each.verdicts else 0)


def _weight_of_chain(chain: Chain) -> int:
    return 2 * NAMED + sum(map(_weight_of_rule, chain.rules))


def _weight_of_rule(rule: NftRule) -> int:
    return RULE + 3 * len(rule.expression) + PORT * rule.expression.count(",")


def split_commit(
    change: CommitTable, chains: Mapping[str, Chain], sets: Mapping[str, NftSet], room: Room
) -> Iterator[CommitTable]:
    """Changes that together make this one, each in its room.

    `chains` and `sets` are what the table holds; `previous_sets` of the change
    agree with them. A frame of chains that no map leads to, and a gap between
    intervals, cannot be divided and is one transaction whatever its size.
    """
    previous = {each.name: each for each in change.previous_sets}
    plain = CommitTable(
        sets=tuple(each for each in change.sets if not each.verdicts and not each.interval),
        previous_sets=change.previous_sets,
    )
    wanted = {each.name: each for each in change.sets if each.verdicts}
    held = {name: each for name, each in sets.items() if each.verdicts}
    closing = not _only_adds(change, chains) or weight(plain) > room.elements
    if closing:
        for each in held.values():
            yield from _stepwise(each, replace(each, elements=NOTHING), room)
        wanted = {name: held[name] for name in held if name not in change.removed_sets} | wanted
        held = {name: replace(each, elements=NOTHING) for name, each in held.items()}
    fresh = [replace(each, elements=NOTHING) for each in change.sets if each.name not in previous]
    for some in _packed(fresh, lambda _: NAMED, room.any):
        yield CommitTable(sets=some)
    yield from _frame(change, [*wanted.values(), *sets.values()], previous)
    yield from _fill(plain, previous, room)
    led_to = [each for each in change.chains if each.name in _targets([*wanted.values()])]
    for chosen in _packed(led_to, _weight_of_chain, room.any):
        yield CommitTable(chains=chosen)
    for name, each in wanted.items():
        before = held.get(name, replace(each, elements=NOTHING))
        yield from _stepwise(before, each, room)
    yield from _removals(change, sets, room)


def _only_adds(change: CommitTable, chains: Mapping[str, Chain]) -> bool:
    after = {each.name: each.elements for each in change.sets}
    return (
        not change.removed_chains
        and not change.removed_sets
        and not any(each.name in chains for each in change.chains)
        and all(each.elements <= after.get(each.name, NOTHING) for each in change.previous_sets)
    )


def _frame(
    change: CommitTable, maps: Iterable[NftSet], previous: Mapping[str, NftSet]
) -> Iterator[CommitTable]:
    """What is the same for every task: it changes at one instant."""
    targets = _targets(maps)
    chains = tuple(each for each in change.chains if each.name not in targets)
    intervals = tuple(each for each in change.sets if each.interval)
    if chains or intervals:
        before = tuple(
            previous.get(each.name, replace(each, elements=NOTHING)) for each in intervals
        )
        yield CommitTable(chains, intervals, before)


def _fill(plain: CommitTable, previous: Mapping[str, NftSet], room: Room) -> Iterator[CommitTable]:
    pairs = [
        (previous.get(each.name, replace(each, elements=NOTHING)), each) for each in plain.sets
    ]
    whole = CommitTable(
        sets=tuple(after for _, after in pairs), previous_sets=tuple(before for before, _ in pairs)
    )
    if weight(whole) <= room.elements:
        if pairs:
            yield whole
        return
    for before, after in pairs:
        yield from _stepwise(before, after, room)


def _stepwise(before: NftSet, after: NftSet, room: Room) -> Iterator[CommitTable]:
    """From one set to another, what goes before what comes."""
    at_once = max(1, room.elements // _weight_of_element(after))
    steps = [
        *((element, False) for element in before.elements - after.elements),
        *((element, True) for element in after.elements - before.elements),
    ]
    last = before
    for first in range(0, len(steps), at_once):
        some = steps[first : first + at_once]
        gone = {element for element, comes in some if not comes}
        come = {element for element, comes in some if comes}
        following = replace(last, elements=(last.elements - gone) | come)
        yield CommitTable(sets=(following,), previous_sets=(last,))
        last = following


def _removals(change: CommitTable, sets: Mapping[str, NftSet], room: Room) -> Iterator[CommitTable]:
    """Maps before the chains that they led to, those before the sets they look up."""
    maps = [name for name in change.removed_sets if name in sets and sets[name].verdicts]
    others = [name for name in change.removed_sets if name not in maps]
    for some in _packed(maps, lambda _: NAMED, room.any):
        yield CommitTable(removed_sets=some)
    for some in _packed(change.removed_chains, lambda _: 2 * NAMED, room.any):
        yield CommitTable(removed_chains=some)
    for some in _packed(others, lambda _: NAMED, room.any):
        yield CommitTable(removed_sets=some)


def _targets(maps: Iterable[NftSet]) -> frozenset[str]:
    return frozenset(
        str(target)
        for each in maps
        if each.verdicts
        for _, (_, *targets) in map(_pair, each.elements)
        for target in targets
    )


def _pair(element: object) -> tuple[object, tuple[object, ...]]:
    match element:
        case (key, (*verdict,)):
            return key, tuple(verdict)
        case _:
            return element, ("",)


def _packed(
    items: Iterable[Item], weigh: Callable[[Item], int], room: int
) -> Iterator[tuple[Item, ...]]:
    """As many as fit together, at least one at a time."""
    together: list[Item] = []
    load = 0
    for item in items:
        each = weigh(item)
        if together and load + each > room:
            yield tuple(together)
            together, load = [], 0
        together.append(item)
        load += each
    if together:
        yield tuple(together)

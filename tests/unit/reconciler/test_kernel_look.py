"""Where a kernel differs from what it should hold, in sentences."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.dataplane.nft.expr import ACCEPT, dropping, matches, meta, rule
from calico.dataplane.render.host import render_host
from calico.dataplane.state import (
    BaseHook,
    Chain,
    HostState,
    Link,
    MarkRule,
    NftSet,
    Route,
    RouteKind,
)
from calico.model import InterfaceName
from reconciler.core.kernels.look import KernelDifference, Look, kernel_differences
from tests.dataplane_worlds import CONFIG, HERE, group, openings, snapshot, spec

WEB = spec("web.1", "red", "app", addresses=["10.9.0.1"])
WORLD = snapshot([WEB], [group("red"), openings("app", "red", 80)])
DESIRED = render_host(WORLD, CONFIG).state
(LINK,) = DESIRED.links.values()
NAME = LINK.name
(ROUTE,) = (each for each in DESIRED.routes if each.kind is RouteKind.TASK)
IN = next(chain for chain in DESIRED.chains.values() if chain.name.startswith("in-"))
SPY = Chain("spy", (rule(ACCEPT),), BaseHook("filter", "forward", 9, "accept"))
HOLE = rule(matches(meta("l4proto"), 6), ACCEPT)


def differences(observed: HostState) -> list[tuple[str, str, str, str]]:
    look = Look(HERE, (CONFIG.address,), "eth0", "", 1, "", DESIRED, observed, WORLD)
    found = kernel_differences(look)
    assert all(isinstance(each, KernelDifference) for each in found)
    return [(each.sign, each.task, each.what, each.value) for each in found]


def chains(*changed: Chain) -> HostState:
    return replace(DESIRED, chains={**DESIRED.chains, **{each.name: each for each in changed}})


def elements(name: str, change: Callable[[frozenset[object]], frozenset[object]]) -> HostState:
    held = DESIRED.sets[name]
    sets = {**DESIRED.sets, name: replace(held, elements=change(held.elements))}
    return replace(DESIRED, sets=sets)


def test_a_kernel_that_holds_what_it_should_does_not_differ() -> None:
    assert differences(DESIRED) == []


@pytest.mark.parametrize(
    ("observed", "told"),
    [
        pytest.param(
            replace(DESIRED, links={}), [("+", "web.1", "link", f"{NAME} up")], id="link missing"
        ),
        pytest.param(
            replace(DESIRED, links={NAME: replace(LINK, up=False)}),
            [("-", "web.1", "link", f"{NAME} down"), ("+", "web.1", "link", f"{NAME} up")],
            id="link down",
        ),
        pytest.param(
            replace(DESIRED, links={NAME: replace(LINK, alias="")}),
            [
                ("-", "web.1", "link", f"{NAME} up, unfinished"),
                ("+", "web.1", "link", f"{NAME} up"),
            ],
            id="link unfinished",
        ),
        pytest.param(
            replace(DESIRED, links={NAME: replace(LINK, sound=False)}),
            [
                ("-", "web.1", "link", f"{NAME} up, with changed settings"),
                ("+", "web.1", "link", f"{NAME} up"),
            ],
            id="link with changed settings",
        ),
        pytest.param(
            replace(
                DESIRED,
                links={
                    **DESIRED.links,
                    InterfaceName("cali9"): Link(InterfaceName("cali9"), "old.1 x"),
                },
            ),
            [("-", "old.1", "link", "cali9 up")],
            id="link of a task that nothing asks for",
        ),
        pytest.param(
            replace(DESIRED, routes=DESIRED.routes - {ROUTE}),
            [("+", "web.1", "route", f"10.9.0.1/32 dev {NAME} src {CONFIG.address} table 80")],
            id="route missing",
        ),
        pytest.param(
            replace(
                DESIRED,
                routes=DESIRED.routes
                | {Route(IPNetwork("10.9.9.0/26"), RouteKind.HOST, gateway=IPAddress("10.77.0.9"))},
            ),
            [("-", "", "route", "10.9.9.0/26 via 10.77.0.9 table 80")],
            id="route too much",
        ),
        pytest.param(
            replace(DESIRED, mark_rules=DESIRED.mark_rules - {MarkRule(4, 100, CONFIG.mark)}),
            [("+", "", "ip rule", "IPv4 100: fwmark 0x10000 look into our table")],
            id="ip rule missing",
        ),
        pytest.param(
            chains(SPY), [("-", "", "chain", "spy (1 rules)")], id="chain of another program"
        ),
        pytest.param(
            replace(DESIRED, chains={k: v for k, v in DESIRED.chains.items() if k != IN.name}),
            [("+", "", "chain", f"{IN.name} ({len(IN.rules)} rules)")],
            id="chain missing",
        ),
        pytest.param(
            chains(replace(IN, rules=(HOLE, *IN.rules))),
            [("-", "", "rule", f"{IN.name} 1: meta l4proto tcp accept")],
            id="rule too much",
        ),
        pytest.param(
            chains(replace(IN, rules=IN.rules[1:])),
            [("+", "", "rule", f"{IN.name} 1: ip saddr tag red tcp dport 80 goto admitted")],
            id="rule missing",
        ),
        pytest.param(
            chains(replace(IN, rules=(*IN.rules[:-1], dropping(matches(meta("l4proto"), 6))))),
            [
                ("-", "", "rule", f"{IN.name} {len(IN.rules)}: meta l4proto tcp drop"),
                ("+", "", "rule", f"{IN.name} {len(IN.rules)}: drop"),
            ],
            id="another rule in its place",
        ),
        pytest.param(
            elements("local4", lambda held: held | {"10.9.0.77"}),
            [("-", "", "element", "local4: 10.9.0.77")],
            id="element too much",
        ),
        pytest.param(
            elements("in4", lambda _: frozenset()),
            [("+", "web.1", "element", f"in4: 10.9.0.1 : goto {IN.name}")],
            id="element of a task missing",
        ),
        pytest.param(
            replace(
                DESIRED, sets={**DESIRED.sets, "new": NftSet("new", ("ipv4_addr",), frozenset())}
            ),
            [("-", "", "set", "new (0 elements)")],
            id="set of another program",
        ),
        pytest.param(
            replace(DESIRED, sysctls={**DESIRED.sysctls, "net/ipv4/ip_forward": "0"}),
            [
                ("-", "", "setting", "net/ipv4/ip_forward = 0"),
                ("+", "", "setting", "net/ipv4/ip_forward = 1"),
            ],
            id="setting",
        ),
    ],
)
def test_each_difference_is_told_with_its_task(
    observed: HostState, told: list[tuple[str, str, str, str]]
) -> None:
    assert differences(observed) == told


def test_the_order_of_rules_counts() -> None:
    found = differences(chains(replace(IN, rules=IN.rules[::-1])))
    assert {sign for sign, *_ in found} == {"+", "-"}


def test_an_empty_kernel_lacks_everything_of_ours() -> None:
    found = differences(HostState())
    assert {sign for sign, *_ in found} == {"+"}
    assert {what for _, _, what, _ in found} == {
        *("link", "route", "ip rule", "chain", "set", "setting")
    }


def test_many_elements_are_counted_not_listed() -> None:
    many = frozenset(f"10.9.1.{number}" for number in range(100))
    found = differences(elements("local4", lambda held: held | many))
    assert len(found) == 6
    assert found[-1] == ("-", "", "element", "local4: and 95 more")


def test_rules_of_which_the_kernel_told_the_names_alone_are_still_told() -> None:
    # given what one's own messages read of a table
    bare = {
        name: replace(chain, rules=tuple(replace(each, expression="") for each in chain.rules))
        for name, chain in DESIRED.chains.items()
    }
    assert differences(replace(DESIRED, chains=bare)) == []
    bare[IN.name] = replace(bare[IN.name], rules=bare[IN.name].rules[1:])
    ((_, _, _, value),) = differences(replace(DESIRED, chains=bare))
    assert value.endswith("ip saddr tag red tcp dport 80 goto admitted")

"""What is told of a host's chains as a whole: what each has dropped."""

from dataclasses import replace

import pytest

from calico.dataplane.nft.expr import (
    ACCEPT,
    DROP,
    dropping,
    ends_in_drop,
    goto,
    matches,
    meta,
    rule,
)
from calico.dataplane.render.host import render_host
from calico.dataplane.state import Chain, HostState, NftRule, RuleCount
from reconciler.core.kernels.host_page import chains_of_host, host_page
from reconciler.core.kernels.look import Look
from tests.dataplane_worlds import CONFIG, HERE, group, openings, snapshot, spec

WEB = spec("web.1", "red", "app", addresses=["10.9.0.1"])
WORLD = snapshot([WEB], [group("red"), openings("app", "red", 80)])
DESIRED = render_host(WORLD, CONFIG).state
TCP = matches(meta("l4proto"), 6)


def look_at(observed: HostState) -> Look:
    return Look(HERE, (CONFIG.address,), "eth0", "", 1, "", DESIRED, observed, WORLD)


def told_by_name_only(rule_of_kernel: NftRule) -> NftRule:
    return NftRule(rule_of_kernel.digest, "")


@pytest.mark.parametrize(
    ("given", "drops"),
    [
        pytest.param(rule(TCP, DROP), True, id="it does"),
        pytest.param(dropping(TCP), True, id="it counts too"),
        pytest.param(rule(TCP, ACCEPT), False, id="it accepts"),
        pytest.param(rule(goto("to-drop")), False, id="a chain of such a name"),
        pytest.param(NftRule("drop", ""), False, id="unknown words and such a name"),
    ],
)
def test_a_rule_drops_by_what_it_does_not_by_how_it_is_written(given: NftRule, drops: bool) -> None:
    assert ends_in_drop(given) is drops


def test_every_chain_that_no_profile_is_asked_about_is_counted() -> None:
    dropping_chains = {
        name
        for name, chain in DESIRED.chains.items()
        if not name.startswith(("in-", "out-")) and any(map(ends_in_drop, chain.rules))
    }
    counts = {
        name: tuple(RuleCount(rule.digest, 1, 100) for rule in DESIRED.chains[name].rules)
        for name in chains_of_host(look_at(DESIRED))
    }

    drops = host_page(look_at(DESIRED), counts).drops

    assert drops.keys() == dropping_chains
    assert {"check-address", "posing", "prerouting"} <= drops.keys()
    assert all(drops.values())


def test_what_another_program_s_rule_drops_is_counted_and_so_is_one_of_ours_known_by_name() -> None:
    ours = DESIRED.chains["check-address"]
    observed = replace(
        DESIRED,
        chains={
            "check-address": replace(ours, rules=tuple(map(told_by_name_only, ours.rules))),
            "foreign": Chain("foreign", (rule(TCP, DROP), rule(TCP, ACCEPT))),
        },
    )
    counts = {
        name: tuple(RuleCount(rule.digest, 7, 700) for rule in chain.rules)
        for name, chain in observed.chains.items()
    }

    assert host_page(look_at(observed), counts).drops == {"check-address": 7, "foreign": 7}

"""Whole passes of an agent over what it should never have been given."""

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from calico.codec import decode_rules
from calico.datastore.api import Key
from calico.errors import InvalidValue
from calico.keys import CALICO, CLUSTER_GUID, READY, endpoint_key
from calico.model import Action, EndpointSpec, EndpointState, Rule, TaskId
from reconciler.agent.belief import PREFIXES
from reconciler.agent.state_file import (
    StateFileError,
    parse_state,
    render_state,
    seal,
)
from tests.simulation.leaks import Resident, admits, rules_of
from tests.unit.agent.test_reconcile import Agent, Machine
from tests.unit.agent.test_state_file import STATE
from tests.unit.agent.world import filled_store, put_spec, spec
from tests.unit.hostile.values import damaged, json_values

PASSES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WEB = spec(TaskId("web.1"), "192.168.0.1", "a")
DB = spec(TaskId("db.1"), "192.168.0.2", "b")


def running() -> tuple[Agent, Machine]:
    """Two tasks in two groups, all as it should be."""
    machine, store = Machine(), filled_store()
    for each in (WEB, DB):
        put_spec(store, each)
        machine.start(each)
    agent = Agent(machine, store)
    agent.list()
    agent.settle_without_store()
    return agent, machine


def stored(agent: Agent) -> dict[Key, str]:
    roots = [*PREFIXES, *(CLUSTER_GUID, READY)]
    return {each.key: each.value for root in roots for each in agent.store.list(root).entries}


def lets_in(machine: Machine, source: EndpointSpec, target: EndpointSpec) -> bool:
    """Whether the host's table lets a connection between two of its tasks in."""
    residents = (
        Resident(each.addresses[0], TaskId(each.id.workload), 0, each.interface, frozenset())
        for each in (source, target)
    )
    return admits(0, rules_of(machine.kernel), *residents)


def allowed_by(text: str) -> set[Rule]:
    """What a profile's rules let in; one without an action does too, and is no damage."""
    try:
        inbound, _ = decode_rules(text)
    except InvalidValue:
        return set()
    return {rule for rule in inbound if rule.action is Action.ALLOW}


def test_a_rule_without_an_action_is_not_taken_for_damage() -> None:
    assert allowed_by('{"inbound_rules": [{}]}') == {Rule(Action.ALLOW)}
    assert allowed_by('{"inbound_rules": [{"action": "deny"}]}') == set()
    assert allowed_by("[]") == set()


KEYS = sorted(key for key in stored(running()[0]) if key.startswith(f"{CALICO}/"))


@PASSES
@given(key=st.sampled_from(KEYS), data=st.data())
def test_a_damaged_value_costs_nobody_else_the_network_and_opens_nothing(
    key: Key, data: st.DataObject
) -> None:
    agent, machine = running()
    whole = stored(agent)[key]
    routed = machine.routed()
    others = {each.addresses[0] for each in (WEB, DB) if endpoint_key(each.id) != key}
    text = data.draw(damaged(whole))
    assume(not allowed_by(text) - allowed_by(whole))
    agent.store.put(key, text)

    agent.settle()
    # Who runs is not cut off for a word on another, and whose own makes no sense is closed.
    assert others <= machine.routed() <= routed
    assert not any(lets_in(machine, *pair) for pair in ((WEB, DB), (DB, WEB)))

    agent.store.put(key, whole)
    agent.settle()
    reached = agent.settle()
    states = {status.state for status in reached.statuses.values()}
    assert states == {EndpointState.UP}
    assert machine.routed() == routed


def test_a_group_in_common_is_what_opens() -> None:
    agent, machine = running()
    assert not lets_in(machine, WEB, DB)

    put_spec(agent.store, replace(DB, profiles=(*WEB.profiles, *DB.profiles)))
    agent.settle()

    assert lets_in(machine, WEB, DB)


@pytest.mark.parametrize("cut", range(0, len(render_state(STATE)), 7))
def test_a_state_file_that_was_cut_is_refused(cut: int) -> None:
    with pytest.raises(StateFileError):
        parse_state(render_state(STATE)[:cut])


@PASSES
@given(data=st.data())
def test_a_state_file_of_any_damage_is_refused_or_whole(data: st.DataObject) -> None:
    content = bytearray(render_state(STATE))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        more = data.draw(st.binary(max_size=8))
        content[at : at + data.draw(st.integers(0, 8))] = more
    try:
        found = parse_state(bytes(content))
    except StateFileError:
        return
    assert found == STATE


@PASSES
@given(data=st.data())
def test_a_state_of_another_shape_is_refused_or_read_and_never_half(data: st.DataObject) -> None:
    body = render_state(STATE).partition(b"\n")[2].strip()
    value = json.loads(body)
    name = data.draw(st.sampled_from(sorted(value)))
    value[name] = data.draw(json_values(*value))
    text = json.dumps(value)
    try:
        found = parse_state(seal(text.encode()))
    except StateFileError:
        return
    assert parse_state(render_state(found)) == found

"""One instance of the agents' app for each Mesos agent: what one look decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.scaling import (
    CHANGE_EVERY,
    FEWER_AFTER,
    AgentsApp,
    Decision,
    Fewer,
    Keep,
    Memory,
    Scale,
    Seen,
    decide,
)

NOW = 10_000.0
LONG_AGO = NOW - FEWER_AFTER


@pytest.mark.parametrize(
    ("agents", "instances", "memory", "scaled_to"),
    [
        pytest.param(3, 3, Memory(), None, id="as many as there are"),
        pytest.param(4, 3, Memory(), 4, id="more agents count at once"),
        pytest.param(900, 1, Memory(), 900, id="however many they are"),
        pytest.param(2, 3, Memory(), None, id="fewer do not"),
        pytest.param(2, 3, Memory(Fewer(LONG_AGO + 1, 2)), None, id="nor after a little while"),
        pytest.param(2, 3, Memory(Fewer(LONG_AGO, 2)), 2, id="but after the whole time"),
        pytest.param(1, 4, Memory(Fewer(LONG_AGO, 3)), 3, id="to the most that was seen then"),
        pytest.param(4, 3, Memory(None, NOW - 1), None, id="not twice in a moment"),
        pytest.param(4, 3, Memory(None, NOW - CHANGE_EVERY), 4, id="but after a pause"),
        pytest.param(0, 3, Memory(Fewer(LONG_AGO, 1)), None, id="no agents are never believed"),
        pytest.param(None, 3, Memory(Fewer(LONG_AGO, 1)), None, id="nor is an answer unknown"),
        pytest.param(3, 0, Memory(), None, id="a suspended app stays so"),
    ],
)
def test_the_number_follows_the_agents(
    agents: int | None, instances: int, memory: Memory, scaled_to: int | None
) -> None:
    seen = Seen(agents, AgentsApp(instances, deploying=False))
    decision, _ = decide(seen, memory, NOW)
    assert decision == Scale(scaled_to) if scaled_to else isinstance(decision, Keep)


def test_an_app_that_is_being_deployed_is_left_alone() -> None:
    decision, _ = decide(Seen(5, AgentsApp(3, deploying=True)), Memory(), NOW)
    assert decision == Keep("the app is being deployed")


def test_an_app_that_is_not_there_is_not_made() -> None:
    decision, _ = decide(Seen(5, None), Memory(), NOW)
    assert decision == Keep("there is no such app")


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(Seen(3, AgentsApp(3, deploying=False)), id="all of them"),
        pytest.param(Seen(None, AgentsApp(3, deploying=False)), id="nobody who knows"),
        pytest.param(Seen(0, AgentsApp(3, deploying=False)), id="none"),
        pytest.param(Seen(2, None), id="no app"),
    ],
)
def test_one_other_look_and_the_time_for_fewer_begins_anew(between: Seen) -> None:
    fewer = Seen(2, AgentsApp(3, deploying=False))
    _, memory = decide(fewer, Memory(), 0.0)
    _, memory = decide(between, memory, 10.0)
    decision, memory = decide(fewer, memory, FEWER_AFTER)
    assert isinstance(decision, Keep)
    decision, _ = decide(fewer, memory, 2 * FEWER_AFTER)
    assert decision == Scale(2)


def test_a_deployment_does_not_restart_the_time_for_fewer() -> None:
    _, memory = decide(Seen(2, AgentsApp(3, deploying=True)), Memory(), 0.0)
    decision, _ = decide(Seen(2, AgentsApp(3, deploying=False)), memory, FEWER_AFTER)
    assert decision == Scale(2)


LOOKS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, 6)), st.booleans(), st.sampled_from([5.0, 20.0, 150.0])
    ),
    max_size=60,
)


@given(LOOKS, st.integers(1, 6))
def test_whatever_is_seen_no_host_loses_its_agent_that_was_seen_in_time(
    looks: list[tuple[int | None, bool, float]], instances: int
) -> None:
    """After each change the app has at least as many as any look of the last minutes showed."""
    memory, now, history = Memory(), 0.0, list[tuple[float, int | None]]()
    last_change: float | None = None
    for agents, deploying, pause in looks:
        now += pause
        history.append((now, agents))
        decision: Decision
        decision, memory = decide(Seen(agents, AgentsApp(instances, deploying)), memory, now)
        if isinstance(decision, Scale):
            assert decision.instances > 0
            assert not deploying
            assert last_change is None or now - last_change >= CHANGE_EVERY
            if decision.instances < instances:
                late = [seen for at, seen in history if at >= now - FEWER_AFTER]
                assert all(seen and seen <= decision.instances for seen in late)
            instances, last_change = decision.instances, now

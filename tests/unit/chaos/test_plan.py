"""What a seed makes happen: bounded, and always the same."""

import pytest

from tests.chaos.actions import Break, Cut, Kill, Pause, Wish
from tests.chaos.plan import APPS, AT_ONCE, ETCD, LONG_PAUSE, NO_QUORUM_SECONDS, TAIL, draw_plan

SEEDS = range(200)
SECONDS = 120.0


def test_a_seed_draws_the_same_plan_again_and_another_seed_another_one() -> None:
    assert draw_plan(7, SECONDS) == draw_plan(7, SECONDS)
    assert draw_plan(7, SECONDS) != draw_plan(8, SECONDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_never_more_than_a_few_faults_last_at_once_and_all_have_ended_in_time(seed: int) -> None:
    lasting = [a for a in draw_plan(seed, SECONDS).actions if isinstance(a, Pause | Cut | Break)]

    for action in lasting:
        during = [each for each in lasting if each.at <= action.at < each.at + each.seconds]
        assert len(during) <= AT_ONCE
        assert 0 < action.seconds <= LONG_PAUSE
        assert action.at + action.seconds <= SECONDS - TAIL + 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_etcd_is_without_a_majority_for_a_short_time_only(seed: int) -> None:
    actions = draw_plan(seed, SECONDS).actions
    pauses = [a for a in actions if isinstance(a, Pause) and a.process in ETCD]

    for action in pauses:
        before = [a for a in pauses if a.at < action.at < a.at + a.seconds]
        assert len(before) <= 1
        assert not before or action.seconds <= NO_QUORUM_SECONDS
    for kill in actions:
        if isinstance(kill, Kill) and kill.process in ETCD:
            assert not [a for a in pauses if a.at <= kill.at < a.at + a.seconds]


def test_everything_that_may_happen_happens() -> None:
    plans = [draw_plan(seed, SECONDS) for seed in SEEDS]
    kinds = {type(action).__name__ for plan in plans for action in plan.actions}
    killed = {a.process for plan in plans for a in plan.actions if isinstance(a, Kill)}
    paused = {a.process for plan in plans for a in plan.actions if isinstance(a, Pause)}
    faults = {a.fault for plan in plans for a in plan.actions if isinstance(a, Break)}
    wishes = [a for plan in plans for a in plan.actions if isinstance(a, Wish)]

    assert kinds == {"Kill", "Pause", "Cut", "Break", "EndTask", "Wish"}
    assert killed == paused
    assert len(killed) == 3 + 2 + 3 + 1 + 3
    assert len(faults) == 6
    assert {wish.app for wish in wishes if not wish.instances} == set(APPS)


def test_the_plan_is_told_line_by_line() -> None:
    plan = draw_plan(1, 60.0)
    lines = plan.lines()

    assert lines[0] == f"seed 1: {len(plan.actions)} actions in 60 s"
    assert len(lines) == 1 + len(APPS) + len(plan.actions)

"""What a seed makes happen: bounded, and always the same."""

import pytest

from tests.chaos.actions import Action, Kill, Lasting, Pause, Split, Wish, kind_of
from tests.chaos.plan import (
    APPS,
    AT_ONCE,
    ATTACHED,
    ETCD,
    LONGEST_SPLIT,
    NO_QUORUM_SECONDS,
    TAIL,
    draw_plan,
)
from tests.faults.door import Fault

SEEDS = range(200)
SECONDS = 120.0


def test_a_seed_draws_the_same_plan_again_and_another_seed_another_one() -> None:
    assert draw_plan(7, SECONDS) == draw_plan(7, SECONDS)
    assert draw_plan(7, SECONDS) != draw_plan(8, SECONDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_never_more_than_a_few_faults_last_at_once_and_all_have_ended_in_time(seed: int) -> None:
    lasting = [a for a in draw_plan(seed, SECONDS).actions if isinstance(a, Lasting)]

    for action in lasting:
        during = [each for each in lasting if each.at <= action.at < each.at + each.seconds]
        assert len(during) <= AT_ONCE
        assert 0 < action.seconds <= LONGEST_SPLIT
        assert action.at + action.seconds <= SECONDS - TAIL + 0.01


def takes_member(action: Action) -> bool:
    """Whether a member of etcd may be without the others meanwhile."""
    return isinstance(action, Split) or (isinstance(action, Pause) and action.process in ETCD)


@pytest.mark.parametrize("seed", SEEDS)
def test_etcd_is_without_a_majority_for_a_short_time_only(seed: int) -> None:
    actions = draw_plan(seed, SECONDS).actions
    away = [a for a in actions if isinstance(a, Pause | Split) and takes_member(a)]

    for action in away:
        before = [a for a in away if a.at < action.at < a.at + a.seconds]
        assert len(before) <= 1
        assert not before or action.seconds <= NO_QUORUM_SECONDS
    for kill in actions:
        if isinstance(kill, Kill) and kill.process in ETCD:
            assert not [a for a in away if a.at <= kill.at < a.at + a.seconds]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_member_is_cut_off_from_others_only(seed: int) -> None:
    for split in draw_plan(seed, SECONDS).actions:
        if isinstance(split, Split):
            assert 1 <= len({*split.others}) == len(split.others)
            assert {*split.others} <= {*ETCD} - {split.member}
            assert not split.leading or len(split.others) == len(ETCD) - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_half_of_the_tasks_are_attached_at_first(seed: int) -> None:
    begin = draw_plan(seed, SECONDS).begin

    assert sum(wish.attached for wish in begin) == ATTACHED == len(APPS) // 2


def test_an_app_stays_as_it_is_attached_until_it_is_deleted() -> None:
    for seed in SEEDS:
        plan = draw_plan(seed, SECONDS)
        last = {wish.app: wish for wish in plan.begin}
        for wish in plan.actions:
            if isinstance(wish, Wish):
                before, last[wish.app] = last[wish.app], wish
                if before.instances and wish.instances:
                    assert wish.attached is before.attached


def test_everything_that_may_happen_happens() -> None:
    plans = [draw_plan(seed, SECONDS) for seed in SEEDS]
    kinds = {kind_of(action) for plan in plans for action in plan.actions}
    killed = {a.process for plan in plans for a in plan.actions if isinstance(a, Kill)}
    paused = {a.process for plan in plans for a in plan.actions if isinstance(a, Pause)}
    wishes = [a for plan in plans for a in plan.actions if isinstance(a, Wish)]
    splits = [a for plan in plans for a in plan.actions if isinstance(a, Split)]

    assert kinds == {
        "kill -9 of a process",
        "stop of a process",
        "kill -9 of a task",
        "host cut off from all",
        "host cut off from the master",
        "member of etcd cut off",
        "leader of etcd cut off",
        "two members of etcd apart",
        "deployment",
        "app deleted",
        *(f"{fault} at a door" for fault in Fault if fault is not Fault.NONE),
    }
    assert killed == paused
    assert len(killed) == 3 + 2 + 3 + 1 + 1 + 3
    assert {split.member for split in splits} == set(ETCD)
    assert {split.fault for split in splits} == {Fault.CUT, Fault.BLACK_HOLE}
    assert {wish.app for wish in wishes if not wish.instances} == set(APPS)
    assert {wish.attached for wish in wishes if wish.instances} == {True, False}


def test_the_plan_is_told_line_by_line() -> None:
    plan = draw_plan(1, 60.0)
    lines = plan.lines()

    assert lines[0] == f"seed 1: {len(plan.actions)} actions in 60 s"
    assert len(lines) == 2 + len(APPS) + len(plan.actions)

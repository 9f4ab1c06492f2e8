"""When the whole kernel is looked at."""

from calico.dataplane.api import Noticed
from calico.dataplane.state import Link
from calico.model import InterfaceName
from reconciler.agent.observation.looks import (
    FULL_EVERY,
    REST,
    SETTLED_AFTER,
    TIMES_OF_LOOKING,
    Looks,
)

NAME = InterfaceName("cali0")
FOREIGN = Noticed(foreign=True)


def is_known(name: InterfaceName, link: Link | None) -> bool:
    """A host on which `cali0` was left up, and nothing else is."""
    return link == Link(NAME, "task") if name == NAME else link is None


def looked(looks: Looks, began: float, ended: float) -> None:
    """Let a look be made."""
    assert looks.are_due(began, is_known)
    looks.begin(began)
    looks.end(began, ended)


def rested(now: float) -> Looks:
    """One that looked at the start and has nothing to do."""
    looks = Looks(0.0)
    looked(looks, 0.0, now)
    return looks


def test_the_first_look_is_due_at_once_and_then_now_and_then() -> None:
    looks = rested(0.5)
    assert not looks.are_due(FULL_EVERY - 0.1, is_known)
    assert looks.are_due(FULL_EVERY, is_known)


def test_what_another_program_did_is_looked_at_at_once() -> None:
    looks = rested(0.5)
    looks.notice(FOREIGN, 1.0)
    assert looks.are_due(1.0, is_known)


def test_looks_that_others_cause_have_a_rest_between_them() -> None:
    looks = rested(0.0)
    looks.notice(FOREIGN, 1.0)
    looked(looks, 1.0, 1.01)
    looks.notice(FOREIGN, 1.02)
    looks.notice(FOREIGN, 1.03)
    assert not looks.are_due(1.01 + REST - 0.001, is_known)
    assert looks.next_due() == 1.01 + REST
    assert looks.are_due(1.01 + REST, is_known)


def test_the_rest_is_longer_where_looking_takes_long() -> None:
    looks = rested(0.0)
    looks.notice(FOREIGN, 1.0)
    looked(looks, 1.0, 2.0)
    looks.notice(FOREIGN, 2.0)
    assert looks.next_due() == 2.0 + TIMES_OF_LOOKING


def test_looks_of_our_own_wait_for_no_rest() -> None:
    looks = rested(0.0)
    looks.notice(FOREIGN, 1.0)
    looked(looks, 1.0, 2.0)
    looks.ask(2.1)
    assert looks.are_due(2.1, is_known)


def test_a_link_that_passes_through_other_states_is_not_looked_at() -> None:
    looks = rested(0.0)
    looks.notice(Noticed(links={NAME: Link(NAME, "", up=False)}), 1.0)
    looks.notice(Noticed(links={NAME: Link(NAME, "task")}), 1.1)
    assert not looks.are_due(1.0 + SETTLED_AFTER, is_known)
    assert looks.next_due() == FULL_EVERY


def test_a_link_that_stays_otherwise_is_looked_at() -> None:
    looks = rested(0.0)
    looks.notice(Noticed(links={NAME: None}), 1.0)
    assert looks.next_due() == 1.0 + SETTLED_AFTER
    assert not looks.are_due(1.1, is_known)
    assert looks.are_due(1.0 + SETTLED_AFTER, is_known)


def test_a_look_settles_what_was_suspected() -> None:
    looks = rested(0.0)
    looks.notice(Noticed(links={NAME: None}), 1.0)
    looks.ask(1.1)
    looked(looks, 1.1, 1.2)
    assert looks.next_due() == 1.1 + FULL_EVERY

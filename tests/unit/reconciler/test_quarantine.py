"""When an address may be given again."""

import pytest
from netaddr import IPAddress

from calico.model import AppliedRecord, BootId, HandleId, HostName
from reconciler.core.removal.quarantine import REST, Held, Resting, newly_unused, releasable

ONE, TWO = HostName("one"), HostName("two")
HELD = Held(HandleId("task"), IPAddress("192.168.0.1"))
FIXED = Held(HandleId("task"), IPAddress("192.168.0.2"), app="/web")


def applied(**revisions: int) -> dict[HostName, AppliedRecord]:
    return {
        HostName(name): AppliedRecord(HostName(name), BootId("b"), revision)
        for name, revision in revisions.items()
    }


@pytest.mark.parametrize(
    ("seen", "age", "free"),
    [
        pytest.param(applied(one=10, two=10), REST, True, id="rested and every host let go"),
        pytest.param(applied(one=10, two=10), REST - 1, False, id="still resting"),
        pytest.param(applied(one=10, two=9), REST, False, id="one host is behind"),
        pytest.param(applied(one=10), REST, False, id="one host never reported"),
    ],
)
def test_an_address_is_free_after_rest_and_every_host(
    seen: dict[HostName, AppliedRecord], age: float, free: bool
) -> None:
    found = releasable({HELD: Resting(0.0, 10)}, (ONE, TWO), seen, (), age)
    assert (HELD in found) is free


@pytest.mark.parametrize(
    ("waiting", "revision", "free"),
    [
        pytest.param(("/web",), 10, True, id="its own app waits for it"),
        pytest.param(("/web",), 9, False, id="a host has not let go"),
        pytest.param(("/other",), 10, False, id="another app waits"),
        pytest.param((), 10, False, id="nobody waits"),
    ],
)
def test_an_address_asked_for_by_name_need_not_rest_for_its_own_app(
    waiting: tuple[str, ...], revision: int, free: bool
) -> None:
    found = releasable({FIXED: Resting(0.0, 10)}, (ONE,), applied(one=revision), waiting, 0.0)
    assert (FIXED in found) is free


@pytest.mark.parametrize(
    ("awaited", "revision", "free"),
    [
        pytest.param({"/web": {FIXED.address}}, 10, True, id="a starting task of its app"),
        pytest.param({"/web": {FIXED.address}}, 9, False, id="a host has not let go"),
        pytest.param({"/web": {HELD.address}}, 10, False, id="its app asks for another by now"),
        pytest.param({"/other": {FIXED.address}}, 10, False, id="another app asks for it"),
    ],
)
def test_a_task_that_is_being_attached_waits_like_any_other(
    awaited: dict[str, set[IPAddress]], revision: int, free: bool
) -> None:
    resting = {FIXED: Resting(0.0, 10), HELD: Resting(0.0, 10)}
    found = releasable(resting, (ONE,), applied(one=revision), (), 0.0, awaited=awaited)
    assert found == ({FIXED} if free else set())


def test_without_any_host_nobody_has_let_go() -> None:
    assert releasable({HELD: Resting(0.0, 0)}, (), {}, (), REST) == frozenset()


@pytest.mark.parametrize(
    ("hosts", "age", "free"),
    [
        pytest.param((), REST, True, id="none is left to wait for"),
        pytest.param((), REST - 1, False, id="still resting"),
        pytest.param((ONE,), REST, False, id="another host is there"),
    ],
)
def test_if_all_hosts_are_forgotten_nobody_holds_it(
    hosts: tuple[HostName, ...], age: float, free: bool
) -> None:
    found = releasable({HELD: Resting(0.0, 10)}, hosts, {}, (), age, all_forgotten=True)
    assert (HELD in found) is free


def test_rest_begins_once() -> None:
    assert newly_unused({HELD, FIXED}, {HELD: Resting(0.0, 1)}) == {FIXED}

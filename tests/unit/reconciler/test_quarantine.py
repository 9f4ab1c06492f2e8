"""When an address may be given again."""

import pytest
from netaddr import IPAddress

from calico.model import AppliedRecord, BootId, HandleId, HostName
from reconciler.core.quarantine import REST, Held, Resting, newly_unused, releasable

ONE, TWO = HostName("one"), HostName("two")
HELD = Held(HandleId("task"), IPAddress("192.168.0.1"))
FIXED = Held(HandleId("task"), IPAddress("192.168.0.2"), fixed=True)


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
    found = releasable({HELD: Resting(0.0, 10)}, (ONE, TWO), seen, age)
    assert (HELD in found) is free


def test_a_fixed_address_does_not_rest_but_waits_for_every_host() -> None:
    resting = {FIXED: Resting(0.0, 10)}
    assert releasable(resting, (ONE,), applied(one=9), 0.0) == frozenset()
    assert releasable(resting, (ONE,), applied(one=10), 0.0) == {FIXED}


def test_rest_begins_once() -> None:
    assert newly_unused({HELD, FIXED}, {HELD: Resting(0.0, 1)}) == {FIXED}

"""A loss of policy is carried through to connections, however often that is refused."""

import logging
from collections.abc import Iterable
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.state import Connection, HostFacts
from calico.errors import DataplaneError
from calico.mirror import Passages
from calico.model import Pool, Snapshot
from reconciler.agent.reconciliation.revocation import Revocation
from tests.dataplane_worlds import (
    CONFIG,
    HERE_ADDRESS,
    THERE,
    THERE_ADDRESS,
    group,
    openings,
    snapshot,
    spec,
)

WEB = spec("web", "red", "app", addresses=["10.9.0.1"])
FAR = spec("far", "red", "app", addresses=["10.9.0.70"], host=THERE)
PROFILES = (group("red"), openings("app", "red", 80))
BOTH = snapshot([WEB, FAR], PROFILES)
FACTS = HostFacts("eth0", HERE_ADDRESS, 1500, (IPNetwork("10.77.0.0/24"),))
A, B = WEB.addresses[0], FAR.addresses[0]
BETWEEN = Connection(6, B, A, A, B, 40000, 80)


class Refusing(MemoryDataplane):
    """A kernel that refuses so many times to forget."""

    def __init__(self, refusals: int) -> None:
        super().__init__(FACTS)
        self.refusals = refusals

    def forget(self, connections: Iterable[Connection]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise DataplaneError("busy")
        super().forget(connections)


def tracked(kernel: MemoryDataplane) -> set[Connection]:
    return set(kernel.connections([A, B]))


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(snapshot([WEB], PROFILES), id="the task went"),
        pytest.param(snapshot([WEB, replace(FAR, profiles=())], PROFILES), id="it left its group"),
    ],
)
def test_what_the_kernel_refused_to_forget_is_forgotten_the_next_time(after: Snapshot) -> None:
    kernel = Refusing(1)
    revocation = Revocation(kernel)
    revocation.carry_through(BOTH, CONFIG)
    kernel.track(BETWEEN)

    with pytest.raises(DataplaneError):
        revocation.carry_through(after, CONFIG)
    assert revocation.carried_through is BOTH
    assert tracked(kernel) == {BETWEEN}

    revocation.carry_through(after, CONFIG)
    assert revocation.carried_through is after
    assert tracked(kernel) == set()


def test_the_first_judgement_is_made_even_if_it_is_refused_at_first() -> None:
    kernel = Refusing(1)
    revocation = Revocation(kernel)
    stranger = IPAddress("203.0.113.9")
    kernel.track(Connection(6, stranger, A, A, stranger, 40000, 80))
    kernel.track(BETWEEN)

    with pytest.raises(DataplaneError):
        revocation.carry_through(BOTH, CONFIG)
    revocation.carry_through(BOTH, CONFIG)

    assert tracked(kernel) == {BETWEEN}


def test_what_tasks_left_whose_end_nobody_saw_is_not_there_for_the_next() -> None:
    kernel = MemoryDataplane(FACTS)
    one, other, outside = map(IPAddress, ("10.9.0.8", "10.9.0.9", "203.0.113.9"))
    kernel.track(Connection(6, one, other, other, one, 40000, 80))
    kernel.track(Connection(17, outside, one, one, outside, 40000, 53))
    elsewhere = Connection(6, HERE_ADDRESS, outside, outside, HERE_ADDRESS, 40000, 2379)
    kernel.track(elsewhere)
    kernel.track(BETWEEN)

    Revocation(kernel).carry_through(BOTH, CONFIG)

    assert set(kernel.connections([A, one, other, outside])) == {elsewhere, BETWEEN}


def test_hosts_in_a_pool_by_mistake_keep_what_they_have_among_themselves() -> None:
    kernel = MemoryDataplane(FACTS)
    host, peer = HERE_ADDRESS, THERE_ADDRESS
    theirs = Connection(6, host, peer, peer, host, 40000, 2379)
    kernel.track(theirs)
    wide = replace(BOTH, pools=(Pool(IPNetwork("10.77.0.2/31")),))

    Revocation(kernel).carry_through(wide, CONFIG)

    assert set(kernel.connections([host])) == {theirs}


def test_a_container_that_no_task_claimed_keeps_its_host_alone() -> None:
    kernel = MemoryDataplane(FACTS)
    container = spec("container", addresses=["10.9.0.2"])
    address, outside = container.addresses[0], IPAddress("203.0.113.9")
    own = Connection(6, HERE_ADDRESS, address, address, HERE_ADDRESS, 40000, 80)
    kernel.track(own)
    kernel.track(Connection(6, outside, address, address, outside, 40000, 80))
    wired = snapshot([WEB, FAR, container], PROFILES)

    Revocation(kernel).carry_through(BOTH, CONFIG, rendered=wired)

    assert set(kernel.connections([address])) == {own}


def test_a_claim_ends_nothing_that_its_task_may_do() -> None:
    kernel = MemoryDataplane(FACTS)
    revocation = Revocation(kernel)
    unclaimed = replace(WEB, profiles=())
    revocation.carry_through(snapshot([FAR], PROFILES), CONFIG, rendered=snapshot([unclaimed, FAR]))
    kernel.track(BETWEEN)

    revocation.carry_through(BOTH, CONFIG, rendered=BOTH)

    assert tracked(kernel) == {BETWEEN}


def test_attempts_that_nobody_answered_are_not_told_as_connections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kernel = MemoryDataplane(FACTS)
    stranger = IPAddress("203.0.113.9")
    flow = Connection(6, stranger, A, A, stranger, 40000, 80)
    kernel.track(flow)
    for port in (40001, 40002):
        kernel.track(replace(flow, source_port=port, replied=False))
    kernel.track(BETWEEN)

    with caplog.at_level(logging.INFO):
        Revocation(kernel).carry_through(BOTH, CONFIG)

    assert tracked(kernel) == {BETWEEN}
    (told,) = caplog.records
    fields = {name: vars(told)[name] for name in ("count", "attempts", "of")}
    assert (told.message, fields) == (
        "connections ended",
        {"count": 1, "attempts": 2, "of": 4},
    )


def test_what_a_holder_that_was_never_seen_left_goes_to_nobody_else() -> None:
    # given a task that came and went within one look, and talked to one here
    kernel = Refusing(1)
    revocation = Revocation(kernel)
    here = snapshot([WEB], PROFILES)
    revocation.carry_through(here, CONFIG)
    kernel.track(BETWEEN)
    passages = Passages(frozenset({B}))

    # when its address is given to the next one, and the kernel is busy at first
    with pytest.raises(DataplaneError):
        revocation.carry_through(BOTH, CONFIG, passages=passages)
    revocation.carry_through(BOTH, CONFIG)

    # then the next one does not go on with it
    assert tracked(kernel) == set()


def test_whoever_kept_an_address_keeps_its_connections() -> None:
    kernel = MemoryDataplane(FACTS)
    revocation = Revocation(kernel)
    revocation.carry_through(BOTH, CONFIG)
    kernel.track(BETWEEN)

    revocation.carry_through(
        snapshot([WEB, FAR], PROFILES), CONFIG, passages=Passages(frozenset({B}))
    )

    assert tracked(kernel) == {BETWEEN}


def test_after_lost_events_every_connection_is_looked_at() -> None:
    kernel = MemoryDataplane(FACTS)
    revocation = Revocation(kernel)
    revocation.carry_through(snapshot([WEB], PROFILES), CONFIG)
    kernel.track(BETWEEN)

    same = snapshot([WEB], PROFILES)
    revocation.carry_through(same, CONFIG)
    assert tracked(kernel) == {BETWEEN}

    revocation.carry_through(same, CONFIG, passages=Passages(is_whole=False))
    assert tracked(kernel) == set()

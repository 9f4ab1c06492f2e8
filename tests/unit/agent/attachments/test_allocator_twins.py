"""Containers of one id on two hosts share a handle and nothing else."""

import pytest

from calico.addressing.claims import Claim, Claims
from calico.model import HandleId
from calico.names import handle_of_container
from reconciler.attach.api import AttachRefused, Wish
from tests.unit.agent.attachments.allocating import MOST_WRITES, ONE, OTHER, Bench
from tests.unit.agent.world import HOST, OTHER_HOST


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def elsewhere(bench: Bench) -> Bench:
    """The agent of another host, on the same store."""
    return Bench(bench.store, OTHER_HOST)


def test_containers_of_one_id_on_two_hosts_have_addresses_of_their_own(
    bench: Bench, elsewhere: Bench
) -> None:
    here, there = bench.allocate(ONE), elsewhere.allocate(ONE)

    assert isinstance(here, tuple)
    assert isinstance(there, tuple)
    assert not set(here) & set(there)
    assert bench.hosts() == sorted([HOST, OTHER_HOST])
    assert bench.drifts() == ()
    assert (bench.allocate(ONE), elsewhere.allocate(ONE)) == (here, there), "asked again"


@pytest.mark.parametrize("named", [True, False], ids=["by address", "by container alone"])
def test_a_host_gives_nothing_back_of_a_container_of_that_id_elsewhere(
    bench: Bench, elsewhere: Bench, named: bool
) -> None:
    here, there = bench.allocate(ONE), elsewhere.allocate(ONE)
    assert isinstance(here, tuple)
    assert isinstance(there, tuple)

    # What a detached container is remembered to have had may be anybody's by now.
    assert elsewhere.release(ONE, *((*here, *there) if named else ())) is True

    assert bench.hosts() == [HOST]
    assert bench.drifts() == ()
    assert bench.release(ONE, *here) is True
    assert bench.held() == []
    assert bench.drifts() == ()


def test_a_host_cannot_ask_for_what_a_container_of_that_id_has_elsewhere(
    bench: Bench, elsewhere: Bench
) -> None:
    here = bench.allocate(ONE)
    assert isinstance(here, tuple)

    answer = elsewhere.allocate(ONE, Wish(fixed=here))

    assert isinstance(answer, AttachRefused)
    assert str(answer) == f"address {here[0]} is taken by cni.one on host {HOST}"
    assert bench.hosts() == [HOST]
    assert bench.drifts() == ()


def test_a_sweep_spares_a_container_of_that_id_elsewhere(bench: Bench, elsewhere: Bench) -> None:
    for each in (bench, elsewhere):
        assert isinstance(each.allocate(ONE), tuple)
    bench.known.add(ONE)

    elsewhere.allocator.step()
    bench.allocator.step()

    assert bench.hosts() == [HOST]
    assert bench.drifts() == ()


def test_of_containers_of_one_id_a_task_claims_its_own_host_s(
    bench: Bench, elsewhere: Bench
) -> None:
    here, there = bench.allocate(ONE), elsewhere.allocate(ONE)
    assert isinstance(here, tuple)
    assert isinstance(there, tuple)
    claims = Claims(bench.store)

    assert claims.claim(Claim(ONE, HOST, HandleId("task.1"))) == here
    while claims.settle_one():
        pass

    assert bench.release(ONE, *here) is False
    assert elsewhere.release(ONE, *there) is True
    assert bench.handles() == {"task.1"}
    assert bench.drifts() == ()


def test_what_a_task_has_claimed_is_no_container_s_though_its_id_reads_like_a_handle(
    bench: Bench,
) -> None:
    # An app may be called /cni: its tasks' ids are like the handles of containers.
    here = bench.allocate(ONE)
    assert isinstance(here, tuple)
    assert Claims(bench.store).claim(Claim(ONE, HOST, handle_of_container(OTHER))) == here

    assert bench.release(OTHER, *here) is True, "none of it is that container's"
    there = bench.allocate(OTHER)

    assert isinstance(there, tuple)
    assert not set(here) & set(there)
    assert len(bench.held()) == len({*here, *there})


@pytest.mark.parametrize("lost", range(MOST_WRITES))
def test_a_lost_answer_mixes_up_no_containers_of_one_id(lost: int) -> None:
    bench = Bench()
    elsewhere = Bench(bench.store, OTHER_HOST)
    here = bench.allocate(ONE)
    elsewhere.lossy.swallow = lost

    there = elsewhere.allocate(ONE)

    assert bench.allocate(ONE) == here
    if isinstance(there, tuple):
        elsewhere.lossy.swallow = elsewhere.lossy.writes
        elsewhere.release(ONE, *there)
    assert bench.hosts() == [HOST]

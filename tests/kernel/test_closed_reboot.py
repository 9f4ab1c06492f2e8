"""A host that begins anew under floods: its tasks come back, and nobody reaches them too early."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.counts import Counts
from tests.kernel.cluster import CLOSED_PORT, ONE, PORT, Cluster, running_cluster
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects
from tests.kernel.sensors import Connection, Flow, flooding
from tests.kernel.test_closed import (
    FOE,
    FOE_THERE,
    FRIEND,
    FRIEND_THERE,
    SETTLED,
    VICTIM,
    VICTIM_THERE,
    address_of,
    flooded,
    reaches,
    watched,
)

ON_ONE = (FRIEND, FOE, VICTIM)


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        yield made


def start_tasks(cluster: Cluster, stack: ExitStack) -> None:
    """The rebooted host's tasks, each watched or flooding from its first instant."""
    for each in ON_ONE:
        cluster.task(each)
    stack.enter_context(flooding(cluster["foe.1"], address_of(FOE), [address_of(VICTIM)], PORT))
    stack.enter_context(watched(cluster, VICTIM))


@pytest.mark.soak
def test_a_host_that_reboots_is_closed_until_its_agent_has_opened_what_may_be(
    cluster: Cluster, counts: Counts
) -> None:
    cluster.run_tasks(*ON_ONE, FRIEND_THERE, FOE_THERE, VICTIM_THERE)
    there = cluster["friend.2"], cluster["victim.2"], address_of(VICTIM_THERE), PORT
    with (
        Flow(*there) as flow,
        Connection(*there) as connection,
        flooded(cluster, [FOE_THERE], [VICTIM]),
        flooding(cluster["foe.2"], address_of(FRIEND), [address_of(VICTIM)], PORT),
    ):
        for number in range(counts.reboots):
            cluster.reboot(ONE)
            with ExitStack() as stack:
                if number % 2:
                    cluster.start(ONE)
                    cluster.settle()
                    start_tasks(cluster, stack)
                else:
                    start_tasks(cluster, stack)
                    # Long enough for packets to come by, if anything let them.
                    time.sleep(SETTLED)
                    cluster.start(ONE)
                cluster.wait_for("peace", lambda: reaches(cluster, FRIEND_THERE, VICTIM))
                cluster.wait_for("peace", lambda: reaches(cluster, FRIEND, VICTIM))
            assert not reaches(cluster, FOE_THERE, VICTIM)
            assert not connects(cluster["friend.1"], address_of(VICTIM), CLOSED_PORT)
        assert flow.lost == []
        assert connection.retransmitted == 0

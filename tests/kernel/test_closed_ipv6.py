"""IPv6 is as closed as IPv4, at every instant: a host with tasks of both families under floods."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.codec import encode_pool
from calico.keys import pool_key
from calico.model import EndpointSpec
from tests.counts import Counts
from tests.dataplane_worlds import POOL6, openings
from tests.kernel.cluster import CLOSED_PORT, ONE, PORT, Cluster, run, running_cluster, task_of
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, listening
from tests.kernel.sensors import Sensor, flooding
from tests.kernel.test_closed import SETTLED, TAKEN_AWAY, has_rules, starts, take_rules_away

ANY6 = IPAddress("::")
AT_HOST, AT_STRANGER = IPAddress("fd00:77::1"), IPAddress("fd00:77::99")


def dual(name: str, number: int, group: str) -> EndpointSpec:
    """A task with an address of each family."""
    made = task_of(name, number, group)
    return replace(made, addresses=(*made.addresses, IPAddress(f"fd00:9::{number:x}")))


FRIEND, FOE, VICTIM = (
    dual("friend.1", 1, "red"),
    dual("foe.1", 3, "blue"),
    dual("victim.1", 11, "red"),
)
LATER = dual("later.1", 12, "red")


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        made.store.put(pool_key(POOL6), encode_pool(POOL6))
        with made.hosts[ONE].network.entered():
            run("ip", "address", "add", f"{AT_HOST}/64", "dev", "eth0", "nodad")
        with made.stranger.entered():
            run("ip", "address", "add", f"{AT_STRANGER}/64", "dev", "eth0", "nodad")
            run("ip", "-6", "route", "add", str(POOL6.cidr), "via", str(AT_HOST))
        yield made


def six(task: EndpointSpec) -> IPAddress:
    return task.addresses[1]


def reaches6(cluster: Cluster, source: EndpointSpec, target: EndpointSpec) -> bool:
    with listening(cluster[target.id.workload], ANY6, PORT):
        return connects(cluster[source.id.workload], six(target), PORT)


@pytest.mark.soak
def test_ipv6_is_closed_from_the_first_instant_and_through_all_that_happens(
    cluster: Cluster, counts: Counts
) -> None:
    cluster.run_tasks(FRIEND, FOE)
    targets = [six(VICTIM), six(LATER)]
    with ExitStack() as stack:
        for place, source in (
            (cluster["foe.1"], six(FOE)),
            (cluster["foe.1"], six(FRIEND)),
            (cluster.stranger, AT_STRANGER),
            (cluster.stranger, six(FRIEND)),
        ):
            stack.enter_context(flooding(place, source, targets, PORT, 0.002))
        sensors = []
        for task in (VICTIM, LATER):
            sensors.append(stack.enter_context(Sensor(cluster.task(task))))
            cluster.put(task)
            cluster.wait_up(task.id.workload)
        cluster.wait_for("peace", lambda: reaches6(cluster, FRIEND, VICTIM))
        for number in range(counts.reboots):
            before = starts(cluster)
            cluster.kill(ONE)
            cluster.start(ONE)
            cluster.wait_for("a start", lambda before=before: starts(cluster) != before)
            cluster.put_profile(openings("app-red", "red", PORT, CLOSED_PORT - number))
            cluster.settle()
            with cluster.held(ONE):
                assert [each.forbidden for each in sensors] == [[], []]
                take_rules_away(cluster, *TAKEN_AWAY[number % len(TAKEN_AWAY)])
                # A packet that was on its way between the two hooks has passed.
                time.sleep(0.05)
                for each in sensors:
                    each.forget()
                time.sleep(SETTLED)
                assert not reaches6(cluster, FRIEND, VICTIM)
            cluster.wait_for("mending", lambda: has_rules(cluster))
            cluster.wait_for("peace", lambda: reaches6(cluster, FRIEND, VICTIM))
            assert not reaches6(cluster, FOE, VICTIM)
        time.sleep(SETTLED)
        assert [each.forbidden for each in sensors] == [[], []]
        # They can see: what a friend sends alike does arrive.
        stack.enter_context(flooding(cluster["friend.1"], six(FRIEND), targets, PORT, 0.002))
        cluster.wait_for("sight", lambda: all(each.forbidden for each in sensors))
        time.sleep(SETTLED)

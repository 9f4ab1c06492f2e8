"""No packet that the groups forbid, at any instant: real agents under floods."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from operator import gt
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.dataplane.state import TABLE
from calico.model import EndpointSpec, ProfileId
from tests.counts import Counts
from tests.dataplane_worlds import group, openings
from tests.kernel.cluster import (
    CLOSED_PORT,
    HOSTS,
    ONE,
    PORT,
    STRANGER,
    TWO,
    Cluster,
    run,
    running_cluster,
    task_of,
)
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, listening, send_raw
from tests.kernel.sensors import ECHO_ID, Connection, Flow, Sensor, flooding, shots

ANY = IPAddress("0.0.0.0")
FRIEND, FRIEND_THERE = task_of("friend.1", 1, "red"), task_of("friend.2", 2, "red", TWO)
FOE, FOE_THERE = task_of("foe.1", 3, "blue"), task_of("foe.2", 4, "blue", TWO)
TURNCOAT = task_of("turncoat.1", 5, "red")
VICTIM, VICTIM_THERE = task_of("victim.1", 11, "red"), task_of("victim.2", 12, "red", TWO)
#: Long enough for what is on its way to arrive.
SETTLED = 0.3
STARTED = "agent started"
MENDED_WITHIN = 11.0
TAKEN_AWAY = (
    ("flush", "ruleset"),
    ("delete", "table", "inet", TABLE),
    ("flush", "table", "inet", TABLE),
)


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        yield made


def address_of(task: EndpointSpec) -> IPAddress:
    return task.addresses[0]


@contextmanager
def flooded(
    cluster: Cluster,
    senders: list[EndpointSpec],
    targets: list[EndpointSpec],
    claimed: EndpointSpec | None = None,
) -> Iterator[None]:
    """These tasks flood those, maybe in the name of another; the stranger does too."""
    addresses = [address_of(each) for each in targets]
    with ExitStack() as stack:
        for sender in senders:
            source = address_of(claimed or sender)
            place = cluster[sender.id.workload]
            stack.enter_context(flooding(place, source, addresses, PORT))
        if claimed is None:
            stack.enter_context(flooding(cluster.stranger, STRANGER, addresses, PORT))
        yield


@contextmanager
def watched(cluster: Cluster, task: EndpointSpec, *, proven: bool = True) -> Iterator[None]:
    """Nothing forbidden arrives at a task while the body runs, and its sensor can see."""
    place = cluster[task.id.workload]
    with Sensor(place) as sensor:
        yield
        time.sleep(SETTLED)
        assert sensor.forbidden == []
        if proven:
            friend = FRIEND if "app-red" in task.profiles else FOE
            packet, *_ = shots(address_of(friend), address_of(task), PORT)
            send_raw(cluster[friend.id.workload], address_of(task), packet)
            cluster.wait_for("the sensor to see", lambda: bool(sensor.forbidden))


def reaches(cluster: Cluster, source: EndpointSpec, target: EndpointSpec) -> bool:
    with listening(cluster[target.id.workload], ANY, PORT):
        return connects(cluster[source.id.workload], address_of(target), PORT)


def test_a_task_is_closed_from_its_first_instant(cluster: Cluster) -> None:
    cluster.run_tasks(FRIEND, FOE, FOE_THERE)
    later = [
        task_of(f"later.{number}", 20 + number, "red", host)
        for number, host in enumerate((ONE, TWO, ONE, TWO))
    ]
    coming = [VICTIM, VICTIM_THERE, *later]
    with flooded(cluster, [FOE, FOE_THERE], coming), ExitStack() as stack:
        for each in coming:
            cluster.task(each)
            stack.enter_context(watched(cluster, each))
            cluster.put(each)
            cluster.wait_up(each.id.workload)
    assert reaches(cluster, FRIEND, VICTIM)
    assert reaches(cluster, FRIEND, VICTIM_THERE)


def test_an_app_that_is_replaced_by_one_of_another_group_stays_apart(cluster: Cluster) -> None:
    replacement = task_of("replacement.1", 13, "blue")
    cluster.run_tasks(FRIEND, FRIEND_THERE, FOE, FOE_THERE, VICTIM)
    place, there = cluster["friend.1"], cluster["friend.2"]
    with (
        Flow(place, there, address_of(FRIEND_THERE), CLOSED_PORT) as unheard,
        flooded(cluster, [FOE, FOE_THERE], [VICTIM]),
        flooded(cluster, [FRIEND, FRIEND_THERE], [replacement]),
        Flow(there, place, address_of(FRIEND), PORT) as bystander,
    ):
        cluster.task(replacement)
        with watched(cluster, replacement):
            with watched(cluster, VICTIM):
                cluster.put(replacement)
                cluster.wait_up("replacement.1")
            assert reaches(cluster, FOE, replacement)
            assert not reaches(cluster, FOE, VICTIM)
            cluster.withdraw(VICTIM)
            cluster["victim.1"].keeper.kill()
            cluster.wait_for("its end", lambda: "victim.1" not in cluster.up())
        assert bystander.lost == []
        assert unheard.received == 0


def starts(cluster: Cluster) -> list[int]:
    return [host.log.read_text().count(STARTED) for host in cluster.hosts.values()]


@pytest.mark.soak
def test_killing_agents_opens_nothing_and_breaks_nothing(cluster: Cluster, counts: Counts) -> None:
    cluster.run_tasks(FRIEND, FOE, FOE_THERE, VICTIM, FRIEND_THERE, TURNCOAT)
    victim, to_victim = cluster["victim.1"], (address_of(VICTIM), PORT)
    with (
        flooded(cluster, [FOE, FOE_THERE], [VICTIM]),
        watched(cluster, VICTIM),
        Flow(cluster["friend.1"], victim, *to_victim) as flow,
        Connection(cluster["friend.1"], victim, *to_victim) as connection,
        Connection(cluster["friend.2"], victim, *to_victim) as from_there,
        Flow(cluster["turncoat.1"], victim, address_of(VICTIM), PORT + 1, answered=True) as turned,
    ):
        for number in range(counts.kills // len(HOSTS)):
            # Both agents miss a change of policy, and an end of an agreement.
            before = starts(cluster)
            for host in HOSTS:
                cluster.kill(host)
            loyal = number % 2 == 0
            turned.permit()
            cluster.put_profile(openings("app-red", "red", PORT, PORT + 1, CLOSED_PORT - number))
            cluster.put(TURNCOAT if loyal else replace(TURNCOAT, profiles=FOE.profiles))
            for host in HOSTS:
                cluster.start(host)
            cluster.wait_for("starts", lambda before=before: all(map(gt, starts(cluster), before)))
            if not loyal:
                cluster.settle()
                turned.forbid()
            # At a different place of their first passes each time.
            time.sleep(number % 10 * 0.02)
        later = task_of("later.1", 20, "red")
        cluster.run_tasks(later)
        assert reaches(cluster, FRIEND_THERE, later)
        time.sleep(SETTLED)
        assert flow.lost == []
        assert flow.received > 1000
        assert turned.received > 1000
        assert [connection.retransmitted, from_there.retransmitted] == [0, 0]


def has_rules(cluster: Cluster) -> bool:
    with cluster.hosts[ONE].network.entered():
        found = subprocess.run(
            ["nft", "list", "chain", "inet", TABLE, "forward"],
            capture_output=True,
            text=True,
            check=False,
        )
    return "accept" in found.stdout


def take_rules_away(cluster: Cluster, *words: str) -> None:
    """What another program may do on the first host."""
    with cluster.hosts[ONE].network.entered():
        run("nft", *words)
    assert not has_rules(cluster)


def track_answered_echo(cluster: Cluster, source: EndpointSpec, target: EndpointSpec) -> None:
    """What a packet between two hooks leaves behind at the moment that the table goes."""
    begun, ended = str(address_of(source)), str(address_of(target))
    with cluster.hosts[ONE].network.entered():
        run(
            *("conntrack", "--create", "--proto", "icmp", "--src", begun, "--dst", ended),
            *("--icmp-type", "8", "--icmp-code", "0", "--icmp-id", str(ECHO_ID)),
            *("--timeout", "60", "--status", "SEEN_REPLY"),
        )


def test_without_our_rules_only_its_host_reaches_a_task_until_they_are_mended(
    cluster: Cluster,
) -> None:
    cluster.run_tasks(FRIEND, FOE, FOE_THERE, VICTIM)
    host = cluster.hosts[ONE].network
    with ExitStack() as stack:
        for claimed in (None, FRIEND):
            stack.enter_context(flooded(cluster, [FOE, FOE_THERE], [VICTIM], claimed))
        for words in TAKEN_AWAY:
            with cluster.held(ONE):
                take_rules_away(cluster, *words)
                track_answered_echo(cluster, FOE, VICTIM)
                # A packet that was on its way between the two hooks has passed.
                time.sleep(0.05)
                sensor = stack.enter_context(Sensor(cluster["victim.1"]))
                with listening(cluster["victim.1"], ANY, PORT):
                    assert connects(host, address_of(VICTIM), PORT)
                    assert not connects(cluster["friend.1"], address_of(VICTIM), PORT)
                with listening(host, ANY, CLOSED_PORT):
                    own = cluster.hosts[ONE].address
                    assert not connects(cluster["foe.1"], own, CLOSED_PORT)
                    assert not connects(cluster["foe.2"], own, CLOSED_PORT)
                time.sleep(SETTLED)
            assert cluster.wait_for("mending", lambda: has_rules(cluster)) < MENDED_WITHIN
            assert reaches(cluster, FRIEND, VICTIM)
            assert sensor.forbidden == []


def test_what_began_while_our_rules_were_others_ends_when_they_are_mended(
    cluster: Cluster,
) -> None:
    cluster.run_tasks(FOE)
    host = cluster.hosts[ONE].network
    with host.entered():
        # Connections stay tracked as long as anybody wants it, docker for one.
        run("nft", "add table ip docker")
        run("nft", "add chain ip docker out { type nat hook postrouting priority 100; }")
        run("nft", "add rule ip docker out ip saddr 172.17.0.0/16 masquerade")
    for words in (
        ("flush", "chain", "inet", TABLE, "to-host"),
        ("insert", "rule", "inet", TABLE, "to-host", "accept"),
    ):
        with ExitStack() as stack:
            with cluster.held(ONE):
                with host.entered():
                    run("nft", *words)
                slipped = stack.enter_context(
                    Connection(cluster["foe.1"], host, cluster.hosts[ONE].address, CLOSED_PORT)
                )
                cluster.wait_for("data", partial(flows, [slipped]))
            cluster.wait_for("an end", partial(is_quiet, [slipped]))
            assert is_quiet([slipped])


def test_nobody_joins_a_flow_in_the_name_of_another(cluster: Cluster) -> None:
    cluster.run_tasks(FRIEND, FOE, FOE_THERE, VICTIM, VICTIM_THERE)
    place, victim = cluster["friend.1"], cluster["victim.1"]
    with (
        Flow(place, victim, address_of(VICTIM), PORT) as flow,
        watched(cluster, VICTIM),
        watched(cluster, VICTIM_THERE),
        flooded(cluster, [FOE, FOE_THERE], [VICTIM, VICTIM_THERE], claimed=FRIEND),
        # A stranger's lie is known where the task lives that it tells of.
        flooding(cluster.stranger, address_of(FRIEND), [address_of(VICTIM)], PORT),
    ):
        time.sleep(1)
        assert flow.lost == []
        assert flow.received > 100


def streams(cluster: Cluster, stack: ExitStack) -> list[Flow | Connection]:
    """UDP and TCP that a friend keeps sending to the victims of both hosts."""
    place = cluster[FRIEND.id.workload]
    found: list[Flow | Connection] = []
    for each in (VICTIM, VICTIM_THERE):
        victim = cluster[each.id.workload]
        found.append(stack.enter_context(Flow(place, victim, address_of(each), PORT)))
        found.append(stack.enter_context(Connection(place, victim, address_of(each), PORT)))
    cluster.wait_for("streams", partial(flows, found))
    return found


def flows(found: list[Flow | Connection]) -> bool:
    return all(each.received > 9 for each in found)


def is_quiet(found: list[Flow | Connection]) -> bool:
    before = [each.received for each in found]
    time.sleep(SETTLED)
    return before == [each.received for each in found]


def restore(cluster: Cluster) -> None:
    """As it was before anything was taken away."""
    cluster.put_profile(group("red"))
    cluster.put_profile(openings("app-red", "red", PORT))
    cluster.put(FRIEND, VICTIM, VICTIM_THERE)
    cluster.wait_for("peace", lambda: reaches(cluster, FRIEND, VICTIM))
    cluster.wait_for("peace", lambda: reaches(cluster, FRIEND, VICTIM_THERE))


def test_what_was_allowed_ends_with_what_allowed_it(cluster: Cluster) -> None:
    cluster.run_tasks(FRIEND, VICTIM, VICTIM_THERE, FRIEND_THERE)
    blue = (ProfileId("blue"), ProfileId("app-blue"))
    elsewhere = [replace(each, profiles=blue) for each in (VICTIM, VICTIM_THERE)]
    endings: dict[str, Callable[[], None]] = {
        "the sender's group": lambda: cluster.put(replace(FRIEND, profiles=blue)),
        "the receivers' group": lambda: cluster.put(*elsewhere),
        "the sender itself": lambda: cluster.withdraw(FRIEND),
        "the group's tag": lambda: cluster.put_profile(replace(group("red"), tags=())),
        "the port": lambda: cluster.put_profile(openings("app-red", "red", CLOSED_PORT)),
    }
    for what, end in endings.items():
        with ExitStack() as stack:
            found = streams(cluster, stack)
            end()
            quiet = cluster.wait_for(f"an end by {what}", partial(is_quiet, found))
            assert quiet < 5, what
            assert is_quiet(found), what
        restore(cluster)


def as_soon_as_admitted(cluster: Cluster) -> Connection:
    """The first connection from a friend to the victim that can begin."""
    ends = cluster[FRIEND.id.workload], cluster[VICTIM.id.workload]
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(TimeoutError):
            return Connection(*ends, address_of(VICTIM), PORT, patience=0.005)
    raise AssertionError("never admitted")


def test_what_begins_the_moment_it_is_allowed_goes_on(cluster: Cluster) -> None:
    cluster.run_tasks(FRIEND, VICTIM)
    for _ in range(10):
        cluster.put(replace(FRIEND, profiles=FOE.profiles))
        cluster.wait_for("denial", lambda: not reaches(cluster, FRIEND, VICTIM))
        # The same change takes something away, so connections are looked through.
        cluster.put(FRIEND)
        with as_soon_as_admitted(cluster) as found:
            cluster.wait_for("data", partial(flows, [found]))


def test_who_leaves_one_of_two_groups_keeps_what_the_other_admits(cluster: Cluster) -> None:
    cluster.run_tasks(FRIEND, VICTIM, VICTIM_THERE)
    place = cluster["friend.1"]
    both = replace(FRIEND, profiles=(ProfileId("blue"), *FRIEND.profiles))
    with ExitStack() as stack:
        found = streams(cluster, stack)
        connections = [each for each in found if isinstance(each, Connection)]
        for wanted in (both, FRIEND) * 5:
            cluster.put(wanted)
            time.sleep(0.2)
        time.sleep(SETTLED)
        assert [each.retransmitted for each in connections] == [0, 0]
        assert [each.lost for each in found if isinstance(each, Flow)] == [[], []]
    assert not connects(place, address_of(VICTIM), CLOSED_PORT)

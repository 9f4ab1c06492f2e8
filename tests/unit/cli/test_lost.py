"""`status` of an etcd that was emptied, set back or replaced, or never used yet."""

from collections.abc import Callable

import pytest

from calico import codec, keys
from calico.cluster import HoldKind, ObjectionRecord, Standing, Takeover
from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.model import BootId, HostName, TaskVerdict
from reconciler.cli.commands.status import judge_status
from reconciler.cli.judging.addresses import judge_check
from reconciler.cli.judging.held import list_holds, show_holds
from reconciler.cli.printing.render import Answer
from reconciler.cli.reading.cluster import read_cluster
from reconciler.cli.reading.usage import usage_of
from reconciler.controller.hosts.departure import Departure
from tests.unit.cli.test_commands import NOW, text
from tests.unit.cli.world import World, star

KEPT = "tasks that run keep their addresses, groups and connections"
H1 = HostName("host-1")


@pytest.fixture
def world() -> World:
    """A datastore that has nothing."""
    return World(MemoryDatastore())


def status(world: World) -> Answer:
    return judge_status(read_cluster(world.datastore), NOW)


def register(world: World) -> None:
    world.host(H1, "10.1.0.1")


def report(world: World) -> None:
    """The agent's word on a task that this datastore does not know, nor the host."""
    other = World(MemoryDatastore())
    other.pool()
    spec = other.task(other.host(H1, "10.1.0.1"), "web.1", "192.168.0.1")[1]
    world.report(spec, revision=7)


def report_as_felix(world: World) -> None:
    other = World(MemoryDatastore())
    other.pool()
    spec = other.task(other.host(H1, "10.1.0.1"), "web.1", "192.168.0.1")[1]
    world.report(spec, revision=0)


def object_to_it(world: World) -> None:
    record = ObjectionRecord(H1, BootId("boot"), "guid", 3)
    world.datastore.put(keys.objection_key(H1), codec.encode_objection(record))


def lead(world: World) -> None:
    world.pin()
    world.lead(standing=Standing(waits="no address is given yet: host-1 may hold more"))


@pytest.mark.parametrize(
    ("steps", "what", "remedy"),
    [
        pytest.param((), "is empty: as it should be before", "Start a controller", id="nothing"),
        pytest.param(
            (register,), "has had no controller yet: ", "Start a controller", id="a host alone"
        ),
        pytest.param(
            (report,), "was emptied or set back: agents on host-1", "cluster show", id="a report"
        ),
        pytest.param(
            (lead, report), "was emptied or set back: agents on host-1", "holds", id="and a leader"
        ),
        pytest.param(
            (register, report, object_to_it),
            "was emptied, set back or replaced: agents on host-1 hold",
            "`marathon-calico holds`",
            id="an objection",
        ),
        pytest.param(
            (register, report, object_to_it, lead),
            "was emptied, set back or replaced: agents on host-1 hold",
            "`marathon-calico holds`",
            id="an objection and a leader",
        ),
    ],
)
def test_what_etcd_lost_is_told_first_with_what_becomes_of_it(
    world: World, steps: tuple[Callable[[World], None], ...], what: str, remedy: str
) -> None:
    for step in steps:
        step(world)
    answer = status(world)
    problems = [line for line in text(answer).splitlines() if line.startswith("PROBLEM ")]
    assert answer.exit_code == 1
    assert problems[0].startswith(f"PROBLEM etcd: {what}")
    assert KEPT in problems[0]
    assert remedy in problems[0] or lead in steps
    assert sum(line.startswith("PROBLEM etcd") for line in problems) == 1


def test_once_the_leader_holds_the_store_that_is_what_is_told(world: World) -> None:
    for step in (register, report, object_to_it, lead):
        step(world)
    world.hold(HoldKind.STORE, H1, reason="host-1 has not told what it holds")
    printed = text(status(world))
    assert "held        every new address for 5m00s: host-1 has not told what it holds" in printed
    assert "`marathon-calico cluster adopt --yes` lets it go" in printed
    assert "PROBLEM etcd" not in printed


def test_holds_and_ipam_do_not_pass_over_in_silence_that_etcd_lost_everything(
    world: World,
) -> None:
    for step in (register, report, object_to_it):
        step(world)
    found = read_cluster(world.datastore)
    for answer in (list_holds(found, NOW), show_holds(found, NOW, None)):
        assert "nothing waits for an operator yet, but etcd is not what it was" in answer.note
    assert judge_check(found, usage_of(found), ()).note == "no pools"


def test_what_an_agent_keeps_of_the_store_before_is_no_orphan(world: World) -> None:
    for step in (register, report):
        step(world)
    assert "ORPHANED  web.1" in text(status(world))
    object_to_it(world)
    printed = text(status(world))
    assert "PENDING  web.1  host-1  reported up by the agent on host-1, and kept" in printed


@pytest.mark.parametrize(
    ("takeover", "objects"),
    [
        pytest.param(Takeover(9, "n", ("guid",), (H1,)), False, id="its word was dealt with"),
        pytest.param(Takeover(9, "n", ("guid",)), True, id="that of others was"),
        pytest.param(Takeover(9, "n", ("another",), (H1,)), True, id="its word of another store"),
    ],
)
def test_who_was_taken_over_objects_no_more_also_where_its_agent_never_sees_it(
    world: World, takeover: Takeover, *, objects: bool
) -> None:
    for step in (register, lead, object_to_it):
        step(world)
    world.datastore.put(keys.CHAIN, codec.encode_chain((takeover,)))
    assert ("PROBLEM etcd" in text(status(world))) is objects


def test_what_was_taken_over_of_this_very_store_counts_only_since_then(world: World) -> None:
    for step in (register, lead, object_to_it):
        step(world)
    world.datastore.put(keys.CLUSTER_GUID, "guid")
    for number, objects in ((3, True), (4, False)):
        chain = (Takeover(number, "n", ("guid",), (H1,)),)
        world.datastore.put(keys.CHAIN, codec.encode_chain(chain))
        assert ("PROBLEM etcd" in text(status(world))) is objects


@pytest.mark.parametrize("registered", [True, False], ids=["registered", "not known"])
def test_a_host_that_is_forgotten_objects_no_more_until_it_registers(
    world: World, *, registered: bool
) -> None:
    for step in (lead, object_to_it, *([register] if registered else [])):
        step(world)
    Departure(world.datastore).forget(H1)
    assert "PROBLEM etcd" not in text(status(world))
    register(world)
    assert "PROBLEM etcd" in text(status(world))


def test_a_word_that_cannot_be_read_is_still_one(world: World) -> None:
    for step in (register, lead):
        step(world)
    world.datastore.put(keys.objection_key(H1), "junk")
    assert "PROBLEM etcd: was emptied, set back" in text(status(world))


def test_a_host_that_felix_serves_is_not_taken_for_a_lost_one(world: World) -> None:
    for step in (lead, report_as_felix):
        step(world)
    assert "PROBLEM etcd" not in text(status(world))


def test_a_cluster_that_goes_on_without_a_controller_is_not_taken_for_lost() -> None:
    world = star(MemoryDatastore())
    world.pin()
    world.datastore.delete(keys.LEADER)
    printed = text(status(world))
    assert "PROBLEM controller: none is active" in printed
    assert "PROBLEM etcd" not in printed


def test_an_agent_that_only_registered_is_not_said_to_be_heard_of_at_no_time(world: World) -> None:
    lead(world)
    register(world)
    for leaf in ("status", "last_reported_status"):
        world.datastore.delete(Key(f"{keys.FELIX}/{H1}/{leaf}"))
    printed = text(status(world))
    assert "PROBLEM host-1: agent has registered, and not said yet that it is alive" in printed
    assert "last heard" not in printed


@pytest.mark.parametrize(
    ("count", "told"),
    [pytest.param(1, "1 task waits", id="one"), pytest.param(2, "2 tasks wait", id="two")],
)
def test_a_host_without_an_agent_is_told_with_its_name_for_it(count: int, told: str) -> None:
    world = star(MemoryDatastore())
    other = World(MemoryDatastore()).host("host-z", "10.1.0.9")
    for number in range(count):
        reason = "no agent registered as host-z"
        world.record(other, f"web.{number}", verdict=TaskVerdict.PENDING, reason=reason)
    printed = text(status(world))
    remedy = "for one: start it with --host host-z"
    assert f"PROBLEM host-z: no agent has registered, and {told} {remedy}" in printed


def test_a_host_that_nobody_waits_for_is_no_problem() -> None:
    world = star(MemoryDatastore())
    world.record(World(MemoryDatastore()).host("host-z", "10.1.0.9"), "web.1")
    assert "PROBLEM host-z" not in text(status(world))

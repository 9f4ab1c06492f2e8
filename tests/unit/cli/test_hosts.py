"""`hosts list` and `hosts forget`: which there are, and which may be given up."""

import json

import pytest

from calico import keys
from calico.datastore.memory import MemoryDatastore
from calico.model import HostName
from reconciler.cli.command import NoSuchThing
from reconciler.cli.commands.diff import judge_diff
from reconciler.cli.commands.get import list_hosts
from reconciler.cli.commands.hosts import judge_forget
from reconciler.cli.commands.status import judge_status
from reconciler.cli.printing.render import Answer, render
from reconciler.cli.reading.cluster import Cluster, read_cluster
from reconciler.controller.hosts.departure import Departure
from tests.unit.cli.test_commands import NOW
from tests.unit.cli.world import World, star

B, C = HostName("host-b"), HostName("host-c")


@pytest.fixture
def world() -> World:
    """Two hosts with tasks, and one whose agent fell silent, with an address at rest."""
    made = star(MemoryDatastore())
    made.host("host-c", "10.1.0.3", alive=False)
    made.allocate(C, "ended.1", "192.168.0.130")
    return made


def cluster(world: World) -> Cluster:
    return read_cluster(world.datastore)


def text(answer: Answer) -> str:
    return render(answer, "table", width=None, colour=False)


def fields(answer: Answer) -> dict[str, object]:
    decoded = json.loads(render(answer, "json", width=None, colour=False))
    assert isinstance(decoded, dict)
    return decoded


def silence(world: World, host: HostName) -> None:
    world.datastore.delete(keys.felix_status_key(host))


def test_hosts_are_listed_with_agent_version_blocks_and_tasks(world: World) -> None:
    printed = text(list_hosts(cluster(world), NOW, None)).splitlines()
    assert printed[0].split() == [
        *("HOST", "ADDRESS", "AGENT", "HEARD", "APPLIED"),
        *("TASKS", "BLOCKS", "VERSION", "PROBLEMS"),
    ]
    assert [line.split()[:3] for line in printed[1:]] == [
        ["host-a", "10.1.0.1", "reporting"],
        ["host-b", "10.1.0.2", "reporting"],
        ["host-c", "10.1.0.3", "silent"],
    ]
    assert "192.168.0.128/26  0.1" in printed[3]


def test_a_silent_host_without_endpoints_would_be_forgotten(world: World) -> None:
    answer = judge_forget(cluster(world), "host-c", force=False)
    assert answer.exit_code == 2
    assert text(answer) == (
        "would forget host-c: 192.168.0.128/26 stays routed to it until all addresses are free; "
        "--yes does it\n"
    )
    assert fields(answer) == {
        "host": "host-c",
        "action": "would forget",
        "reason": "192.168.0.128/26 stays routed to it until all addresses are free",
        "blocks": ["192.168.0.128/26"],
        "endpoints": 0,
    }


@pytest.mark.parametrize("force", [False, True])
def test_a_host_whose_agent_reports_is_never_forgotten(world: World, force: bool) -> None:
    answer = judge_forget(cluster(world), "host-b", force=force)
    assert answer.exit_code == 1
    assert text(answer).startswith("REFUSED host-b: its agent reports; stop it if it still runs")


def test_a_host_with_endpoints_is_forgotten_by_force_alone(world: World) -> None:
    silence(world, B)
    answer = judge_forget(cluster(world), "host-b", force=False)
    assert answer.exit_code == 1
    assert "endpoints are stored for star_probe-b.1, star_probe-c.1: they go when" in text(answer)
    answer = judge_forget(cluster(world), "host-b", force=True)
    assert answer.exit_code == 2
    assert "2 endpoints stay until Marathon no longer names their tasks" in text(answer)


def test_many_endpoints_are_not_all_named(world: World) -> None:
    host = world.host("host-b", "10.1.0.2", alive=False)
    silence(world, B)
    for number in range(9):
        world.task(host, f"web.{number}", f"192.168.0.{80 + number}")
    answer = judge_forget(cluster(world), "host-b", force=False)
    assert "star_probe-b.1, star_probe-c.1, web.0, web.1, web.2 and 6 more" in text(answer)


def test_a_host_of_which_only_reports_are_left_can_be_forgotten() -> None:
    # given what an earlier version left of a host whose registration could not be read
    world = World(MemoryDatastore())
    world.pool()
    spec = world.task(world.host("host-d", "10.1.0.4"), "web.1", "192.168.0.1")[1]
    left = World(MemoryDatastore())
    left.report(spec, revision=7)
    before = text(judge_status(read_cluster(left.datastore), NOW))
    assert "PROBLEM etcd: was emptied or set back: agents on host-d" in before

    assert judge_forget(read_cluster(left.datastore), "host-d", force=False).exit_code == 2
    departure = Departure(left.datastore)
    departure.forget(HostName("host-d"))
    departure.clear(HostName("host-d"))

    assert "host-d" not in text(judge_status(read_cluster(left.datastore), NOW))


@pytest.mark.parametrize("name", ["host-z", "..", "a/b", ""])
def test_a_host_of_which_nothing_is_stored_is_no_such_thing(world: World, name: str) -> None:
    with pytest.raises(NoSuchThing):
        judge_forget(cluster(world), name, force=False)


def test_a_registration_that_cannot_be_read_can_be_forgotten(world: World) -> None:
    world.datastore.put(keys.host_key(HostName("host-d")), "{")
    answer = judge_forget(cluster(world), "host-d", force=False)
    assert answer.exit_code == 2
    assert "nothing is left of it" in text(answer)


def test_a_host_on_which_a_felix_reports_is_not_given_up(world: World) -> None:
    host = HostName("host-e")
    world.allocate(host, "old.1", "192.168.3.1", ours=False)
    world.datastore.put(keys.felix_status_key(host), "{}")
    answer = judge_forget(cluster(world), host, force=True)
    assert answer.exit_code == 1
    assert "its agent reports" in text(answer)


def test_blocks_of_a_host_that_never_registered_can_be_given_up(world: World) -> None:
    world.allocate(HostName("host-e"), "old.1", "192.168.3.1", ours=False)
    assert judge_forget(cluster(world), "host-e", force=False).exit_code == 2


def test_a_forgotten_host_is_shown_as_such_and_is_no_problem(world: World) -> None:
    assert judge_status(cluster(world), NOW).exit_code == 1
    Departure(world.datastore).forget(C)
    listed = json.loads(
        render(list_hosts(cluster(world), NOW, "host-c"), "json", width=None, colour=False)
    )
    assert listed[0]["agent"] == "forgotten"
    answer = judge_status(cluster(world), NOW)
    assert answer.exit_code == 0
    assert "hosts       2/2 reporting" in text(answer)


def test_tasks_of_a_forgotten_host_wait_and_are_not_known(world: World) -> None:
    silence(world, B)
    Departure(world.datastore).forget(B)
    printed = text(judge_status(cluster(world), NOW))
    assert "host host-b is forgotten, until Marathon no longer names the task" in printed
    assert "; it last reported up" in printed
    assert "? agent forgotten: what it last reported may be old" in text(
        judge_diff(cluster(world), "host-b")
    )

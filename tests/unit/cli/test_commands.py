"""The reading commands on a datastore in memory: what they answer and how they exit."""

import json
from datetime import UTC, datetime

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPNetwork

from calico import keys
from calico.cluster import HoldKind, Standing
from calico.codec import encode_endpoint
from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.model import (
    Action,
    EndpointState,
    HostName,
    Profile,
    ProfileId,
    Rule,
    TaskId,
    TaskVerdict,
)
from calico.names import endpoint_of_task, reservation_of
from reconciler.cli.command import NoSuchThing
from reconciler.cli.commands.describe import judge_describe
from reconciler.cli.commands.diff import judge_diff
from reconciler.cli.commands.get import judge_get
from reconciler.cli.commands.status import judge_status
from reconciler.cli.commands.why import judge_why
from reconciler.cli.printing.render import Answer, Lines, render
from reconciler.cli.reading.cluster import Cluster, read_cluster
from reconciler.core.tasks.profiles import NetworkPolicy
from tests.unit.cli.world import World, star

NOW = datetime(2016, 5, 1, 10, 5, tzinfo=UTC)
TCP = [("tcp", 9000)]


@pytest.fixture
def datastore() -> MemoryDatastore:
    return MemoryDatastore()


@pytest.fixture
def world(datastore: MemoryDatastore) -> World:
    return star(datastore)


def cluster(world: World) -> Cluster:
    return read_cluster(world.datastore)


def text(answer: Answer) -> str:
    return render(answer, "table", width=None, colour=False)


def fields(answer: Answer) -> dict[str, object]:
    """What a program would read."""
    decoded = json.loads(render(answer, "json", width=None, colour=False))
    assert isinstance(decoded, dict)
    return decoded


def rows(answer: Answer) -> list[dict[str, object]]:
    decoded = json.loads(render(answer, "json", width=None, colour=False))
    assert isinstance(decoded, list)
    return decoded


# -- status --


def test_a_cluster_as_it_should_be_is_three_lines_and_exit_0(world: World) -> None:
    answer = judge_status(cluster(world), NOW)
    assert answer.exit_code == 0
    assert text(answer).splitlines() == [
        "controller  ctl-1, for 5m00s",
        "hosts       2/2 reporting",
        "tasks       4: 4 IN_SYNC",
    ]
    assert fields(answer)["ok"] is True


def test_a_key_that_is_kept_for_a_task_of_which_nothing_else_is_known_is_not_told(
    world: World,
) -> None:
    before = text(judge_status(cluster(world), NOW))
    late = endpoint_of_task(HostName("h1"), TaskId("late.1"))
    world.datastore.put(keys.endpoint_key(late), encode_endpoint(reservation_of(late)))

    assert text(judge_status(cluster(world), NOW)) == before


def test_a_leader_that_gives_no_address_is_told_with_its_reason(world: World) -> None:
    world.lead(standing=Standing(waits="no address is given yet: h1 may hold more"))

    answer = judge_status(cluster(world), NOW)

    assert answer.exit_code == 1
    assert "PROBLEM controller: no address is given yet: h1 may hold more" in text(answer)
    assert "no address is given yet: h1 may hold more" in str(fields(answer)["leader"])


def test_why_a_held_store_is_closed_is_told_once(world: World) -> None:
    world.hold(HoldKind.STORE, "h1", reason="h1 has not told")
    world.lead(standing=Standing(waits="h1 has not told: see `marathon-calico holds`"))

    answer = judge_status(cluster(world), NOW)

    assert answer.exit_code == 1
    assert text(answer).count("h1 has not told") == 1


def test_a_leader_that_gives_addresses_is_no_problem(world: World) -> None:
    world.lead(standing=Standing(opened="nonce"))

    assert judge_status(cluster(world), NOW).exit_code == 0


def test_every_task_that_is_not_in_sync_is_told_with_its_reason(world: World) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.record(host, "web.1", verdict=TaskVerdict.REFUSED, reason="17 groups; at most 16")
    answer = judge_status(cluster(world), NOW)
    assert answer.exit_code == 1
    assert "REFUSED  web.1  host-a  17 groups; at most 16" in text(answer)
    assert "star_probe-a.1" not in text(answer)


def test_a_task_that_got_less_than_its_app_asked_for_is_told(world: World) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.task(host, "web.1", "192.168.0.9", reason="without group 'a b'")
    answer = judge_status(cluster(world), NOW)
    assert answer.exit_code == 1
    printed = text(answer)
    assert "IN_SYNC  web.1  host-a  less than its app asks for: without group 'a b'" in printed


def test_status_and_get_have_the_same_word_for_a_task(world: World) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.task(host, "less.1", "192.168.0.9", reason="without group 'a b'")
    world.record(host, "late.1", verdict=TaskVerdict.PENDING, reason="pool exhausted")
    listed = rows(judge_get(cluster(world), NOW, "tasks", None))
    words = {row["task"]: row["verdict"] for row in listed}

    head, _, attention = text(judge_status(cluster(world), NOW)).partition("VERDICT")

    (counted,) = (line for line in head.splitlines() if line.startswith("tasks"))
    assert counted.partition(": ")[2] == "5 IN_SYNC, 1 PENDING"
    told = {line.split()[1]: line.split()[0] for line in attention.splitlines()[1:] if line}
    assert told == {task: words[task] for task in ("late.1", "less.1")}


def test_many_tasks_with_one_reason_take_one_line(world: World) -> None:
    host = world.host("host-a", "10.1.0.1")
    for number in range(50):
        world.record(host, f"web.{number:02}", verdict=TaskVerdict.PENDING, reason="pool exhausted")
    answer = judge_status(cluster(world), NOW)
    assert "PENDING  web.00 and 49 more  host-a  pool exhausted" in text(answer)
    attention = fields(answer)["attention"]
    assert isinstance(attention, list)
    assert len(attention) == 50


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        pytest.param(
            "/marathon-calico/v1/task/web.1",
            "{",
            "PROBLEM /marathon-calico/v1/task/web.1: not JSON",
            id="record",
        ),
        pytest.param(
            "/calico/v1/host/host-a/workload/mesos/x.1/endpoint/ab",
            '{"state": "active"}',
            "PROBLEM /calico/v1/host/host-a/workload/mesos/x.1/endpoint/ab: ",
            id="endpoint",
        ),
        pytest.param(
            "/calico/v1/policy/profile/star-1/rules",
            "{",
            "PROBLEM profile star-1: closes what names it: rules: not JSON: '{'; correct it, or"
            " delete /calico/v1/policy/profile/star-1/rules: what a controller writes for a group",
            id="profile in use",
        ),
        pytest.param(
            "/marathon-calico/v1/leader",
            "null",
            "PROBLEM /marathon-calico/v1/leader: does not expire",
            id="lease",
        ),
        pytest.param(
            "/marathon-calico/v1/leader",
            '{"holder": "ctl-1", "since": "2016-05-01T10:00:00Z"}',
            "PROBLEM /marathon-calico/v1/leader: does not expire",
            id="lease of a dump",
        ),
        pytest.param(
            "/marathon-calico/v1/hold/tasks",
            '{"reason": "the list is empty", "since": "2016-05-01T10:00:00Z", "plan": "1f",'
            ' "subjects": ["a.1"]}',
            "held        1 removal for 5m00s: the list is empty; "
            "`marathon-calico holds approve 1f --yes` lets it go",
            id="hold",
        ),
    ],
)
def test_what_is_wrong_in_the_datastore_is_told(
    world: World, key: str, value: str, line: str
) -> None:
    world.datastore.put(Key(key), value)
    answer = judge_status(cluster(world), NOW)
    assert answer.exit_code == 1
    assert line in text(answer)


def test_a_silent_agent_is_a_problem_and_its_tasks_wait(world: World) -> None:
    world.datastore.delete(keys.felix_status_key(HostName("host-b")))
    answer = judge_status(cluster(world), NOW)
    assert answer.exit_code == 1
    printed = text(answer)
    assert "hosts       1/2 reporting" in printed
    assert "PROBLEM host-b: agent is silent, last heard 5m00s ago: start it;" in printed
    assert "`marathon-calico hosts forget host-b --yes`" in printed
    assert "agent on host-b is silent; it last reported up" in printed


def test_a_hosts_own_problems_are_told(world: World) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.applied(host, 999, ["pool 192.168.0.0/16 overlaps 192.168.7.0/24"])
    answer = judge_status(cluster(world), NOW)
    assert "PROBLEM host-a: pool 192.168.0.0/16 overlaps 192.168.7.0/24" in text(answer)


def test_what_was_applied_before_a_reboot_does_not_count(world: World) -> None:
    key = keys.host_key(HostName("host-a"))
    world.datastore.put(key, '{"address": "10.1.0.1", "boot_id": "another"}')
    assert cluster(world).host(HostName("host-a")).agent.applied == 0


def test_an_empty_datastore_is_not_as_it_should_be(datastore: MemoryDatastore) -> None:
    answer = judge_status(read_cluster(datastore), NOW)
    assert answer.exit_code == 1
    assert "PROBLEM controller: none is active" in text(answer)
    assert "PROBLEM hosts: no agent has registered" in text(answer)


def test_a_tiered_policy_is_told_with_how_many_it_closes(world: World) -> None:
    policy = Key("/calico/v1/policy/tier/default/policy/strict")
    world.datastore.put(keys.profile_key(ProfileId("star-1"), "labels"), '{"star": "1"}')
    world.datastore.put(policy, '{"selector": "star == \\"1\\""}')
    answer = judge_status(cluster(world), NOW)
    assert answer.exit_code == 1
    assert "PROBLEM policy default/strict: closes the 2 tasks that it selects" in text(answer)


@pytest.mark.parametrize(
    "selector", [pytest.param("star == '1'", id="nobody"), pytest.param(None, id="gone")]
)
def test_a_tiered_policy_that_closes_nobody_is_no_problem(
    world: World, selector: str | None
) -> None:
    policy = Key("/calico/v1/policy/tier/default/policy/strict")
    world.datastore.put(policy, json.dumps({"selector": selector or "all()"}))
    if selector is None:
        world.datastore.delete(policy)
    assert judge_status(cluster(world), NOW).exit_code == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("/calico/v1/policy/tier/a/policy/b", '{"selector": "x"}', id="policy"),
        pytest.param("/calico/v1/policy/profile/star-1/labels", '{"x": 1}', id="labels"),
        pytest.param("/calico/v1/host/host-a/endpoint/eth0", "{}", id="host endpoint"),
    ],
)
def test_what_calico_would_pass_over_is_told(world: World, key: str, value: str) -> None:
    world.datastore.put(Key(key), value)
    answer = judge_status(cluster(world), NOW)
    assert answer.exit_code == 1
    assert f"PROBLEM {key}: " in text(answer)


# -- get, describe, diff --


def test_tasks_are_listed_by_name_with_what_they_have(world: World) -> None:
    found = rows(judge_get(cluster(world), NOW, "tasks", None))
    assert [row["task"] for row in found] == sorted(str(row["task"]) for row in found)
    assert found[1] == {
        "task": "star_probe-a.1",
        "app": "/star_probe-a",
        "host": "host-a",
        "addresses": ["192.168.0.1"],
        "groups": ["star-1"],
        "ports": ["9000/tcp"],
        "verdict": "IN_SYNC",
        "reason": "",
        "since": "2016-05-01T10:00:00Z",
        "attached": "locator",
        "container": None,
        "pod": False,
    }


@pytest.mark.parametrize(
    ("kind", "name", "count"),
    [
        pytest.param("tasks", "/star_probe-a", 1, id="app id"),
        pytest.param("tasks", "star_probe", 3, id="prefix of several"),
        pytest.param("hosts", "host-b", 1, id="host"),
        pytest.param("groups", "star-1", 1, id="group"),
        pytest.param("pools", "192.168.0.0/16", 1, id="pool"),
        pytest.param("hosts", None, 2, id="all hosts"),
        pytest.param("groups", None, 3, id="all groups"),
    ],
)
def test_a_list_has_what_the_name_means(
    world: World, kind: str, name: str | None, count: int
) -> None:
    assert len(rows(judge_get(cluster(world), NOW, kind, name))) == count


@pytest.mark.parametrize("kind", ["tasks", "hosts", "groups", "pools"])
def test_a_name_that_means_nothing_is_exit_2(world: World, kind: str) -> None:
    with pytest.raises(NoSuchThing) as raised:
        judge_get(cluster(world), NOW, kind, "nothing")
    assert raised.value.exit_code == 2


def test_a_task_is_described_with_its_rules_in_words(world: World) -> None:
    printed = text(judge_describe(cluster(world), NOW, "star_probe-a"))
    assert "inbound   1 allow tcp from tag star-1 to ports 9000" in printed
    assert "verdict   IN_SYNC" in printed
    assert "age       5m00s" in printed
    assert "actual    at revision" in printed


def test_an_ambiguous_name_lists_what_it_may_mean(world: World) -> None:
    with pytest.raises(NoSuchThing) as raised:
        judge_describe(cluster(world), NOW, "star_probe")
    assert "star_probe-a.1 on host-a" in raised.value.message
    assert "star_probe-c.1 on host-b" in raised.value.message


def test_nothing_differs_when_all_is_reported(world: World) -> None:
    answer = judge_diff(cluster(world), None)
    said = Lines(("desired and actual agree: 4 tasks on 2 hosts, as agents report",))
    assert answer == Answer([], (said,), 0)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("host-a", "2 tasks on 1 host", id="a host"),
        pytest.param("star_probe-a.1", "1 task on 1 host", id="a task"),
    ],
)
def test_it_says_of_how_much_nothing_differs(world: World, name: str, said: str) -> None:
    (lines,) = judge_diff(cluster(world), name).sections
    assert lines == Lines((f"desired and actual agree: {said}, as agents report",))


def test_what_differs_is_told_with_signs(world: World) -> None:
    # given a task that is not reported, one that is nobody's, one on an old revision
    host = world.host("host-a", "10.1.0.1")
    new = world.record(host, "new.1")
    world.endpoint(host, new, "192.168.0.7")
    old, spec, _ = world.task(host, "old.1", "192.168.0.8")
    world.datastore.delete(keys.endpoint_key(spec.id))
    world.datastore.delete(keys.task_key(old.task))
    late = world.record(host, "late.1")
    late_spec, late_revision = world.endpoint(host, late, "192.168.0.9")
    world.report(late_spec, late_revision - 1, EndpointState.DOWN, "no namespace")
    # when
    answer = judge_diff(cluster(world), "host-a")
    # then
    assert answer.exit_code == 1
    assert text(answer).splitlines() == [
        "late.1 on host-a",
        "- state down (no namespace)",
        "+ state up",
        f"- revision {late_revision - 1}",
        f"+ revision {late_revision}",
        "",
        "new.1 on host-a",
        "+ endpoint 192.168.0.7 up",
        "",
        "old.1 on host-a",
        "- endpoint 192.168.0.8 up",
    ]
    assert judge_diff(cluster(world), "host-b").exit_code == 0
    assert judge_diff(cluster(world), "star_probe-a").exit_code == 0
    with pytest.raises(NoSuchThing):
        judge_diff(cluster(world), "host-z")


# -- why --


@pytest.mark.parametrize(
    ("source", "destination", "exit_code", "fact"),
    [
        pytest.param("star_probe-a.1", "star_probe-b.1:9000", 0, "common group", id="group"),
        pytest.param("star_probe-a", "/star_probe-b", 0, "common group", id="any port"),
        pytest.param("star_probe-a", "star_probe-c:9000", 1, "no common group", id="no group"),
        pytest.param("star_probe-a", "star_probe-c", 1, "no common group", id="none at all"),
        pytest.param("star_probe-c", "star_collect:9000", 0, "public", id="public"),
        pytest.param("star_collect", "star_probe-c:9000", 1, "no common group", id="one way"),
        pytest.param("star_probe-a", "star_probe-b:9001", 1, "port not declared", id="port"),
        pytest.param("star_probe-a", "star_probe-b:9000/udp", 1, "port not declared", id="udp"),
        pytest.param("star_probe-a", "star_probe-b/udp", 1, "port not declared", id="all of udp"),
        pytest.param("star_probe-a", "star_probe-b/tcp", 0, "common group", id="any of tcp"),
        pytest.param("star_probe-a", "star_probe-b/icmp", 0, "common group", id="ping"),
        pytest.param("star_probe-a", "star_probe-c/icmp", 1, "no common group", id="no ping"),
        pytest.param("star_probe-a", "star_probe-a:22", 0, "same task", id="itself"),
        pytest.param("host-b", "star_probe-b:22", 0, "own host", id="its host"),
        pytest.param("10.1.0.2", "star_probe-b:22", 0, "own host", id="its host's address"),
        pytest.param("host-a", "star_probe-b:9000", 1, "address not allowed", id="another host"),
        pytest.param("172.16.0.9", "star_probe-a:9000", 1, "address not allowed", id="outsider"),
        pytest.param("172.16.0.9", "star_collect:9000", 0, "public", id="outsider to public"),
        pytest.param("192.168.0.1", "192.168.0.65:9000", 0, "common group", id="addresses"),
        pytest.param("star_probe-a", "8.8.8.8:53/udp", 3, "host decides", id="outside"),
        pytest.param("star_probe-a", "host-b:5051", 3, "host decides", id="a host's port"),
        pytest.param("host-a", "host-b:22", 3, "not ours", id="host to host"),
        pytest.param("fd80::9", "star_probe-a", 1, "no common address family", id="families"),
    ],
)
def test_why_names_the_first_deciding_fact(
    world: World, source: str, destination: str, exit_code: int, fact: str
) -> None:
    answer = judge_why(cluster(world), source, destination)
    assert (fields(answer)["fact"], answer.exit_code) == (fact, exit_code)
    assert bool(fields(answer)["remedy"]) == (exit_code == 1)


def test_why_prints_the_answer_its_reason_the_kernel_and_the_remedy(world: World) -> None:
    printed = text(judge_why(cluster(world), "star_probe-a", "star_probe-c:9000")).splitlines()
    assert printed[0] == (
        "DENIED  star_probe-a.1 (192.168.0.1, groups star-1) -> "
        "star_probe-c.1 (192.168.0.66, groups star-2) tcp/9000"
    )
    assert printed[1] == (
        "  because   no common group: star_probe-a.1 is in star-1, star_probe-c.1 in star-2"
    )
    assert printed[2].startswith("  kernel    host-b agrees: up, and revision ")
    assert printed[3] == (
        '  to allow  put both into one group: "star-2" into the groups of /star_probe-a,'
        ' or "star-1" into the groups of /star_probe-c; "public" in the groups of /star_probe-c'
        " would let everybody in"
    )


@pytest.mark.parametrize(
    ("source", "destination", "remedy"),
    [
        pytest.param(
            ("one",), (), 'put both into one group: "one" into the groups of /dst; ', id="source"
        ),
        pytest.param(
            (), ("one",), 'put both into one group: "one" into the groups of /src; ', id="target"
        ),
        pytest.param(
            ("public",), (), "put both into one group: a new one into those of ", id="public only"
        ),
        pytest.param(
            (), (), "put both into one group: a new one into those of /src and of /dst; ", id="none"
        ),
    ],
)
def test_a_common_group_is_advised_before_public(
    world: World, source: tuple[str, ...], destination: tuple[str, ...], remedy: str
) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.task(host, "src.1", "192.168.0.8", groups=source)
    world.task(host, "dst.1", "192.168.0.9", groups=destination)
    found = str(fields(judge_why(cluster(world), "src.1", "dst.1"))["remedy"])
    assert found.startswith(remedy)
    assert found.endswith('; "public" in the groups of /dst would let everybody in')


def test_two_tasks_of_one_app_without_groups_are_advised_one_for_it(world: World) -> None:
    host = world.host("host-a", "10.1.0.1")
    for number in (8, 9):
        world.task(host, f"web.{number}", f"192.168.0.{number}")
    found = str(fields(judge_why(cluster(world), "web.8", "web.9"))["remedy"])
    assert found.startswith("put both into one group: a new one into those of /web; ")


@pytest.mark.parametrize(
    ("pod", "remedy"),
    [
        pytest.param(False, "declare tcp/9001 as a discovery port of /web", id="an app"),
        pytest.param(True, "declare tcp/9001 as an endpoint of /web", id="a pod"),
    ],
)
def test_a_port_is_declared_in_the_words_of_its_app(world: World, pod: bool, remedy: str) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.task(host, "web.1", "192.168.0.9", groups=["star-1"], ports=TCP, pod=pod)

    found = fields(judge_why(cluster(world), "star_probe-b", "web:9001"))

    assert found["remedy"] == f"{remedy}, or give it the label MARATHON_CALICO_PORTS=open"


def test_what_is_open_is_listed_when_no_port_is_asked_about(world: World) -> None:
    found = fields(judge_why(cluster(world), "star_probe-a", "star_probe-b"))
    assert found["open"] == {"tcp": "9000", "udp": "", "icmp": True}


def test_an_operators_own_rule_is_named(world: World) -> None:
    world.profile(Profile(ProfileId("star-1"), inbound=(Rule(Action.DENY),)))
    found = fields(judge_why(cluster(world), "star_probe-a", "star_probe-b:9000"))
    assert found["fact"] == "rule denies"
    assert found["rule"] == {
        "direction": "inbound",
        "profile": "star-1",
        "number": 1,
        "text": "deny",
    }


def test_a_task_that_may_not_send_is_told_from_one_that_is_not_let_in(world: World) -> None:
    record, spec, _ = world.task(
        world.host("host-a", "10.1.0.1"), "web.1", "192.168.0.9", groups=["star-1"]
    )
    for profile in spec.profiles:
        world.profile(Profile(profile))
    found = fields(judge_why(cluster(world), record.task, "star_probe-b:9000"))
    assert found["fact"] == "egress is closed"


def test_the_controllers_flag_lets_an_address_in(datastore: MemoryDatastore) -> None:
    policy = NetworkPolicy(allow_from=(IPNetwork("10.9.0.0/24"),))
    world = World(datastore, policy)
    host = world.host("host-a", "10.1.0.1")
    world.task(host, "web.1", "192.168.0.9", ports=TCP)
    assert judge_why(cluster(world), "10.9.0.1", "web:9000").exit_code == 0
    assert judge_why(cluster(world), "10.9.0.1", "web:9001").exit_code == 1
    assert judge_why(cluster(world), "10.8.0.1", "web:9000").exit_code == 1


@pytest.mark.parametrize(
    ("state", "behind", "fact"),
    [
        pytest.param(EndpointState.DOWN, 0, "endpoint down", id="down"),
        pytest.param(EndpointState.ERROR, 0, "endpoint down", id="error"),
        pytest.param(EndpointState.UP, 1, "not applied yet", id="older revision"),
    ],
)
def test_what_policy_allows_is_denied_while_a_host_has_not_done_it(
    world: World, state: EndpointState, behind: int, fact: str
) -> None:
    host = world.host("host-a", "10.1.0.1")
    record = world.record(host, "web.1", groups=["star-1"])
    spec, revision = world.endpoint(host, record, "192.168.0.9")
    world.report(spec, revision - behind, state, "because")
    for source, destination in (("star_probe-b", "web"), ("web", "star_probe-b:9000")):
        answer = judge_why(cluster(world), source, destination)
        assert (fields(answer)["fact"], answer.exit_code) == (fact, 1)


@pytest.mark.parametrize(
    ("verdict", "remedy"),
    [
        pytest.param(TaskVerdict.PENDING, "wait, or see to what web.1 waits for", id="waits"),
        pytest.param(
            TaskVerdict.REFUSED, "correct /web: its next task gets an address", id="refused"
        ),
    ],
)
@pytest.mark.parametrize("pair", [("star_probe-a", "web:80"), ("web", "star_probe-a:9000")])
def test_a_task_without_an_address_reaches_nobody_and_no_kernel_is_said_to_agree(
    world: World, verdict: TaskVerdict, remedy: str, pair: tuple[str, str]
) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.record(host, "web.1", verdict=verdict, reason="pool exhausted")
    answer = judge_why(cluster(world), *pair)
    found = fields(answer)
    assert (found["fact"], found["remedy"], answer.exit_code) == ("no address yet", remedy, 1)
    assert "pool exhausted" in text(answer)
    assert found["kernel"] is None


def test_a_profile_that_cannot_be_enforced_closes(world: World) -> None:
    world.datastore.put(
        keys.profile_key(ProfileId("star-1"), "rules"),
        '{"inbound_rules": [{"src_selector": "all()"}]}',
    )
    answer = judge_why(cluster(world), "host-a", "star_probe-b:9000")
    assert fields(answer)["fact"] == "profile unenforceable"
    world.datastore.delete(keys.profile_key(ProfileId("star-2"), "rules"))
    world.datastore.delete(keys.profile_key(ProfileId("star-2"), "tags"))
    answer = judge_why(cluster(world), "host-a", "star_probe-c:9000")
    assert fields(answer)["fact"] == "profile absent"


def test_a_silent_host_leaves_the_kernel_unknown_and_the_policy_stands(world: World) -> None:
    world.datastore.delete(keys.felix_status_key(HostName("host-b")))
    answer = judge_why(cluster(world), "star_probe-a", "star_probe-b:9000")
    kernel = fields(answer)["kernel"]
    assert isinstance(kernel, dict)
    assert (answer.exit_code, kernel["agrees"]) == (0, "unknown")


def test_a_host_that_has_not_confirmed_the_newest_revision_is_unknown(world: World) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.task(host, "web.1", "192.168.0.9", groups=["star-1"])
    kernel = fields(judge_why(cluster(world), "web", "star_probe-b:9000"))["kernel"]
    assert isinstance(kernel, dict)
    assert kernel["agrees"] == "unknown"
    assert "not confirmed the newest change" in str(kernel["detail"])


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        pytest.param("nobody", "star_probe-b", id="no such source"),
        pytest.param("star_probe-a", "nobody:80", id="no such destination"),
        pytest.param("star_probe", "star_collect", id="ambiguous source"),
        pytest.param("star_collect", "star_probe:80", id="ambiguous destination"),
    ],
)
def test_why_of_nothing_is_exit_2(world: World, source: str, destination: str) -> None:
    with pytest.raises(NoSuchThing):
        judge_why(cluster(world), source, destination)


def scale(world: World, *extra: tuple[str, ...]) -> None:
    """The app /web with a task on each host, both alike but for groups of its own version."""
    first, second = extra or ((), ())
    for name, host, address, more in (
        ("web.1", "host-a", "192.168.0.8", first),
        ("web.2", "host-b", "192.168.0.70", second),
    ):
        where = world.host(host, "10.1.0.1" if host == "host-a" else "10.1.0.2")
        world.task(where, name, address, groups=("star-1", *more), ports=TCP)


def test_why_of_a_scaled_app_asks_of_its_first_task_and_names_the_others(world: World) -> None:
    scale(world)
    answer = judge_why(cluster(world), "star_probe-a", "/web:9000")
    assert answer.exit_code == 0
    printed = text(answer).splitlines()
    assert "-> web.1 (" in printed[0]
    assert printed[1] == (
        "  asked of  web.1, one of 2 tasks of /web with the same groups and ports;"
        " `get tasks /web` lists them"
    )
    destination = fields(answer)["destination"]
    assert isinstance(destination, dict)
    assert (destination["name"], destination["others"]) == ("web.1", ["web.2"])


def test_a_task_of_a_scaled_app_that_is_in_sync_is_asked_of_first(world: World) -> None:
    scale(world)
    endpoint = endpoint_of_task(HostName("host-a"), TaskId("web.1"))
    world.datastore.delete(keys.status_key(endpoint))
    answer = judge_why(cluster(world), "/web", "star_probe-a")
    assert text(answer).splitlines()[0].startswith("ALLOWED  web.2 (")


def test_two_tasks_of_a_scaled_app_are_asked_of_for_each_other(world: World) -> None:
    scale(world)
    printed = text(judge_why(cluster(world), "/web", "/web:9000")).splitlines()[0]
    assert "web.1 (" in printed.partition("->")[0]
    assert "web.2 (" in printed.partition("->")[2]


def test_tasks_of_an_app_whose_groups_differ_are_listed_to_choose_from(world: World) -> None:
    scale(world, ("old",), ("new",))
    with pytest.raises(NoSuchThing) as raised:
        judge_why(cluster(world), "star_probe-a", "/web:9000")
    assert raised.value.message.splitlines() == [
        "'/web' may be any of these 2 tasks; name one in its place:",
        "  web.1 on host-a, in star-1, old",
        "  web.2 on host-b, in star-1, new",
    ]


def test_an_app_whose_id_looks_like_a_protocol_is_still_an_app(world: World) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.task(host, "web.1", "192.168.0.9", app="/net/udp", groups=["star-1"])
    answer = judge_why(cluster(world), "star_probe-a", "/net/udp")
    destination = fields(answer)["destination"]
    assert isinstance(destination, dict)
    assert (destination["app"], answer.exit_code) == ("/net/udp", 0)


def test_an_ipv6_destination_has_its_port_behind_brackets(datastore: MemoryDatastore) -> None:
    world = World(datastore, NetworkPolicy(ipv6=True))
    host = world.host("host-a", "10.1.0.1")
    world.task(host, "six.1", "fd80::1", groups=["six"], ports=TCP)
    world.task(host, "six.2", "fd80::2", groups=["six"], ports=TCP)
    allowed = judge_why(cluster(world), "six.1", "[fd80::2]:9000")
    assert (fields(allowed)["fact"], fields(allowed)["port"]) == ("common group", 9000)
    assert judge_why(cluster(world), "six.1", "fd80::2").exit_code == 0
    assert judge_why(cluster(world), "six.1", "[fd80::2]:9001").exit_code == 1
    assert judge_why(cluster(world), "six.1", "six.2/icmp").exit_code == 0


def test_why_names_the_tiered_policy_that_closes(world: World) -> None:
    policy = Key("/calico/v1/policy/tier/default/policy/strict")
    world.datastore.put(policy, '{"selector": "all()"}')
    answer = judge_why(cluster(world), "star_probe-a.1", "star_probe-b.1:9000")
    assert (answer.exit_code, fields(answer)["fact"]) == (1, "tiered policy")
    assert "default/strict" in str(fields(answer)["remedy"])


@pytest.mark.parametrize("suffix", ["abc", "80/xyz", "-1"])
def test_what_is_no_port_is_told_of_the_port(world: World, suffix: str) -> None:
    with pytest.raises(click.BadParameter, match=f"{suffix!r} is no port"):
        judge_why(cluster(world), "star_probe-a", f"star_probe-b:{suffix}")


def test_a_silent_agent_is_not_known_to_differ(world: World) -> None:
    world.datastore.delete(keys.felix_status_key(HostName("host-b")))
    answer = judge_diff(cluster(world), "host-b")
    assert (answer.exit_code, "? agent silent" in text(answer)) == (3, True)


# -- hostile strings --


@settings(max_examples=30)
@given(text_=st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
def test_no_command_prints_what_a_terminal_obeys(text_: str) -> None:
    # given a user's text wherever a user's text can be
    world = star(MemoryDatastore())
    host = world.host("host-a", "10.1.0.1")
    record = world.record(host, "evil.1", groups=["star-1"], app=f"/{text_}", reason=text_)
    spec, revision = world.endpoint(host, record, "192.168.0.9")
    world.report(spec, revision, EndpointState.ERROR, text_)
    world.applied(host, revision, [text_])
    world.datastore.put(Key("/calico/v1/policy/profile/star-2/rules"), text_)
    found = cluster(world)
    # when
    answers = [
        judge_status(found, NOW),
        *(judge_get(found, NOW, kind, None) for kind in ("tasks", "hosts", "groups", "pools")),
        judge_describe(found, NOW, "evil.1"),
        judge_diff(found, None),
        judge_why(found, "star_probe-a", "evil.1"),
        judge_why(found, "evil.1", "star_probe-c"),
    ]
    # then
    for answer in answers:
        printed = text(answer)
        assert all(char.isprintable() or char == "\n" for char in printed)
        assert render(answer, "json", width=None, colour=False).isascii()

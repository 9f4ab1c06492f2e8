"""`holds` and `cluster`: what waits, what it is told with, and the operator's word on it."""

import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from calico import codec, keys
from calico.cluster import HoldKind, Standing, Takeover
from calico.datastore.memory import MemoryDatastore
from reconciler.cli.command import NoSuchThing
from reconciler.cli.commands.status import judge_status
from reconciler.cli.judging.held import (
    adoptable,
    changed,
    done,
    list_holds,
    nothing_to_adopt,
    one_hold,
    show_cluster,
    show_holds,
    unreadable,
    would,
)
from reconciler.cli.main import main
from reconciler.cli.printing.render import Answer, render
from reconciler.cli.reading.cluster import Cluster, read_cluster
from reconciler.controller.removal.approval import approve
from tests.unit.cli.test_commands import NOW
from tests.unit.cli.world import World, star

TASKS = ("star_probe-a.1", "star_probe-b.1", "unseen.1")
#: Of each kind what waits, and the words of it.
KINDS = [
    pytest.param(HoldKind.TASKS, TASKS, "3 removals", "holds approve", id="tasks"),
    pytest.param(HoldKind.TASKS, TASKS[:1], "1 removal", "holds approve", id="one task"),
    pytest.param(HoldKind.FRAMEWORK, ("b-0000",), "everything", "cluster adopt", id="framework"),
    pytest.param(HoldKind.GROUPS, ("/a", "/b"), "2 apps", "holds approve", id="groups"),
    pytest.param(HoldKind.STORE, ("host-a",), "every new address", "cluster adopt", id="store"),
]


@pytest.fixture
def world() -> World:
    return star(MemoryDatastore())


def cluster(world: World) -> Cluster:
    return read_cluster(world.datastore)


def text(answer: Answer) -> str:
    return render(answer, "table", width=None, colour=False)


def fields(answer: Answer) -> object:
    return json.loads(render(answer, "json", width=None, colour=False))


def test_that_nothing_waits_is_said_and_no_failure(world: World) -> None:
    for answer in (list_holds(cluster(world), NOW), show_holds(cluster(world), NOW, None)):
        assert (text(answer), answer.exit_code) == ("", 0)
        assert answer.note == "nothing waits for an operator"
        assert fields(answer) == []


@pytest.mark.parametrize(("kind", "subjects", "words", "command"), KINDS)
def test_each_kind_is_listed_and_shown_with_what_ends_it(
    world: World, kind: HoldKind, subjects: tuple[str, ...], words: str, command: str
) -> None:
    held = world.hold(kind, *subjects, reason="the reason")
    listed = list_holds(cluster(world), NOW)
    assert listed.exit_code == 0
    row = text(listed).splitlines()[1].split("  ")
    assert [cell.strip() for cell in row if cell.strip()] == [
        *(held.plan, kind.value, words, "5m00s", "waits", "the reason"),
    ]
    shown = text(show_holds(cluster(world), NOW, held.plan))
    assert all(subject in shown for subject in subjects)
    assert f"marathon-calico {command}" in shown
    assert words in shown


def test_what_waits_is_shown_with_where_it_is_and_what_its_agent_says(world: World) -> None:
    held = world.hold(HoldKind.TASKS, *TASKS)
    printed = text(show_holds(cluster(world), NOW, None))
    assert "star_probe-a.1  /star_probe-a  host-a  192.168.0.1   up" in printed
    assert "unseen.1        -" in printed
    assert fields(show_holds(cluster(world), NOW, held.plan)) == [
        {
            "kind": "tasks",
            "plan": held.plan,
            "subjects": list(TASKS),
            "reason": "why",
            "since": held.since,
            "approved": False,
            "remedy": f"marathon-calico holds approve {held.plan} --yes",
            "tasks": [
                {
                    "task": name,
                    "app": f"/{name.partition('.')[0]}",
                    "host": host,
                    "addresses": [address],
                    "status": "up",
                }
                for name, host, address in (
                    ("star_probe-a.1", "host-a", "192.168.0.1"),
                    ("star_probe-b.1", "host-b", "192.168.0.65"),
                )
            ],
        }
    ]


def test_apps_that_lost_their_groups_are_shown_with_those_of_their_tasks(world: World) -> None:
    world.hold(HoldKind.GROUPS, "/star_collect", "/star_probe-a")
    printed = text(show_holds(cluster(world), NOW, None))
    assert "/star_collect  public" in printed
    assert "/star_probe-a  star-1" in printed


@pytest.mark.parametrize("plan", ["0123456789ab", "", "x"])
def test_a_plan_that_nothing_waits_under_is_refused(world: World, plan: str) -> None:
    world.hold(HoldKind.TASKS, *TASKS)
    with pytest.raises(NoSuchThing, match="see `holds`"):
        one_hold(cluster(world), plan)


def test_an_approval_is_announced_and_then_written(world: World) -> None:
    held = world.hold(HoldKind.TASKS, *TASKS, reason="the list is empty")
    found = (one_hold(cluster(world), held.plan),)
    announced = would("approve", found)
    assert announced.exit_code == 2
    assert text(announced) == (
        f"would approve 3 removals ({held.plan}): the list is empty; --yes does it\n"
    )
    assert world.held(HoldKind.TASKS) == held
    assert approve(world.datastore, held)
    assert world.held(HoldKind.TASKS) == replace(held, approved=held.plan)
    assert done("approved", found).exit_code == 0
    assert "approved" in text(list_holds(cluster(world), NOW))
    assert "approved: the controller lets it go" in text(show_holds(cluster(world), NOW, None))


@pytest.mark.parametrize("meanwhile", ["ended", "another plan", "unreadable"])
def test_what_changed_since_it_was_shown_is_not_approved(world: World, meanwhile: str) -> None:
    held = world.hold(HoldKind.TASKS, *TASKS)
    key = keys.hold_key(HoldKind.TASKS)
    if meanwhile == "ended":
        world.datastore.delete(key)
    elif meanwhile == "another plan":
        world.hold(HoldKind.TASKS, *TASKS[:1])
    else:
        world.datastore.put(key, "{")
    assert not approve(world.datastore, held)
    stored = world.datastore.get(key)
    assert stored is None or '"approved": "1' not in stored.value
    answer = changed((held,))
    assert (answer.exit_code, text(answer).partition(" ")[0]) == (1, "REFUSED")


def test_an_adoption_is_of_marathon_and_etcd_only(world: World) -> None:
    world.hold(HoldKind.TASKS, *TASKS)
    world.hold(HoldKind.GROUPS, "/a")
    assert adoptable(cluster(world)) == ()
    framework = world.hold(HoldKind.FRAMEWORK, "b-0000")
    store = world.hold(HoldKind.STORE, "host-a")
    assert set(adoptable(cluster(world))) == {framework, store}
    answer = nothing_to_adopt()
    assert answer.exit_code == 0
    assert text(answer).startswith("nothing to adopt: ")


def test_what_cannot_be_read_is_written_anew_by_an_adoption(world: World) -> None:
    world.datastore.put(keys.CLUSTER, "garbage")
    assert adoptable(cluster(world)) == ()
    anew = unreadable(cluster(world))

    announced = would("adopt", (), anew)
    assert announced.exit_code == 2
    assert text(announced) == (
        "would adopt: /marathon-calico/v1/cluster cannot be read and is written anew, "
        "with Marathon's next answer; --yes does it\n"
    )
    written = done("adopted", (), anew)
    assert written.exit_code == 0
    assert text(written).startswith("adopted: /marathon-calico/v1/cluster cannot be read and is")


def test_what_another_version_wrote_is_not_written_anew(world: World) -> None:
    world.datastore.put(keys.CLUSTER, codec.encode_cluster(replace(world.pin(), schema=9)))
    assert unreadable(cluster(world)) == ()


def test_what_cannot_be_read_is_told_once_with_what_mends_it(world: World) -> None:
    world.datastore.put(keys.CLUSTER, "garbage")
    world.lead(standing=Standing(waits=f"{keys.CLUSTER} cannot be read"))
    for answer in (show_cluster(cluster(world)), judge_status(cluster(world), NOW)):
        assert answer.exit_code == 1
        assert text(answer).count("PROBLEM") == 1
        assert (
            "PROBLEM /marathon-calico/v1/cluster: cannot be read, so that nothing is added and "
            "nothing removed: not JSON: 'garbage'; `marathon-calico cluster adopt --yes` "
            "writes it anew"
        ) in text(answer)


def test_what_is_pinned_is_shown(world: World) -> None:
    world.pin("first-0000")
    held = world.hold(HoldKind.FRAMEWORK, "second-0000", reason="another one answers")
    answer = show_cluster(cluster(world))
    assert answer.exit_code == 0
    *table, gap, held_line = text(answer).splitlines()
    assert [re.split(r"  +", line)[:2] for line in table] == [
        ["WHAT", "VALUE"],
        ["uuid", "uuid-1"],
        ["framework", "first-0000"],
        ["marathon", "1.4.13"],
        ["allow from", "10.0.0.9/32"],
        ["takeovers", "3"],
        ["adopted", "guid-of-before"],
    ]
    assert all(re.split(r"  +", line)[2] for line in table), "each line says what it means"
    assert (gap, held_line) == (
        "",
        "held  another one answers; `marathon-calico cluster adopt --yes` lets it go",
    )
    data = fields(answer)
    assert isinstance(data, dict)
    assert [each["plan"] for each in data.pop("holds")] == [held.plan]
    assert data == {
        "uuid": "uuid-1",
        "schema": 1,
        "framework": "first-0000",
        "marathon": "1.4.13",
        "allow_from": ["10.0.0.9/32"],
        "takeovers": 3,
        "adopted": ["guid-of-before"],
    }


@pytest.mark.parametrize(
    ("guids", "told"),
    [
        pytest.param((), "none  *no state of an earlier etcd was imported", id="none"),
        pytest.param(("a",), "a  *ClusterGUID of etcd before it was .*, once: ", id="one"),
        pytest.param(("a", "b"), "a, b  *ClusterGUID of etcd before .*, 2 times: ", id="two"),
    ],
)
def test_what_was_adopted_is_said_in_words(world: World, guids: tuple[str, ...], told: str) -> None:
    chain = (Takeover(3, "nonce", guids),)
    record = codec.encode_cluster(replace(world.pin(), chain=chain))
    world.datastore.put(keys.CLUSTER, record)
    assert re.search(f"adopted  *{told}", text(show_cluster(cluster(world))))


def test_a_cluster_that_no_controller_led_has_nothing_to_show(world: World) -> None:
    with pytest.raises(NoSuchThing, match="no controller has led"):
        show_cluster(cluster(world))


def test_a_record_of_another_schema_is_a_problem(world: World) -> None:
    record = world.pin()
    world.datastore.put(keys.CLUSTER, codec.encode_cluster(replace(record, schema=9)))
    answer = show_cluster(cluster(world))
    assert answer.exit_code == 1
    assert "PROBLEM /marathon-calico/v1/cluster: schema 9 is not known" in text(answer)


@pytest.mark.parametrize("command", ["approve", "show"])
@pytest.mark.parametrize("plan", ["abc", "0123456789AB", "0123456789abc", "../task", ""])
def test_a_malformed_plan_is_refused_in_one_line(command: str, plan: str) -> None:
    result = CliRunner().invoke(main, ["holds", command, plan])
    said = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert (result.exit_code, len(said)) == (2, 1)
    assert "12 of the characters 0-9 and a-f" in said[0]


@pytest.mark.parametrize(
    ("arguments", "means"),
    [
        pytest.param(["holds"], "holds list", id="nothing"),
        pytest.param(["holds", "-o", "xml"], "holds list", id="a flag"),
        pytest.param(["holds", "-h"], "holds", id="help"),
        pytest.param(["holds", "show", "-h"], "holds show", id="another command"),
    ],
)
def test_holds_alone_lists(arguments: list[str], means: str) -> None:
    etcd = ["--etcd", "http://127.0.0.1:1"] if arguments == ["holds"] else []
    result = CliRunner().invoke(main, [*arguments, *etcd], prog_name="marathon-calico")
    if etcd:
        assert result.exit_code == 3
    else:
        assert f"Usage: marathon-calico {means} [" in result.output

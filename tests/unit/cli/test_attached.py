"""What commands tell of tasks that a plugin attached, and of containers that wait."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from netaddr import IPAddress

from calico import codec, keys
from calico.datastore.memory import MemoryDatastore
from calico.model import (
    AppliedRecord,
    Attachment,
    BootId,
    ContainerId,
    HostName,
    Refusal,
    TaskVerdict,
)
from reconciler.cli.commands.describe import judge_describe
from reconciler.cli.commands.get import judge_get
from reconciler.cli.commands.hosts import judge_forget
from reconciler.cli.commands.ipam import judge_release
from reconciler.cli.commands.status import judge_status
from reconciler.cli.judging.addresses import judge_address, judge_check
from reconciler.cli.printing.render import Answer, render
from reconciler.cli.reading.cluster import read_cluster
from reconciler.cli.reading.usage import findings_of, usage_of
from tests.unit.cli.world import World, star

NOW = datetime(2016, 5, 1, 10, 5, tzinfo=UTC)
BOX = ContainerId("5baff64c-d028-47ba-864e-a5ee679fc069")
A, ADDRESS = HostName("host-a"), IPAddress("192.168.0.30")


@pytest.fixture
def world() -> World:
    return star(MemoryDatastore())


def text(answer: Answer) -> str:
    return render(answer, "table", width=None, colour=False)


def data(answer: Answer) -> Any:
    return json.loads(render(answer, "json", width=None, colour=False))


def task(world: World, **declared: Any) -> None:
    host = world.host("host-a", "10.1.0.1")
    _, _, revision = world.task(host, "late.1", str(ADDRESS), **declared)
    world.applied(host, revision)


@pytest.mark.parametrize(
    ("declared", "attached", "container", "pod"),
    [
        pytest.param({}, "locator", None, False, id="found once it ran"),
        pytest.param({"container": BOX}, "plugin", BOX, False, id="attached before"),
        pytest.param({"container": BOX, "pod": True}, "plugin", BOX, True, id="a pod instance"),
    ],
)
def test_a_task_shows_how_it_was_attached(
    world: World, declared: dict[str, Any], attached: str, container: str | None, pod: bool
) -> None:
    task(world, **declared)
    cluster = read_cluster(world.datastore)
    answer = judge_get(cluster, NOW, "tasks", "late.1")
    (row,) = data(answer)
    assert (row["attached"], row["container"], row["pod"]) == (attached, container, pod)
    described = judge_describe(cluster, NOW, "late.1")
    assert data(described)["container"] == container
    line = next(each for each in text(described).splitlines() if each.startswith("attached"))
    assert ("pod instance" in line) is pod
    assert (BOX in line) is (container is not None)
    assert attached in text(answer)


def test_a_task_that_waits_shows_no_way_of_attachment(world: World) -> None:
    world.record(world.host("host-a", "10.1.0.1"), "late.1", verdict=TaskVerdict.PENDING)
    (row,) = data(judge_get(read_cluster(world.datastore), NOW, "tasks", "late.1"))
    assert (row["attached"], row["container"]) == (None, None)


def waits(world: World, since: str, name: str = "", boot: str = "boot") -> Answer:
    """What status says of a container that host-a tells of."""
    attachment = Attachment(BOX, (ADDRESS,), name, since)
    revision = read_cluster(world.datastore).snapshot.revision
    applied = AppliedRecord(A, BootId(boot), revision, attachments=(attachment,))
    world.datastore.put(keys.applied_key(A), codec.encode_applied(applied))
    return judge_status(read_cluster(world.datastore), NOW)


@pytest.mark.parametrize(
    ("since", "name", "told", "exit_code"),
    [
        pytest.param("2016-05-01T10:04:45Z", "late.1", False, 0, id="a task, for 15 seconds"),
        pytest.param("2016-05-01T10:04:15Z", "late.1", True, 1, id="a task, for 45 seconds"),
        pytest.param("2016-05-01T10:04:15Z", "", True, 0, id="no task that is known"),
        pytest.param("", "late.1", False, 0, id="since when is not known"),
    ],
)
def test_a_container_that_waits_for_more_than_30_seconds_is_told(
    world: World, since: str, name: str, told: bool, exit_code: int
) -> None:
    answer = waits(world, since, name)
    assert answer.exit_code == exit_code
    assert [each["container"] for each in data(answer)["waiting"]] == ([BOX] if told else [])
    assert (str(BOX) in text(answer)) is told
    if told and name:
        assert f"PROBLEM host-a: container {BOX}" in text(answer)
        assert "runs task late.1 and is not claimed" in text(answer)


def test_what_an_earlier_boot_told_of_containers_is_not_told(world: World) -> None:
    assert data(waits(world, "2016-05-01T10:00:00Z", "late.1", boot="earlier"))["waiting"] == []


@pytest.mark.parametrize(
    ("since", "boot", "told"),
    [
        pytest.param("2016-05-01T10:02:00Z", "boot", True, id="just now"),
        pytest.param("2016-05-01T09:04:00Z", "boot", False, id="over an hour ago"),
        pytest.param("2016-05-01T10:02:00Z", "earlier", False, id="before a reboot"),
        pytest.param("", "boot", False, id="when is not known"),
    ],
)
def test_a_call_of_a_plugin_that_came_to_nothing_is_told_for_an_hour_and_is_no_problem(
    world: World, since: str, boot: str, told: bool
) -> None:
    refused = Refusal("cni", "refused", "no address is free\x1b[2J", since)
    revision = read_cluster(world.datastore).snapshot.revision
    applied = AppliedRecord(A, BootId(boot), revision, refusals=(refused,))
    world.datastore.put(keys.applied_key(A), codec.encode_applied(applied))

    answer = judge_status(read_cluster(world.datastore), NOW)

    rows = [(each["host"], each["caller"], each["kind"]) for each in data(answer)["refused"]]
    assert rows == ([("host-a", "cni", "refused")] if told else [])
    line = "refused host-a: cni, 3m00s ago: no address is free"
    assert (line in text(answer)) is told
    assert "\x1b" not in text(answer)
    assert data(answer)["problems"] == []


def test_an_address_of_a_container_is_assigned_to_it(world: World) -> None:
    world.attach(A, BOX, str(ADDRESS))
    cluster = read_cluster(world.datastore)
    usage = usage_of(cluster)
    answer = judge_address(cluster, usage, ADDRESS)
    assert (data(answer)["state"], data(answer)["container"]) == ("assigned", BOX)
    assert f"container {BOX} on host-a is not known to be a task yet" in text(answer)
    checked = judge_check(cluster, usage, findings_of(cluster, usage))
    assert (checked.exit_code, data(checked)["findings"]) == (0, [])


def test_an_address_of_a_live_container_is_not_released_by_hand(world: World) -> None:
    world.attach(A, BOX, str(ADDRESS))
    cluster = read_cluster(world.datastore)
    answer = judge_release(cluster, usage_of(cluster), ADDRESS)
    assert answer.exit_code == 1
    assert data(answer)["reason"] == f"container {BOX} on host-a has it, and no task claimed it yet"


def test_an_address_of_a_container_whose_host_nobody_knows_may_be_released(world: World) -> None:
    world.attach(HostName("host-z"), BOX, str(ADDRESS))
    cluster = read_cluster(world.datastore)
    usage = usage_of(cluster)
    assert data(judge_address(cluster, usage, ADDRESS))["state"] == "leaked"
    assert judge_release(cluster, usage, ADDRESS).exit_code == 2


def test_forgetting_a_host_tells_what_its_containers_hold_of_others(world: World) -> None:
    gone = world.host("host-c", "10.1.0.3", alive=False)
    # host-a's block lends it an address.
    world.attach(gone.name, BOX, str(ADDRESS))
    answer = judge_forget(read_cluster(world.datastore), "host-c", force=False)
    assert answer.exit_code == 2
    assert data(answer)["blocks"] == ["192.168.0.0/26"]

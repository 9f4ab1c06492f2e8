"""Which calls of CNI are refused, with which code, and that nothing is left of them."""

from typing import Any

import pytest
from netaddr import IPNetwork

from calico.model import ContainerId
from reconciler.attach.api import Attached, Place, Wish
from reconciler.attach.memory import MemoryAttacher
from reconciler.attach.plugin import VERSIONS
from tests.unit.attach.cni_calls import CONTAINER, asked, call, configured, labels

POOLS = (IPNetwork("192.168.7.0/26"), IPNetwork("fd80:24e2:f998:72d6::/122"))


@pytest.fixture
def attacher() -> MemoryAttacher:
    return MemoryAttacher(POOLS)


BAD_LABEL = asked(labels=labels(("ipv4_addrs", "__import__('os').system('id')")))


@pytest.mark.parametrize(
    ("config", "changes", "code", "words"),
    [
        pytest.param("", {}, 6, "not JSON", id="nothing on standard input"),
        pytest.param("hello", {}, 6, "not JSON", id="no JSON"),
        pytest.param("[]", {}, 6, "must be an object", id="no object"),
        pytest.param("[" * 100_000, {}, 6, "not JSON", id="a bottomless nest"),
        pytest.param(configured("2.0.0"), {}, 1, "0.1.0, 0.2.0", id="a version to come"),
        pytest.param(configured(["x"]), {}, 1, "cniVersion", id="a version that is none"),
        pytest.param({"cniVersion": "0.4.0"}, {}, 7, "name", id="no name"),
        pytest.param(configured(name=7), {}, 7, "name", id="a name that is none"),
        pytest.param(configured(name="net1"), {}, 7, "'net1' is none", id="unknown network"),
        pytest.param(configured(ipam={"type": "host-local"}), {}, 2, "host-local", id="ipam"),
        pytest.param(configured(ipam=5), {}, 7, "ipam", id="ipam that is none"),
        pytest.param(configured(runtimeConfig={"ips": ["x"]}), {}, 7, "'x'", id="no address"),
        pytest.param(configured(args={"cni": {"ips": 5}}), {}, 7, "ips", id="no list"),
        pytest.param(BAD_LABEL, {}, 7, "ipv4_addrs", id="a label to evaluate"),
        pytest.param(
            asked(labels=labels(("ipv6_addrs", "['192.168.7.9']"))), {}, 7, "family", id="family"
        ),
        pytest.param(asked(labels={"labels": [7]}), {}, 7, "label", id="a label that is none"),
        pytest.param(
            asked(labels=labels(("ipv4_addrs", "['10.9.9.9']"))), {}, 7, "pools", id="no pool"
        ),
        pytest.param(
            configured(prevResult={"ips": []}), {}, 7, "another plugin", id="second of a chain"
        ),
        pytest.param(None, {"CNI_COMMAND": None}, 4, "CNI_COMMAND", id="no command"),
        pytest.param(None, {"CNI_COMMAND": "GC"}, 4, "CNI_COMMAND", id="unknown command"),
        pytest.param(None, {"CNI_CONTAINERID": None}, 4, "CNI_CONTAINERID", id="no container"),
        pytest.param(None, {"CNI_CONTAINERID": "../x"}, 4, "CNI_CONTAINERID", id="path as id"),
        pytest.param(None, {"CNI_CONTAINERID": "a" * 129}, 4, "CNI_CONTAINERID", id="long id"),
        pytest.param(None, {"CNI_NETNS": None}, 4, "CNI_NETNS", id="no namespace"),
        pytest.param(
            None,
            {"CNI_NETNS": None, "CNI_IFNAME": None},
            4,
            "CNI_NETNS, CNI_IFNAME",
            id="all that is missing",
        ),
        pytest.param(None, {"CNI_ARGS": "IP=x"}, 7, "'x'", id="an argument that is no address"),
        pytest.param(None, {"CNI_IFNAME": "a/b"}, 7, "a/b", id="interface as path"),
    ],
)
def test_a_bad_call_is_refused_with_its_code_and_leaves_nothing(
    attacher: MemoryAttacher, config: Any, changes: dict[str, str | None], code: int, words: str
) -> None:
    status, answer = call(attacher, "ADD", config, networks=frozenset({"calico"}), **changes)

    assert status == 1
    assert answer.keys() == {"cniVersion", "code", "msg", "details"}
    assert (answer["code"], words in answer["msg"]) == (code, True), answer
    assert answer["cniVersion"] in VERSIONS
    assert "\n" not in answer["msg"]
    assert attacher.known == {}


def test_a_second_network_of_ours_is_refused_and_the_first_stays(attacher: MemoryAttacher) -> None:
    call(attacher, "ADD")

    code, answer = call(attacher, "ADD", CNI_IFNAME="eth1")

    assert (code, answer["code"]) == (1, 7)
    assert "eth0" in answer["msg"]
    assert list(attacher.known) == [CONTAINER]


class OvertakenAttacher(MemoryAttacher):
    """One where another call attaches every container between the two steps of a call."""

    def allocate(self, container: ContainerId, wish: Wish) -> Attached:
        """See Attacher."""
        allocated = super().allocate(container, wish)
        self.attach(container, Place(pid=7))
        return allocated


def test_of_two_networks_that_are_joined_at_once_the_first_stays() -> None:
    attacher = OvertakenAttacher(POOLS)

    code, answer = call(attacher, "ADD", CNI_IFNAME="eth1")

    assert (code, answer["code"]) == (1, 7)
    assert attacher.known[ContainerId(CONTAINER)].device == "eth0"


def test_a_full_pool_is_told_and_leaves_nothing() -> None:
    attacher = MemoryAttacher([IPNetwork("192.168.7.1/32")])
    call(attacher, "ADD")

    code, answer = call(attacher, "ADD", CNI_CONTAINERID="other", namespace="/proc")

    assert code == 1
    assert "no address is free" in answer["msg"]
    assert list(attacher.known) == [CONTAINER]


def test_what_is_not_ready_is_to_be_tried_later(attacher: MemoryAttacher) -> None:
    attacher.unavailable = "etcd does not answer"

    code, answer = call(attacher, "ADD")

    assert (code, answer["code"], answer["msg"]) == (1, 11, "etcd does not answer")
    assert answer["details"] == f"ADD of container {CONTAINER}"


def test_addresses_are_given_back_when_the_link_cannot_be_made(attacher: MemoryAttacher) -> None:
    # Without a descriptor there is no place for a link, after addresses were given.
    code, _ = call(attacher, "ADD", namespace=None)

    assert code == 1
    assert attacher.known == {}


def test_the_namespace_of_another_container_is_refused(attacher: MemoryAttacher) -> None:
    call(attacher, "ADD")

    code, answer = call(attacher, "ADD", CNI_CONTAINERID="other")

    assert (code, CONTAINER in answer["msg"]) == (1, True)
    assert list(attacher.known) == [CONTAINER]

"""What CNI's calls come to, and what is answered in each version."""

import threading
from pathlib import Path
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from calico.model import ContainerId
from reconciler.attach.memory import MemoryAttacher
from reconciler.attach.plugin import VERSIONS
from tests.unit.attach.busy import BusyAttacher
from tests.unit.attach.cni_calls import CONTAINER, NETNS, asked, call, configured, labels

POOLS = (IPNetwork("192.168.7.0/26"), IPNetwork("fd80:24e2:f998:72d6::/122"))
ADDRESS4, ADDRESS6 = "192.168.7.0", "fd80:24e2:f998:72d6::"


@pytest.fixture
def attacher() -> MemoryAttacher:
    return MemoryAttacher(POOLS)


def _held(attacher: MemoryAttacher) -> dict[str, list[str]]:
    return {name: [str(a) for a in has.addresses] for name, has in attacher.known.items()}


@pytest.mark.parametrize(
    ("version", "told"),
    [
        pytest.param(None, "0.1.0", id="none is the oldest"),
        pytest.param("0.1.0", "0.1.0", id="0.1.0"),
        pytest.param("0.2.0", "0.2.0", id="0.2.0"),
    ],
)
def test_old_versions_answer_in_the_form_that_mesos_reads(
    attacher: MemoryAttacher, version: str | None, told: str
) -> None:
    code, answer = call(attacher, "ADD", configured(version))

    assert code == 0
    assert answer == {
        "cniVersion": told,
        "ip4": {
            "ip": f"{ADDRESS4}/32",
            "gateway": "169.254.1.1",
            "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
        },
        "ip6": {
            "ip": f"{ADDRESS6}/128",
            "gateway": "fe80::1",
            "routes": [{"dst": "::/0", "gw": "fe80::1"}],
        },
    }


@pytest.mark.parametrize(
    ("version", "family"),
    [
        pytest.param("0.3.0", True, id="0.3.0"),
        pytest.param("0.3.1", True, id="0.3.1"),
        pytest.param("0.4.0", True, id="0.4.0"),
        pytest.param("1.0.0", False, id="1.0.0"),
    ],
)
def test_newer_versions_answer_with_addresses_and_interfaces(
    attacher: MemoryAttacher, version: str, family: bool
) -> None:
    code, answer = call(attacher, "ADD", configured(version))

    has = attacher.known[ContainerId(CONTAINER)]
    assert code == 0
    assert answer == {
        "cniVersion": version,
        "interfaces": [
            {"name": has.interface, "mac": "ee:ee:ee:ee:ee:ee"},
            {"name": "eth0", "mac": str(has.mac), "sandbox": NETNS},
        ],
        "ips": [
            {"address": f"{ADDRESS4}/32", "gateway": "169.254.1.1", "interface": 1}
            | ({"version": "4"} if family else {}),
            {"address": f"{ADDRESS6}/128", "gateway": "fe80::1", "interface": 1}
            | ({"version": "6"} if family else {}),
        ],
        "routes": [
            {"dst": "0.0.0.0/0", "gw": "169.254.1.1"},
            {"dst": "::/0", "gw": "fe80::1"},
        ],
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_no_answer_names_servers_of_names(attacher: MemoryAttacher, version: str) -> None:
    assert "dns" not in call(attacher, "ADD", configured(version))[1]


@pytest.mark.parametrize(
    ("config", "addresses"),
    [
        pytest.param(
            asked(labels=labels(("ipv4_addrs", "['192.168.7.9']"))),
            ["192.168.7.9"],
            id="label with single quotes",
        ),
        pytest.param(
            asked(
                labels=labels(
                    ("ipv4_addrs", '["192.168.7.9"]'), ("ipv6_addrs", "['fd80:24e2:f998:72d6::5']")
                )
            ),
            ["192.168.7.9", "fd80:24e2:f998:72d6::5"],
            id="labels of both families",
        ),
        pytest.param(
            asked(
                labels=labels(
                    *[("ipv4_addrs", '["192.168.7.9"]')] * 2, ("tier", "a"), ("tier", "b")
                )
            ),
            ["192.168.7.9"],
            id="labels given twice",
        ),
        pytest.param(
            asked(labels=labels(("ipv4_addrs", ""))), [ADDRESS4, ADDRESS6], id="empty label"
        ),
        pytest.param(
            asked(groups=["web"], ip_addresses=[{"protocol": "IPv4"}], port_mappings=[{"x": 1}]),
            [ADDRESS4, ADDRESS6],
            id="what Marathon sends beside",
        ),
        pytest.param(
            asked(ip_addresses=[{"protocol": "IPv4", "ip_address": "192.168.7.4"}]),
            ["192.168.7.4"],
            id="address in NetworkInfo",
        ),
        pytest.param(
            configured("1.0.0", runtimeConfig={"ips": ["192.168.7.8/26"], "mac": "x"}),
            ["192.168.7.8"],
            id="runtimeConfig",
        ),
        pytest.param(
            configured("1.0.0", args={"cni": {"ips": ["192.168.7.8"]}, "x.y": 3}),
            ["192.168.7.8"],
            id="args.cni",
        ),
        pytest.param(
            configured(runtimeConfig=None, args=None, ipam={}, prevResult=None, hello=[1]),
            [ADDRESS4, ADDRESS6],
            id="nulls and unknown fields",
        ),
        pytest.param(
            configured(ipam={"type": "calico-ipam"}), [ADDRESS4, ADDRESS6], id="our own ipam"
        ),
    ],
)
def test_fixed_addresses_are_found_wherever_they_are_asked_for(
    attacher: MemoryAttacher, config: Any, addresses: list[str]
) -> None:
    assert call(attacher, "ADD", config)[0] == 0

    assert _held(attacher) == {CONTAINER: addresses}


@pytest.mark.parametrize(
    ("arguments", "addresses"),
    [
        pytest.param("IgnoreUnknown=1;IP=192.168.7.8", ["192.168.7.8"], id="podman's --ip"),
        pytest.param("IgnoreUnknown=1;K8S_POD_NAME=a;x;=", [ADDRESS4, ADDRESS6], id="others"),
    ],
)
def test_arguments_may_name_an_address(
    attacher: MemoryAttacher, arguments: str, addresses: list[str]
) -> None:
    assert call(attacher, "ADD", CNI_ARGS=arguments)[0] == 0

    assert _held(attacher) == {CONTAINER: addresses}


def test_add_again_answers_the_same(attacher: MemoryAttacher) -> None:
    assert call(attacher, "ADD") == call(attacher, "ADD")


def test_a_container_in_another_is_one_of_its_own(attacher: MemoryAttacher) -> None:
    nested = f"{CONTAINER}.2b0d7c3e-0001-4cb8-9d2c-3e0a8ce8a2a5"

    call(attacher, "ADD")
    call(attacher, "ADD", CNI_CONTAINERID=nested, CNI_NETNS="/other", namespace="/proc")
    call(attacher, "DEL")

    assert list(attacher.known) == [nested]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="as at ADD"),
        pytest.param({"CNI_NETNS": None}, id="without a namespace"),
        pytest.param({"CNI_NETNS": "", "CNI_PATH": None}, id="with an empty namespace"),
    ],
)
def test_del_twice_succeeds_and_prints_nothing(
    attacher: MemoryAttacher, changes: dict[str, str | None]
) -> None:
    call(attacher, "ADD")

    assert [call(attacher, "DEL", namespace=None, **changes) for _ in range(2)] == [(0, None)] * 2
    assert attacher.known == {}


def test_del_of_what_never_was_succeeds(attacher: MemoryAttacher) -> None:
    assert call(attacher, "DEL", CNI_NETNS=None) == (0, None)


def test_del_leaves_to_the_agent_what_cannot_be_done_now(
    caplog: pytest.LogCaptureFixture,
) -> None:
    attacher = BusyAttacher(POOLS)
    call(attacher, "ADD")

    assert call(attacher, "DEL") == (0, None)
    assert "container not taken away yet" in caplog.text


def test_del_needs_no_configuration_that_makes_sense(attacher: MemoryAttacher) -> None:
    call(attacher, "ADD")

    spoilt = {"cniVersion": "0.4.0", "ipam": 5, "args": "x"}
    assert call(attacher, "DEL", spoilt, networks=frozenset({"other"})) == (0, None)
    assert attacher.known == {}


def test_del_of_a_refused_second_interface_leaves_the_first(attacher: MemoryAttacher) -> None:
    call(attacher, "ADD")
    assert call(attacher, "ADD", CNI_IFNAME="eth1")[0] == 1

    assert call(attacher, "DEL", CNI_IFNAME="eth1") == (0, None)
    assert list(attacher.known) == [CONTAINER]


def test_check_is_content_with_what_add_answered(attacher: MemoryAttacher) -> None:
    result = call(attacher, "ADD", configured("1.0.0"))[1]

    assert call(attacher, "CHECK", configured("1.0.0", prevResult=result)) == (0, None)


@pytest.mark.parametrize(
    ("config", "changes", "code"),
    [
        pytest.param(configured("0.4.0"), {}, 7, id="no prevResult"),
        pytest.param(
            configured("0.4.0", prevResult={"ips": [{"address": "192.168.7.33/32"}]}),
            {},
            7,
            id="another address",
        ),
        pytest.param(configured("0.3.1", prevResult={}), {}, 1, id="before CHECK was known"),
        pytest.param(configured("0.4.0"), {"CNI_IFNAME": "eth1"}, 3, id="another interface"),
        pytest.param(configured("0.4.0"), {"CNI_CONTAINERID": "x"}, 3, id="another container"),
        pytest.param(configured("0.4.0"), {"CNI_NETNS": None}, 4, id="no namespace"),
    ],
)
def test_check_tells_what_is_not_so(
    attacher: MemoryAttacher, config: Any, changes: dict[str, str | None], code: int
) -> None:
    call(attacher, "ADD")

    status, answer = call(attacher, "CHECK", config, **changes)

    assert (status, answer["code"]) == (1, code)
    assert list(attacher.known) == [CONTAINER]


def test_calls_at_once_give_each_container_its_own_address(
    attacher: MemoryAttacher, tmp_path: Path
) -> None:
    for n in range(16):
        (tmp_path / str(n)).mkdir()
    threads = [
        threading.Thread(
            target=call,
            args=(attacher, "ADD"),
            kwargs={"CNI_CONTAINERID": f"c{n}", "namespace": str(tmp_path / str(n))},
        )
        for n in range(16)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    held = [a for has in attacher.known.values() for a in has.addresses]
    assert len(set(held)) == len(held) == 32
    assert IPAddress(ADDRESS4) in held

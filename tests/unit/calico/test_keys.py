"""etcd paths, and the gate for what may become part of one."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from calico import identifiers, keys
from calico.datastore.api import Key
from calico.errors import InvalidName
from calico.model import EndpointId, HandleId, HostName, Pool, ProfileId, TaskId
from tests.unit.calico.samples import sample

HOST = HostName("host-1.example.org")
ENDPOINT = EndpointId(HOST, "mesos", "shop_web.1$a", "d79123c4784511e5bd1a080027f532f6")


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        pytest.param(
            keys.endpoint_key(ENDPOINT),
            "/calico/v1/host/host-1.example.org/workload/mesos/shop_web.1$a"
            "/endpoint/d79123c4784511e5bd1a080027f532f6",
            id="endpoint",
        ),
        pytest.param(
            keys.status_key(ENDPOINT),
            "/calico/felix/v1/host/host-1.example.org/workload/mesos/shop_web.1$a"
            "/endpoint/d79123c4784511e5bd1a080027f532f6",
            id="status",
        ),
        pytest.param(
            keys.felix_status_key(HOST),
            "/calico/felix/v1/host/host-1.example.org/status",
            id="agent's sign of life",
        ),
        pytest.param(
            keys.profile_key(ProfileId("web"), "rules"),
            "/calico/v1/policy/profile/web/rules",
            id="profile",
        ),
        pytest.param(
            keys.pool_key(Pool(IPNetwork("192.168.0.0/16"))),
            "/calico/v1/ipam/v4/pool/192.168.0.0-16",
            id="IPv4 pool",
        ),
        pytest.param(
            keys.pool_key(IPNetwork("fd80:24e2:f998:72d6::/64")),
            "/calico/v1/ipam/v6/pool/fd80:24e2:f998:72d6::-64",
            id="IPv6 pool",
        ),
        pytest.param(
            keys.block_key(IPNetwork("192.168.1.0/26")),
            "/calico/ipam/v2/assignment/ipv4/block/192.168.1.0-26",
            id="block",
        ),
        pytest.param(
            keys.affinity_key(HOST, IPNetwork("fd80::40/122")),
            "/calico/ipam/v2/host/host-1.example.org/ipv6/block/fd80::40-122",
            id="affinity",
        ),
        pytest.param(
            keys.handle_key(HandleId("cni.0cd47986")),
            "/calico/ipam/v2/handle/cni.0cd47986",
            id="handle",
        ),
        pytest.param(keys.ipam_config_key(), "/calico/ipam/v2/config", id="ipam config"),
        pytest.param(
            keys.task_key(TaskId("shop_web.1$a")),
            "/marathon-calico/v1/task/shop_web.1$a",
            id="task record",
        ),
        pytest.param(
            keys.host_key(HOST), "/marathon-calico/v1/host/host-1.example.org", id="host record"
        ),
        pytest.param(
            keys.applied_key(HOST),
            "/marathon-calico/v1/applied/host-1.example.org",
            id="applied record",
        ),
    ],
)
def test_a_key_is_where_calico_expects_it(built: Key, expected: str) -> None:
    assert built == expected
    assert keys.check_key(built) == expected


def test_a_key_names_what_it_was_built_from() -> None:
    assert keys.parse_endpoint_key(keys.endpoint_key(ENDPOINT)) == ENDPOINT
    assert keys.parse_status_key(keys.status_key(ENDPOINT)) == ENDPOINT
    profile = ProfileId("app-web-0a1b")
    assert keys.parse_profile_key(keys.profile_key(profile, "tags")) == (profile, "tags")
    for text in ("10.0.0.0/8", "192.168.0.0/16", "fd80::/64", "::/0"):
        assert keys.parse_pool_key(keys.pool_key(IPNetwork(text))) == IPNetwork(text)
    for text in ("10.0.0.64/26", "fd80::40/122"):
        assert keys.parse_block_key(keys.block_key(IPNetwork(text))) == IPNetwork(text)
        affinity = keys.affinity_key(HOST, IPNetwork(text))
        assert keys.parse_affinity_key(affinity) == (HOST, IPNetwork(text))
    assert keys.parse_handle_key(keys.handle_key(HandleId("a.b"))) == "a.b"
    assert keys.parse_task_key(keys.task_key(TaskId("a$b"))) == "a$b"
    assert keys.parse_host_key(keys.host_key(HOST)) == HOST
    assert keys.parse_applied_key(keys.applied_key(HOST)) == HOST


def test_an_endpoint_s_own_directories_end_at_its_workload() -> None:
    workload = "/calico/v1/host/host-1.example.org/workload/mesos/shop_web.1$a"
    assert keys.own_directories(keys.endpoint_key(ENDPOINT)) == (f"{workload}/endpoint", workload)


def test_calico_s_own_cases_are_read_alike() -> None:
    seen = set()
    for case in sample("v1-key-parse-cases")["cases"]:
        key, kind = Key(case["key"]), case["kind"]
        endpoint = keys.parse_endpoint_key(key)
        profile = keys.parse_profile_key(key)
        pool = keys.parse_pool_key(key)
        found = {
            "workload-endpoint": endpoint,
            "profile-rules": profile,
            "pool": pool,
        }
        expected = {
            "workload-endpoint": kind == "workload-endpoint"
            and EndpointId(case["host"], case["orchestrator"], case["workload"], case["endpoint"]),
            "profile-rules": kind == "profile-rules" and (case["id"], "rules"),
            "pool": kind == "pool" and IPNetwork(case["id"]),
        }
        assert {name: value or False for name, value in found.items()} == expected, key
        seen.add(kind)
    assert {"workload-endpoint", "profile-rules", "pool"} <= seen


@pytest.mark.parametrize(
    ("parse", "key"),
    [
        pytest.param(keys.parse_endpoint_key, keys.ENDPOINTS, id="the directory itself"),
        pytest.param(
            keys.parse_endpoint_key, "/calico/v1/host/h/endpoint/eth0", id="a host endpoint"
        ),
        pytest.param(
            keys.parse_endpoint_key, "/calico/v1/host/h/workload/m//endpoint/e", id="empty part"
        ),
        pytest.param(
            keys.parse_endpoint_key, "/calico/v1/hosts/h/workload/m/w/endpoint/e", id="alike"
        ),
        pytest.param(keys.parse_profile_key, "/calico/v1/policy/profile/a/x", id="other leaf"),
        pytest.param(keys.parse_pool_key, "/calico/v1/ipam/v4/pool/fd80::-64", id="family"),
        pytest.param(keys.parse_pool_key, "/calico/v1/ipam/v4/pool/10.0.0.1-8", id="host bits"),
        pytest.param(keys.parse_pool_key, "/calico/v1/ipam/v4/pool/10.0.0.0", id="no length"),
        pytest.param(keys.parse_pool_key, "/calico/v1/ipam/v4/pool/010.0.0.0-8", id="octal"),
        pytest.param(
            keys.parse_block_key, "/calico/ipam/v2/assignment/ipv4/block/x-26", id="no address"
        ),
        pytest.param(keys.parse_task_key, "/marathon-calico/v1/task/a/b", id="too deep"),
        pytest.param(keys.parse_host_key, "/marathon-calico/v1/host/", id="no name"),
    ],
)
def test_another_key_names_nothing(parse: Callable[[Key], object], key: str) -> None:
    assert parse(Key(key)) is None


Check = Callable[[str], str]


@pytest.mark.parametrize(
    ("check", "text"),
    [
        pytest.param(identifiers.check_group, "star-1", id="group"),
        pytest.param(identifiers.check_group, "public", id="public"),
        pytest.param(identifiers.check_group, "a" * 128, id="longest group"),
        pytest.param(identifiers.check_profile, "default_host-1", id="host profile"),
        pytest.param(identifiers.check_profile, "app-web-0a1b2c3d", id="app profile"),
        pytest.param(identifiers.check_host, "10.0.0.1", id="host by address"),
        pytest.param(identifiers.check_task_id, "a" * 200, id="longest task id"),
        pytest.param(identifiers.check_task_id, "shop_web.instance-1._app.1$x", id="task id"),
    ],
)
def test_the_gate_lets_a_good_name_through(check: Check, text: str) -> None:
    assert check(text) == text


@pytest.mark.parametrize(
    ("check", "text", "rule"),
    [
        pytest.param(identifiers.check_group, "", "1 to 128", id="empty"),
        pytest.param(identifiers.check_group, "a" * 129, "1 to 128", id="too long"),
        pytest.param(identifiers.check_group, "a/b", "characters", id="slash"),
        pytest.param(identifiers.check_group, "a b", "characters", id="space"),
        pytest.param(identifiers.check_group, "web\n", "characters", id="line end"),
        pytest.param(identifiers.check_group, "wéb", "characters", id="beyond ASCII"),
        pytest.param(identifiers.check_group, "a%2fb", "characters", id="escape"),
        pytest.param(identifiers.check_group, "a$b", "characters", id="dollar in a group"),
        pytest.param(identifiers.check_group, "_a", "begin with '_'", id="hidden by etcd"),
        pytest.param(identifiers.check_group, ".", "path", id="dot"),
        pytest.param(identifiers.check_group, "..", "path", id="two dots"),
        pytest.param(identifiers.check_group, "default_host-1", "default_", id="a host's profile"),
        pytest.param(identifiers.check_group, "app-x", "app-", id="an app's profile"),
        pytest.param(identifiers.check_host, "h/../i", "characters", id="host with a path"),
        pytest.param(identifiers.check_task_id, "a" * 201, "1 to 200", id="task id too long"),
        pytest.param(identifiers.check_task_id, "a?b", "characters", id="task id with a query"),
    ],
)
def test_the_gate_names_the_string_and_the_rule(check: Check, text: str, rule: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check(text)
    assert repr(text) in str(caught.value)
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda bad: keys.profile_key(ProfileId(bad), "tags"), id="profile"),
        pytest.param(lambda bad: keys.affinity_dir(HostName(bad), 4), id="affinity"),
        pytest.param(lambda bad: keys.handle_key(HandleId(bad)), id="handle"),
        pytest.param(lambda bad: keys.task_key(TaskId(bad)), id="task"),
        pytest.param(lambda bad: keys.host_key(HostName(bad)), id="host"),
        pytest.param(lambda bad: keys.applied_key(HostName(bad)), id="applied"),
        pytest.param(lambda bad: keys.felix_status_key(HostName(bad)), id="felix status"),
        pytest.param(
            lambda bad: keys.endpoint_key(EndpointId(HOST, "mesos", bad, "e")), id="workload"
        ),
        pytest.param(
            lambda bad: keys.status_key(EndpointId(HostName(bad), "mesos", "w", "e")),
            id="status's host",
        ),
    ],
)
@given(bad=st.text(max_size=6))
def test_every_key_is_one_that_etcd_keeps_or_none(build: Callable[[str], Key], bad: str) -> None:
    try:
        key = build(bad)
    except InvalidName:
        return
    assert keys.check_key(key) == key
    assert key.count(bad) >= 1

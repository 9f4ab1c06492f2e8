"""What a first start leaves in the store, and what it leaves alone."""

import json
import re

import pytest
from netaddr import IPAddress

from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict
from calico.keys import BGP, CALICO, CONFIG, READY
from calico.model import BootId, HostName, HostRecord
from reconciler.controller.bootstrap import (
    DIRECTORIES,
    PREFIXES,
    bootstrap,
    bootstrap_host,
    make_ready,
)

DEFAULTS = {
    "/calico/v1/Ready": "true",
    "/calico/v1/config/InterfacePrefix": "cali",
    "/calico/v1/config/LogSeverityFile": "none",
    "/calico/v1/config/LogSeverityScreen": "info",
    "/calico/v1/config/LogFilePath": "none",
    "/calico/v1/config/IpInIpEnabled": "false",
    "/calico/v1/config/ReportingIntervalSecs": "0",
    "/calico/bgp/v1/global/as_num": "64511",
}


def host(address: str = "172.17.8.101", *others: str) -> HostRecord:
    return HostRecord(
        HostName("h"),
        IPAddress(address),
        BootId("boot"),
        "machine",
        "1",
        tuple(map(IPAddress, others)),
    )


@pytest.fixture
def store() -> MemoryDatastore:
    return MemoryDatastore()


def value(store: MemoryDatastore, key: str) -> str | None:
    stored = store.get(Key(key))
    return None if stored is None else stored.value


def everything(store: MemoryDatastore) -> dict[str, str]:
    return {
        each.key: each.value
        for root in ("/calico", "/marathon-calico")
        for each in store.list(Key(root)).entries
    }


def is_directory(store: MemoryDatastore, key: str) -> bool:
    try:
        store.put(Key(key), "")
    except Conflict:
        return True
    return False


def test_a_first_start_writes_what_the_python_calicoctl_writes(store: MemoryDatastore) -> None:
    bootstrap(store, ())
    make_ready(store)
    assert {key: value(store, key) for key in DEFAULTS} == DEFAULTS
    assert json.loads(value(store, f"{BGP}/global/node_mesh") or "") == {"enabled": True}
    assert re.fullmatch(r"[0-9a-f]{32}", value(store, f"{CONFIG}/ClusterGUID") or "")


def test_ready_is_the_last_key_of_a_first_start(store: MemoryDatastore) -> None:
    bootstrap(store, ())
    make_ready(store)
    newest = max(store.list(Key("/calico")).entries, key=lambda each: each.revision)
    assert newest.key == READY


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_the_directories_that_confd_watches_are_there(
    store: MemoryDatastore, directory: Key
) -> None:
    bootstrap(store, ())
    assert is_directory(store, directory)


def test_the_directories_of_a_host_are_there(store: MemoryDatastore) -> None:
    bootstrap_host(store, host())
    assert is_directory(store, "/calico/v1/host/h/workload")
    assert is_directory(store, "/calico/ipam/v2/host/h/ipv4/block")
    assert is_directory(store, "/calico/ipam/v2/host/h/ipv6/block")


def test_a_second_start_changes_nothing(store: MemoryDatastore) -> None:
    bootstrap(store, ())
    bootstrap_host(store, host())
    before = store.list(Key("/calico")).revision
    bootstrap(store, ())
    bootstrap_host(store, host())
    assert store.list(Key("/calico")).revision == before


def test_an_operator_s_settings_stay(store: MemoryDatastore) -> None:
    chosen = {
        f"{CONFIG}/ReportingIntervalSecs": "30",
        f"{CONFIG}/MyOwn": "x",
        f"{BGP}/global/as_num": "65000",
        f"{BGP}/global/node_mesh": '{"enabled": false}',
        f"{CALICO}/host/h/config/DefaultEndpointToHostAction": "DROP",
        f"{BGP}/host/h/as_num": "64512",
        "/calico/v1/Ready": "false",
        "/calico/ipam/v2/config": '{"auto_allocate_blocks": true}',
        "/calico/v1/ipam/v4/pool/10.0.0.0-8": '{"cidr": "10.0.0.0/8", "ipip": "tunl0"}',
        "/calico/dhcp/v1/subnet/1": "theirs",
    }
    for key, text in chosen.items():
        store.put(Key(key), text)
    bootstrap(store, ())
    bootstrap_host(store, host())
    assert chosen.items() <= everything(store).items()
    assert [key for key in everything(store) if "/pool/" in key] == [
        "/calico/v1/ipam/v4/pool/10.0.0.0-8"
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(None, "cali", id="first"),
        pytest.param("", "cali", id="empty"),
        pytest.param("tap", "tap,cali", id="added to another plugin's"),
        pytest.param("cali,tap", "cali,tap", id="there already"),
        pytest.param("tap, cali", "tap, cali", id="there after a space"),
        pytest.param("calico", "calico,cali", id="a longer name is another one"),
    ],
)
def test_felix_is_told_that_our_interfaces_are_its_own_beside_others(
    store: MemoryDatastore, before: str | None, after: str
) -> None:
    if before is not None:
        store.put(PREFIXES, before)
    bootstrap(store, ())
    assert value(store, PREFIXES) == after


ADDRESSES = (
    "/calico/v1/host/h/bird_ip",
    "/calico/bgp/v1/host/h/ip_addr_v4",
    "/calico/bgp/v1/host/h/ip_addr_v6",
)


@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        pytest.param(host(), ("172.17.8.101", "172.17.8.101", ""), id="IPv4"),
        pytest.param(host("fd80::1", "10.0.0.9"), ("", "", "fd80::1"), id="IPv6"),
    ],
)
def test_a_host_s_address_stands_under_its_own_family(
    store: MemoryDatastore, registered: HostRecord, expected: tuple[str, ...]
) -> None:
    bootstrap_host(store, registered)
    assert tuple(value(store, key) for key in ADDRESSES) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("172.17.8.55", "172.17.8.101", id="one that it no longer has is replaced"),
        pytest.param("10.9.0.1", "10.9.0.1", id="another one of its own was chosen"),
        pytest.param("", "", id="none was chosen"),
    ],
)
def test_a_host_s_address_follows_it_unless_an_operator_chose(
    store: MemoryDatastore, before: str, after: str
) -> None:
    for key in ADDRESSES[:2]:
        store.put(Key(key), before)
    bootstrap_host(store, host("172.17.8.101", "10.9.0.1"))
    assert {value(store, key) for key in ADDRESSES[:2]} == {after}

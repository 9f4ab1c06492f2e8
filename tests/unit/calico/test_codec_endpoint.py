"""Endpoints and statuses, as both families of Calico's tools write them."""

import json
from typing import Any

import pytest
from netaddr import EUI, IPAddress

from calico import codec, keys
from calico.datastore.api import Key
from calico.errors import InvalidValue
from calico.model import (
    EndpointId,
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    HostName,
    InterfaceName,
    ProfileId,
)
from calico.names import mac_of
from tests.unit.calico.samples import sample

ID = EndpointId(HostName("h"), "mesos", "t", "d79123c4784511e5bd1a080027f532f6")
SPEC = EndpointSpec(
    id=ID,
    interface=InterfaceName("calid79123c4784"),
    mac=EUI("d6:43:59:f7:93:d3"),
    addresses=(IPAddress("192.168.1.4"), IPAddress("fd80::4")),
    profiles=(ProfileId("default_h"), ProfileId("web"), ProfileId("app-x-1")),
    labels=(("a", "1"), ("b", "2")),
)
VALID: dict[str, Any] = {
    "state": "active",
    "name": "cali1",
    "mac": None,
    "profile_ids": [],
    "ipv4_nets": ["10.0.0.1/32"],
    "ipv6_nets": [],
}


def test_pycalico_s_endpoint_is_read_and_written_to_the_letter() -> None:
    given = sample("v1-workload-endpoint")
    endpoint = keys.parse_endpoint_key(Key(given["key"]))
    assert endpoint is not None
    spec = codec.decode_endpoint(endpoint, json.dumps(given["value"]))
    assert spec.addresses == (IPAddress("192.168.1.4"),)
    assert spec.profiles == ("default_calico-host-01", "star-1")
    assert json.loads(codec.encode_endpoint(spec)) == given["value"]


def test_go_s_endpoint_with_every_field_is_read() -> None:
    given = sample("v1-workload-endpoint-full")
    endpoint = keys.parse_endpoint_key(Key(given["key"]))
    assert endpoint is not None
    spec = codec.decode_endpoint(endpoint, json.dumps(given["value"]))
    assert spec == EndpointSpec(
        id=endpoint,
        interface=InterfaceName("cali1234abcd"),
        mac=EUI("ca:96:6a:b9:81:b0"),
        addresses=(IPAddress("198.51.100.17"), IPAddress("2001:db8::19")),
        profiles=(ProfileId("prof1"), ProfileId("prof2")),
        labels=(("deployment", "prod"), ("role", "webserver")),
    )


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(SPEC, id="full"),
        pytest.param(EndpointSpec(ID, InterfaceName("cali1"), SPEC.mac, ()), id="bare"),
        pytest.param(
            EndpointSpec(ID, InterfaceName("cali1"), SPEC.mac, (), active=False), id="inactive"
        ),
    ],
)
def test_what_is_written_is_read_back(spec: EndpointSpec) -> None:
    assert codec.decode_endpoint(ID, codec.encode_endpoint(spec)) == spec


def test_the_order_of_addresses_does_not_change_the_text() -> None:
    turned = EndpointSpec(
        ID, SPEC.interface, SPEC.mac, SPEC.addresses[::-1], SPEC.profiles, SPEC.labels
    )
    assert codec.encode_endpoint(turned) == codec.encode_endpoint(SPEC)


def test_every_field_that_pycalico_insists_on_is_written_and_the_mac_is_never_null() -> None:
    bare = EndpointSpec(ID, InterfaceName("cali1"), None, ())
    written = json.loads(codec.encode_endpoint(bare))
    assert {"state", "mac", "name", "ipv4_nets", "ipv6_nets"} <= written.keys()
    assert EUI(written["mac"]) == mac_of(ID)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"mac": None}, id="null MAC"),
        pytest.param({"labels": None}, id="null labels"),
        pytest.param({"ipv6_nets": None}, id="null list"),
        pytest.param({"active_instance_id": "", "ports": []}, id="fields of Go"),
    ],
)
def test_a_tolerable_endpoint_is_read(change: dict[str, Any]) -> None:
    spec = codec.decode_endpoint(ID, json.dumps(VALID | change))
    assert spec.addresses == (IPAddress("10.0.0.1"),)
    assert spec.mac is None


def test_the_profile_of_2014_is_read() -> None:
    value = {name: each for name, each in VALID.items() if name != "profile_ids"}
    spec = codec.decode_endpoint(ID, json.dumps(value | {"profile_id": "web"}))
    assert spec.profiles == ("web",)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"state": "up"}, id="state"),
        pytest.param({"state": None}, id="no state"),
        pytest.param({"name": "cali0123456789abcdef"}, id="interface too long"),
        pytest.param({"name": "a/b"}, id="interface with a path"),
        pytest.param({"name": ""}, id="no interface"),
        pytest.param({"mac": "nonsense"}, id="MAC"),
        pytest.param({"mac": 5}, id="MAC as a number"),
        pytest.param({"ipv4_nets": ["10.0.0.0/24"]}, id="a network is not an address"),
        pytest.param({"ipv4_nets": ["fd80::1/128"]}, id="wrong family"),
        pytest.param({"ipv4_nets": "10.0.0.1/32"}, id="no list"),
        pytest.param({"ipv4_nets": ["010.0.0.1/32"]}, id="octal"),
        pytest.param({"profile_ids": ["a b"]}, id="profile"),
        pytest.param({"profile_ids": [1]}, id="profile as a number"),
        pytest.param({"labels": {"a": 1}}, id="label as a number"),
    ],
)
def test_an_invalid_endpoint_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        codec.decode_endpoint(ID, json.dumps(VALID | change))


@pytest.mark.parametrize("text", ["", "null", "[]", "1", "{", "NaN", "[" * 100_000, '"\ud800"'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        codec.decode_endpoint(ID, text)
    with pytest.raises(InvalidValue):
        codec.decode_status(text)


def test_a_status_is_felix_s_and_more() -> None:
    status = EndpointStatus(EndpointState.ERROR, 12, (IPAddress("10.0.0.1"),), "no route")
    written = codec.encode_status(status)
    assert json.loads(written)["status"] == "error"
    assert codec.decode_status(written) == status


def test_felix_s_own_status_is_read() -> None:
    found = [
        codec.decode_status(json.dumps(value))
        for key, value in sample("felix-status")["keys"].items()
        if keys.parse_status_key(Key(key)) is not None
    ]
    assert found == [EndpointStatus(EndpointState.UP, 0)]


@pytest.mark.parametrize("text", ['{"status":"gone"}', "{}", '{"status":"up","ip":["x"]}'])
def test_an_invalid_status_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        codec.decode_status(text)

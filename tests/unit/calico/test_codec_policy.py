"""Tiered policies and host endpoints, as far as they are read."""

import json
from typing import Any

import pytest
from netaddr import IPAddress

from calico import codec, keys
from calico.datastore.api import Key
from calico.errors import InvalidValue
from calico.model import HostEndpoint, HostEndpointId, HostName, PolicyId, ProfileId
from calico.selector import AllOf, OneOf
from tests.unit.calico.samples import sample

POLICY = PolicyId("default", "web")
HOST_ENDPOINT = HostEndpointId(HostName("h"), "eth0")


def test_a_policy_of_either_family_is_read_for_whom_it_selects() -> None:
    found = {
        parsed: codec.decode_policy(parsed, json.dumps(value))
        for key, value in sample("v1-policy")["keys"].items()
        if (parsed := keys.parse_policy_key(Key(key))) is not None
    }
    [policy] = found.values()
    assert policy.id == PolicyId("default", "biff/bop")
    assert str(policy.id) == "default/biff/bop"
    assert policy.selector == AllOf(
        (OneOf("type", frozenset({"webserver"})), OneOf("role", frozenset({"frontend"})))
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{}", id="no selector"),
        pytest.param('{"selector": null}', id="null selector"),
        pytest.param('{"selector": "role = db"}', id="bad selector"),
        pytest.param('{"selector": 1}', id="a number"),
        pytest.param("[]", id="no object"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_policy_that_names_nobody_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        codec.decode_policy(POLICY, text)


def test_bad_rules_do_not_hide_whom_a_policy_selects() -> None:
    policy = codec.decode_policy(POLICY, '{"selector": "all()", "inbound_rules": 7, "order": "?"}')
    assert policy.selector == AllOf()


def test_felix_s_host_endpoint_is_read() -> None:
    given = sample("v1-host-endpoint")
    endpoint = keys.parse_host_endpoint_key(Key(given["key"]))
    assert endpoint is not None
    assert codec.decode_host_endpoint(endpoint, json.dumps(given["value"])) == HostEndpoint(
        HostEndpointId(HostName("foobar"), "eth0"),
        (IPAddress("10.0.0.0"), IPAddress("2201:db8::19")),
        (ProfileId("prof1"),),
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"name": "eth0"}, id="a name alone"),
        pytest.param({"expected_ipv4_addrs": ["10.0.0.1"]}, id="an address alone"),
        pytest.param({"name": "eth0", "ports": [], "labels": {"a": "b"}}, id="fields of Go"),
    ],
)
def test_a_tolerable_host_endpoint_is_read(value: dict[str, Any]) -> None:
    assert codec.decode_host_endpoint(HOST_ENDPOINT, json.dumps(value)).id == HOST_ENDPOINT


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({}, id="nothing to know it by"),
        pytest.param({"name": "eth0", "state": "active"}, id="a state"),
        pytest.param({"name": "eth0", "mac": "02:00:00:00:00:01"}, id="a MAC"),
        pytest.param({"name": "eth0", "ipv4_nets": []}, id="networks"),
        pytest.param({"expected_ipv4_addrs": ["fd80::1"]}, id="family"),
        pytest.param({"expected_ipv4_addrs": ["10.0.0.0/8"]}, id="a network"),
        pytest.param({"name": "eth0", "profile_ids": ["a b"]}, id="profile"),
    ],
)
def test_an_invalid_host_endpoint_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        codec.decode_host_endpoint(HOST_ENDPOINT, json.dumps(value))

"""Tiered policies and hosts' own interfaces, as far as they matter to tasks."""

from collections.abc import Mapping
from typing import Any

from netaddr import IPAddress

from calico.codec.endpoint import decode_profile_ids
from calico.codec.fields import as_text, as_tuple, parse_object
from calico.errors import InvalidValue
from calico.iptext import parse_address
from calico.model import HostEndpoint, HostEndpointId, Policy, PolicyId
from calico.selector import parse_selector

#: What only a workload's endpoint has.
_NOT_OF_HOSTS = ("state", "mac", "ipv4_nets", "ipv6_nets", "ipv4_gateway", "ipv6_gateway")


def decode_policy(policy: PolicyId, text: str) -> Policy:
    """The policy at the key of `policy`; raises InvalidValue.

    Only its selector is looked at, whatever its rules, order and types are.
    """
    return Policy(policy, parse_selector(as_text(parse_object(text).get("selector"), "selector")))


def decode_host_endpoint(endpoint: HostEndpointId, text: str) -> HostEndpoint:
    """The interface at the key of `endpoint`; raises InvalidValue."""
    raw = parse_object(text)
    for name in _NOT_OF_HOSTS:
        if name in raw:
            raise InvalidValue(f"{name} is none of a host endpoint's fields")
    addresses = (*_expected(raw, 4), *_expected(raw, 6))
    if raw.get("name") is None and not addresses:
        raise InvalidValue("it has neither a name nor an expected address")
    return HostEndpoint(endpoint, addresses, decode_profile_ids(raw))


def _expected(raw: Mapping[str, Any], version: int) -> tuple[IPAddress, ...]:
    name = f"expected_ipv{version}_addrs"
    found = tuple(map(parse_address, as_tuple(raw.get(name) or [], name, as_text)))
    if any(each.version != version for each in found):
        raise InvalidValue(f"{name} has an address of the other family")
    return found

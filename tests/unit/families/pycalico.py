"""Calico's Python tools as readers: pycalico, under calicoctl up to 0.23, and confd.

What pycalico does not like ends the command, or the plugin, with a traceback.
"""

import ipaddress
import json
from collections.abc import Mapping
from typing import Any

from tests.unit.families.meaning import (
    BlockMeaning,
    EndpointMeaning,
    PoolMeaning,
    RefusedError,
    Rules,
)
from tests.unit.families.python_family import (
    RULE_FIELDS,
    check,
    felix_tags,
    read_network,
    read_object,
    read_rule,
)

_RULE = {"action"} | (RULE_FIELDS - {"src_selector", "dst_selector"})
#: The directories that confd watches on every node, and fails on if they are absent.
WATCHED = (
    "/calico/v1/ipam/v4/pool",
    "/calico/v1/ipam/v6/pool",
    "/calico/bgp/v1/global/custom_filters/v4",
    "/calico/bgp/v1/global/custom_filters/v6",
)


def _need(raw: Mapping[str, Any], key: str) -> Any:
    if key not in raw:
        raise RefusedError(f"KeyError: {key!r}")
    return raw[key]


def endpoint(text: str) -> EndpointMeaning:
    """`calicoctl endpoint show`."""
    raw = read_object(text)
    state, mac, name = (_need(raw, each) for each in ("state", "mac", "name"))
    nets = [read_network(each) for v in (4, 6) for each in _need(raw, f"ipv{v}_nets")]
    return EndpointMeaning(
        state == "active",
        name,
        mac,
        frozenset(each.partition("/")[0] for each in nets),
        tuple(raw.get("profile_ids", [])),
        frozenset(raw.get("labels", {}).items()),
    )


def rewritten_endpoint(text: str, profile: str) -> str:
    """`calicoctl endpoint profile append`: fields that it does not know are lost."""
    raw = read_object(text)
    known = ("state", "name", "mac", "labels", "ipv4_nets", "ipv6_nets")
    kept = {each: raw[each] for each in known if each in raw}
    return json.dumps(kept | {"profile_ids": [*raw.get("profile_ids", []), profile]})


def rules(text: str) -> Rules:
    """`calicoctl profile NAME rule show`."""
    raw = read_object(text)
    found = []
    for direction in ("inbound_rules", "outbound_rules"):
        for each in raw.get(direction, []):
            check(each.keys() <= _RULE, f"KeyError: {each.keys() - _RULE}")
            check(each.get("action", "allow") in ("allow", "deny", "next-tier"), "action")
            check(
                each.get("protocol") in (None, "tcp", "udp", "icmp", "icmpv6"),
                "ValueError: protocol",
            )
        found.append(tuple(map(read_rule, raw.get(direction, []))))
    return (found[0], found[1])


def tags(text: str) -> frozenset[str]:
    """`calicoctl profile NAME tag show`."""
    return felix_tags(text)


def pool(text: str) -> PoolMeaning:
    """`calicoctl pool show`, and where new blocks come from."""
    raw = read_object(text)
    return PoolMeaning(
        read_network(_need(raw, "cidr")),
        raw.get("masquerade", False),
        raw.get("ipam", True),
        raw.get("disabled", False),
    )


def block(text: str) -> BlockMeaning:
    """A block; it asserts what it relies on."""
    raw = read_object(text)
    network = ipaddress.ip_network(_need(raw, "cidr"))
    affinity = _need(raw, "affinity")
    if affinity:
        check(affinity[:5] == "host:", "AssertionError: affinity")
    allocations, attributes = _need(raw, "allocations"), _need(raw, "attributes")
    check(len(allocations) == 64 == network.num_addresses, "AssertionError: size")
    used = {each for each in allocations if each is not None}
    check(max(used, default=-1) + 1 == len(attributes), "AssertionError: attributes")
    check(used == set(range(len(attributes))), "AssertionError: unused attribute")
    free = [number for number, each in enumerate(allocations) if each is None]
    listed = raw.get("unallocated", free)
    check(len(set(listed)) == len(listed), "AssertionError: twice")
    check(set(listed) == set(free), "AssertionError: unallocated")
    pairs = [
        (_need(each, "handle_id"), frozenset(_need(each, "secondary").items()))
        for each in attributes
    ]
    check(len(set(pairs)) == len(pairs), "equal owners share an entry")
    return BlockMeaning(
        str(network),
        affinity[5:] if affinity else None,
        bool(raw.get("strict_affinity", False)),
        tuple(None if each is None else pairs[each] for each in allocations),
        tuple(listed),
    )


def handle(text: str) -> tuple[str, Mapping[str, int]]:
    """A handle with its count of addresses by block."""
    raw = read_object(text)
    return str(_need(raw, "id")), dict(_need(raw, "block"))


def ipam_config(text: str) -> tuple[bool, bool]:
    """Whether blocks are claimed, and whether they are kept strictly."""
    raw = read_object(text)
    return bool(_need(raw, "auto_allocate_blocks")), bool(_need(raw, "strict_affinity"))


def confd_mesh(keys: Mapping[str, str]) -> Mapping[str, str]:
    """Every host's address; one host without that leaf fails all of it."""
    hosts = {key.split("/")[5] for key in keys if key.startswith("/calico/bgp/v1/host/")}
    _need(keys, "/calico/bgp/v1/global/as_num")
    check("enabled" in read_object(_need(keys, "/calico/bgp/v1/global/node_mesh")), "node_mesh")
    return {host: _need(keys, f"/calico/bgp/v1/host/{host}/ip_addr_v4") for host in hosts}

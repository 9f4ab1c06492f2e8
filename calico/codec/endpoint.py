"""Endpoints and what agents report of them."""

import re
from collections.abc import Mapping
from typing import Any

from netaddr import IPAddress, mac_unix_expanded

from calico.codec.fields import (
    as_int,
    as_text,
    as_text_pairs,
    as_tuple,
    parse_object,
    render_json,
)
from calico.errors import InvalidValue
from calico.iptext import parse_address, parse_mac, parse_network
from calico.model import (
    EndpointId,
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    InterfaceName,
    ProfileId,
)
from calico.names import mac_of

_STATES = {"active": True, "inactive": False}
_INTERFACE = re.compile(r"[a-zA-Z0-9_-]{1,15}")
_PROFILE = re.compile(r"[a-zA-Z0-9_.-]+")


def encode_endpoint(spec: EndpointSpec) -> str:
    """Calico's JSON, with every field that one of its readers insists on.

    pycalico fails without any of the five, Felix rejects a null MAC: one that
    is not known is the one that the endpoint's id gives.
    """
    mac = spec.mac if spec.mac is not None else mac_of(spec.id)
    return render_json(
        {
            "state": "active" if spec.active else "inactive",
            "name": spec.interface,
            "mac": mac.format(mac_unix_expanded),
            "profile_ids": list(spec.profiles),
            "labels": dict(spec.labels),
            "ipv4_nets": [f"{each}/32" for each in sorted(spec.addresses) if each.version == 4],
            "ipv6_nets": [f"{each}/128" for each in sorted(spec.addresses) if each.version == 6],
        }
    )


def decode_endpoint(endpoint: EndpointId, text: str) -> EndpointSpec:
    """What either family of Calico's writers wrote; raises InvalidValue."""
    raw = parse_object(text)
    state = as_text(raw.get("state"), "state")
    if state not in _STATES:
        raise InvalidValue(f"state must be active or inactive, not {state!r}")
    interface = as_text(raw.get("name"), "name")
    if not _INTERFACE.fullmatch(interface):
        raise InvalidValue(f"name {interface!r} is not an interface's")
    mac = raw.get("mac")
    return EndpointSpec(
        id=endpoint,
        interface=InterfaceName(interface),
        mac=None if mac is None else parse_mac(as_text(mac, "mac")),
        addresses=(*_addresses(raw, 4), *_addresses(raw, 6)),
        profiles=decode_profile_ids(raw),
        labels=as_text_pairs(raw.get("labels") or {}, "labels"),
        active=_STATES[state],
    )


def _addresses(raw: Mapping[str, Any], version: int) -> tuple[IPAddress, ...]:
    name = f"ipv{version}_nets"
    found = []
    for text in as_tuple(raw.get(name) or [], name, as_text):
        network = parse_network(text)
        if network.version != version or network.size != 1:
            raise InvalidValue(f"{name}: {text!r} is not one IPv{version} address")
        found.append(network.ip)
    return tuple(sorted(set(found)))


def decode_profile_ids(raw: Mapping[str, Any]) -> tuple[ProfileId, ...]:
    """The profiles of an endpoint of any kind; raises InvalidValue."""
    listed = raw.get("profile_ids")
    if listed is None:
        # The form of 2014, which Felix still reads.
        legacy = raw.get("profile_id")
        listed = [] if legacy is None else [legacy]
    ids = as_tuple(listed, "profile_ids", as_text)
    for each in ids:
        if not _PROFILE.fullmatch(each):
            raise InvalidValue(f"profile_ids: {each!r} is not the name of a profile")
    return tuple(dict.fromkeys(map(ProfileId, ids)))


def encode_status(status: EndpointStatus) -> str:
    """Felix's JSON and what we add to it."""
    return render_json(
        {
            "status": status.state.value,
            "reason": status.reason,
            "ip": [str(each) for each in status.addresses],
            "revision": status.revision,
        }
    )


def decode_status(text: str) -> EndpointStatus:
    """Felix's own, without revision, reason and addresses, is one too."""
    raw = parse_object(text)
    word = as_text(raw.get("status"), "status")
    try:
        state = EndpointState(word)
    except ValueError as error:
        raise InvalidValue(f"status must be up, down or error, not {word!r}") from error
    return EndpointStatus(
        state=state,
        revision=as_int(raw.get("revision", 0), "revision"),
        addresses=tuple(map(parse_address, as_tuple(raw.get("ip", []), "ip", as_text))),
        reason=as_text(raw.get("reason", ""), "reason"),
    )

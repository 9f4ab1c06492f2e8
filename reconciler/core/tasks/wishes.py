"""Which addresses an app asks for its task."""

import re
from dataclasses import dataclass

from netaddr import IPAddress

from calico.errors import InvalidValue
from calico.iptext import parse_address
from calico.model import ContainerId
from marathon_client.models import AppNetwork

#: The labels that ask for addresses, and of which family.
FIXED_LABELS = {"ipv4_addrs": 4, "ipv6_addrs": 6}
MOST_FIXED_ADDRESSES = 8


@dataclass(frozen=True, slots=True)
class AnyAddress:
    """An address from the pools, of each family that has one."""


@dataclass(frozen=True, slots=True)
class FixedAddresses:
    """Exactly these addresses, as the app's label asks."""

    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class ContainerAddresses:
    """All that its container was given before the task ran.

    `fixed` are those that the app's label asks for, given or not.
    """

    container: ContainerId
    fixed: tuple[IPAddress, ...] = ()


AddressWish = AnyAddress | FixedAddresses | ContainerAddresses


def wish_of(network: AppNetwork) -> AnyAddress | FixedAddresses | str:
    """The address that an app asks for, or a sentence why it makes no sense."""
    fixed: list[IPAddress] = []
    for label in FIXED_LABELS:
        try:
            fixed.extend(addresses_of_label(label, network.label(label) or ""))
        except InvalidValue as error:
            return str(error)
    return FixedAddresses(tuple(fixed)) if fixed else AnyAddress()


def addresses_of_label(label: str, text: str) -> tuple[IPAddress, ...]:
    """The addresses that one of FIXED_LABELS asks for, none for an empty text.

    Raises InvalidValue, which names the label, also for one of the other family.
    """
    if not text:
        return ()
    try:
        addresses = parse_fixed_addresses(text)
    except ValueError as error:
        raise InvalidValue(f"label {label}: {error}") from error
    if any(address.version != FIXED_LABELS[label] for address in addresses):
        raise InvalidValue(f"label {label}: {text!r} holds an address of the other family")
    return addresses


def parse_fixed_addresses(text: str) -> tuple[IPAddress, ...]:
    """Addresses from a label: a JSON list, or one with single quotes.

    Never evaluates the text; raises ValueError with a sentence for people.
    """
    item = r"""(?:"[^"']*"|'[^"']*')"""
    if not re.fullmatch(rf"\s*\[\s*(?:{item}\s*(?:,\s*{item}\s*)*)?\]\s*", text):
        raise ValueError(f'{text!r} is not a list of strings such as ["192.168.1.5"]')
    found = re.findall(r"""["']([^"']*)["']""", text)
    if not 1 <= len(found) <= MOST_FIXED_ADDRESSES:
        raise ValueError(f"{text!r} must name 1 to {MOST_FIXED_ADDRESSES} addresses")
    try:
        addresses = tuple(parse_address(one.strip()) for one in found)
    except InvalidValue as error:
        raise ValueError(f"{text!r} holds something that is no address") from error
    if len(set(addresses)) != len(addresses):
        raise ValueError(f"{text!r} names an address twice")
    return addresses

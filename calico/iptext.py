"""Strict reading of addresses, networks, MACs and names of machines from text.

Only one spelling of an address means that address: no octal or abbreviated
IPv4, no netmask in place of a prefix length, no address of one family dressed
as the other.
"""

import re
from functools import lru_cache

from netaddr import EUI, INET_PTON, AddrFormatError, IPAddress, IPNetwork, mac_unix_expanded

from calico.errors import InvalidValue

_PREFIX = re.compile(r"[0-9]{1,3}")
_HOST = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,252}[a-zA-Z0-9_])?\.?")
_DIGITS = re.compile(r"[0-9.]+")
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")


def parse_address(text: str) -> IPAddress:
    """One address; raises InvalidValue."""
    try:
        address = IPAddress(text, flags=INET_PTON)
    except (AddrFormatError, ValueError, TypeError) as error:
        raise InvalidValue(f"{text!r} is not an IP address") from error
    if address.version == 6 and address.is_ipv4_mapped():
        raise InvalidValue(f"{text!r} is an IPv4 address in IPv6 clothes")
    return address


def parse_network(text: str) -> IPNetwork:
    """A network with host bits cleared; a bare address is a network of one."""
    return _network(text)


# Whoever reads the datastore reads the same few networks again and again.
@lru_cache(maxsize=4096)
def _network(text: str) -> IPNetwork:
    base, slash, prefix = text.partition("/")
    try:
        width = 32 if parse_address(base).version == 4 else 128
    except InvalidValue as error:
        raise InvalidValue(f"{text!r} is no network") from error
    if not slash:
        return IPNetwork(f"{base}/{width}")
    if not _PREFIX.fullmatch(prefix) or int(prefix) > width:
        raise InvalidValue(f"{text!r} is no network: the prefix length is wrong")
    return IPNetwork(text).cidr


def parse_mac(text: str) -> EUI:
    """Six hexadecimal pairs."""
    if not _MAC.fullmatch(text):
        raise InvalidValue(f"{text!r} is not a MAC address")
    return EUI(text, version=48, dialect=mac_unix_expanded)


def is_host(text: str) -> bool:
    """Whether a machine can be called so, or has such an address."""
    if ":" in text or _DIGITS.fullmatch(text):
        try:
            parse_address(text.partition("%")[0])
        except InvalidValue:
            return False
        return True
    return _HOST.fullmatch(text) is not None

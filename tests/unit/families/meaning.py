"""What a stored object means, in words that no reader's own types are made of.

Each family's reader, and ours, is brought to these; then they can be compared.
"""

from dataclasses import dataclass


class RefusedError(Exception):
    """A reader fails at the object, or takes it for absent."""


Fields = frozenset[tuple[str, object]]


@dataclass(frozen=True)
class EndpointMeaning:
    """The network of one workload; addresses as plain text."""

    active: bool
    interface: str
    mac: str | None
    addresses: frozenset[str]
    profiles: tuple[str, ...]
    labels: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class RuleMeaning:
    """One rule: conditions are pairs of field and value, the negated ones apart.

    Protocols are numbers, networks text, ports pairs of first and last.
    """

    action: str
    plain: Fields
    negated: Fields
    ip_version: int | None = None
    log_prefix: str = ""


Rules = tuple[tuple[RuleMeaning, ...], tuple[RuleMeaning, ...]]


@dataclass(frozen=True)
class PoolMeaning:
    """A range of addresses."""

    cidr: str
    masquerade: bool
    ipam: bool
    disabled: bool


@dataclass(frozen=True)
class BlockMeaning:
    """Who holds each of 64 addresses, by handle and attributes; the free ones in turn."""

    cidr: str
    affinity: str | None
    strict: bool
    holders: tuple[tuple[str | None, frozenset[tuple[str, str]]] | None, ...]
    free: tuple[int, ...]


@dataclass(frozen=True)
class PacketMeaning:
    """The first packet of a connection, and the tags that its ends carry."""

    version: int
    source: str
    destination: str
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    source_tags: frozenset[str] = frozenset()
    destination_tags: frozenset[str] = frozenset()


PROTOCOL_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132, "udplite": 136}

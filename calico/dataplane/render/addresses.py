"""Spans of addresses: what overlaps this host's own network, and interval sets.

Spans are plain integers, since tens of thousands of addresses are compared
with them in one rendering.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from netaddr import IPAddress, IPNetwork

from calico.dataplane.state import HostConfig
from calico.model import Pool

Version = Literal[4, 6]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """First and last address of a range, both included."""

    version: Version
    first: int
    last: int

    def holds(self, version: int, value: int) -> bool:
        """Whether an address lies in the span."""
        return self.version == version and self.first <= value <= self.last

    def contains(self, other: "Span") -> bool:
        """Whether all of the other is part of this one."""
        return (
            self.version == other.version and self.first <= other.first and other.last <= self.last
        )

    def overlaps(self, other: "Span") -> bool:
        """Whether the two have an address in common."""
        return (
            self.version == other.version and self.first <= other.last and other.first <= self.last
        )


def span_of(network: IPNetwork) -> Span:
    """The addresses of a network."""
    return Span(network.version, network.first, network.last)


def span_of_address(address: IPAddress) -> Span:
    """A single address."""
    return Span(address.version, int(address), int(address))


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same addresses in the fewest spans, in order."""
    result: list[Span] = []
    for span in sorted(spans):
        top = result[-1] if result else None
        if top and top.version == span.version and span.first <= top.last + 1:
            result[-1] = Span(top.version, top.first, max(top.last, span.last))
        else:
            result.append(span)
    return tuple(result)


def interval_elements(spans: Iterable[Span], version: int) -> frozenset[object]:
    """One family's spans as elements of an interval set.

    The form is the one in which the kernel gives them back: a single address,
    a prefix where the span is one, else a range.
    """
    return frozenset(_element(span) for span in merged(spans) if span.version == version)


def _element(span: Span) -> object:
    first = str(IPAddress(span.first, span.version))
    size = span.last - span.first + 1
    if size == 1:
        return first
    if size & (size - 1) == 0 and span.first % size == 0:
        bits = 32 if span.version == 4 else 128
        return ("prefix", first, bits - size.bit_length() + 1)
    return ("range", first, str(IPAddress(span.last, span.version)))


#: This network, loopback, link-local, multicast and reserved.
_UNUSABLE = tuple(
    span_of(IPNetwork(cidr))
    for cidr in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/127",
        "fe80::/10",
        "ff00::/8",
    )
)


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """Which addresses may be tasks' on this host, and why others may not.

    `spans` are all that the accepted `pools` have.
    """

    pools: tuple[Pool, ...]
    spans: tuple[Span, ...]
    refused: tuple[tuple[Pool, str], ...]
    networks: tuple[Span, ...]
    refused_spans: tuple[Span, ...]

    def pools_hold(self, span: Span) -> bool:
        """Whether all of a block, or an address, is of the accepted pools."""
        return any(pool.contains(span) for pool in self.spans)

    def refuses(self, span: Span) -> bool:
        """Whether a block or an address is of a pool that is refused, if only in part."""
        return any(pool.overlaps(span) for pool in self.refused_spans)

    def forbids(self, span: Span) -> bool:
        """Whether a block or an address collides with the host's own network.

        All of a refused pool does, for nothing of it is told from the host's.
        """
        return any(
            span.overlaps(other) for other in (*self.networks, *self.refused_spans, *_UNUSABLE)
        )

    def objection(self, address: IPAddress) -> str:
        """Why an address cannot be a task's here; empty if it can."""
        span = span_of_address(address)
        if not self.forbids(span):
            return ""
        for pool, reason in self.refused:
            if span_of(pool.cidr).overlaps(span):
                return reason
        if any(span.overlaps(network) for network in self.networks):
            return f"address {address} is part of this host's own network"
        return f"address {address} is none that a task can have"


def plan_addresses(pools: Iterable[Pool], config: HostConfig) -> AddressPlan:
    """Accept the pools that leave the host's own addresses and routes alone."""
    networks = (*config.networks, IPNetwork(config.address))
    accepted: list[Pool] = []
    refused: list[tuple[Pool, str]] = []
    for pool in sorted(set(pools), key=lambda p: (p.cidr, p.masquerade, p.disabled, p.ipam)):
        clash = min((n for n in networks if span_of(n).overlaps(span_of(pool.cidr))), default=None)
        if clash is None:
            accepted.append(pool)
        else:
            refused.append((pool, _refusal(pool, clash)))
    return AddressPlan(
        pools=tuple(accepted),
        spans=merged(span_of(pool.cidr) for pool in accepted),
        refused=tuple(refused),
        networks=merged(map(span_of, networks)),
        refused_spans=merged(span_of(pool.cidr) for pool, _ in refused),
    )


def _refusal(pool: Pool, network: IPNetwork) -> str:
    return (
        f"pool {pool.cidr} overlaps {network}, which this host uses itself; "
        "give the pool another range, or the host another network"
    )

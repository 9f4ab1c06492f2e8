"""What hosts hold of a store that lost it, and whose word counts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from calico.addressing import ipam
from calico.addressing.blocks import OWNER, Block
from calico.cluster import ObjectionRecord, Takeover
from calico.codec import decode_block, decode_endpoint
from calico.datastore.api import Key
from calico.errors import InvalidValue
from calico.keys import parse_block_key, parse_endpoint_key, parse_pool_key, parse_profile_key
from calico.model import AppliedRecord, EndpointSpec, HandleId, HostName

Secondary = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class History:
    """Which store this is, and which takeover was its last; nothing before one was seen."""

    guid: str = ""
    takeover: int = 0

    def is_of(self, applied: AppliedRecord) -> bool:
        """Whether an agent tells of this store, and acts on it."""
        if applied.doubt:
            return False
        if not applied.guid and not applied.takeover:
            # It has acted on nothing yet, or is too old to tell what it acts on.
            return True
        return (
            bool(self.guid) and applied.guid == self.guid and 1 <= applied.takeover <= self.takeover
        )


@dataclass(frozen=True, slots=True)
class AddressClaim:
    """An address that a host claims, as its block said; `affinity` is whose block that was."""

    host: HostName
    address: IPAddress
    handle: HandleId
    secondary: Secondary
    affinity: HostName
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one host tells that it holds, as far as it can be read; texts as they were stored."""

    host: HostName
    addresses: tuple[AddressClaim, ...] = ()
    endpoints: tuple[tuple[EndpointSpec, str], ...] = ()
    pools: tuple[tuple[Key, str], ...] = ()
    leaves: tuple[tuple[Key, str], ...] = ()


def is_taken_over(record: ObjectionRecord, chain: Iterable[Takeover], guid: str) -> bool:
    """Whether what a host told was dealt with, so that only its agent has yet to see it.

    Of this very store only a takeover counts that came after all that the agent
    believed of it: the store may have been restored since an earlier one.
    """
    return any(
        record.host in takeover.hosts
        and record.guid in takeover.adopts
        and (record.guid != guid or takeover.number > record.takeover)
        for takeover in chain
    )


def holdings_of(record: ObjectionRecord) -> Holdings:
    """What a host tells of its own endpoints and containers; nothing of other hosts'."""
    endpoints: list[tuple[EndpointSpec, str]] = []
    pools: list[tuple[Key, str]] = []
    leaves: list[tuple[Key, str]] = []
    blocks: dict[IPNetwork, Block] = {}
    for key, text in record.entries:
        if (endpoint := parse_endpoint_key(key)) is not None and endpoint.host == record.host:
            with suppress(InvalidValue):
                endpoints.append((decode_endpoint(endpoint, text), text))
        elif parse_pool_key(key) is not None:
            pools.append((key, text))
        elif parse_profile_key(key) is not None:
            leaves.append((key, text))
        elif (cidr := parse_block_key(key)) is not None:
            with suppress(InvalidValue):
                blocks[cidr] = decode_block(cidr, text)
    addresses = {
        (each.address, each.handle): each
        for block in blocks.values()
        for each in _addresses(record.host, block)
    }
    known = {each.address for each in addresses.values()}
    for spec, _ in endpoints:
        for address in spec.addresses:
            # Its block could not be read where it was held.
            if address not in known:
                handle = HandleId(spec.id.workload)
                found = AddressClaim(record.host, address, handle, (OWNER,), record.host)
                addresses[address, handle] = found
    return Holdings(
        record.host, tuple(addresses.values()), tuple(endpoints), tuple(pools), tuple(leaves)
    )


def _addresses(host: HostName, block: Block) -> Iterable[AddressClaim]:
    for address in block.cidr:
        held = ipam.allocation_of(block, address)
        if held is not None and held.handle is not None:
            affinity = block.affinity or host
            yield AddressClaim(host, address, held.handle, held.secondary, affinity, block.strict)


def contested(held: Sequence[Holdings]) -> frozenset[IPAddress]:
    """Addresses that more than one host claims: whose they are is not known."""
    claims = Counter(
        address for each in held for address in {claim.address for claim in each.addresses}
    )
    return frozenset(address for address, count in claims.items() if count > 1)

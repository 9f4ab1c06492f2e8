"""What a host holds of a store that is not there any more, for the controller to take over."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace

from netaddr import IPAddress, IPNetwork

from calico.addressing import ipam
from calico.addressing.blocks import Allocation, Block, marks_of_container
from calico.cluster import ObjectionRecord
from calico.codec import decode_block, decode_endpoint, encode_block
from calico.datastore.api import Key, Stored
from calico.errors import InvalidValue
from calico.keys import (
    FRAMEWORK,
    block_key,
    parse_block_key,
    parse_endpoint_key,
    parse_host_key,
    parse_pool_key,
    parse_profile_key,
)
from calico.model import BootId, ContainerId, HostName, ProfileId, TaskId
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.agent.belief import Belief


class ObjectionCache:
    """Knows what one agent objected last; used by one thread."""

    def __init__(self, host: HostName, boot_id: BootId) -> None:
        self._host = host
        self._boot_id = boot_id
        self._last: tuple[object, ObjectionRecord] | None = None

    def of(
        self,
        belief: Belief,
        attached: tuple[KeptAttachment, ...],
        gone: frozenset[TaskId],
    ) -> ObjectionRecord | None:
        """What this host holds of another store than answers now; None if that is believed."""
        view = belief.judge()
        if not view.is_former:
            self._last = None
            return None
        if self._last is None or self._last[0] != (attached, gone):
            guid, takeover = view.guid, view.takeover
            record = objection_record(
                self._host, self._boot_id, guid, takeover, belief.former(), attached, gone
            )
            self._last = (attached, gone), record
        return self._last[1]


def objection_record(
    host: HostName,
    boot_id: BootId,
    guid: str,
    takeover: int,
    former: Mapping[Key, Stored],
    attached: Collection[KeptAttachment] = (),
    gone: Collection[TaskId] = (),
) -> ObjectionRecord:
    """What of the former store is of this host's endpoints and containers.

    Texts are as they were stored. Only blocks are not: of each is told what
    this host has of it, as what others have may be older here than there.
    `attached` are the containers that are here: what those were given that no task
    had claimed counts also where the store was lost before it was read here, and
    what a task had claimed also if its endpoint was not read yet. Tasks that are
    proven `gone` have no endpoint any more; what they had rests.
    """
    claimed = {each.container for each in attached if each.claimed}
    told: dict[Key, str] = {}
    addresses: set[IPAddress] = set()
    profiles: set[ProfileId] = set()
    for key, stored in former.items():
        endpoint = parse_endpoint_key(key)
        if endpoint is None or endpoint.host != host:
            continue
        with suppress(InvalidValue):
            spec = decode_endpoint(endpoint, stored.value)
            addresses.update(spec.addresses)
            profiles.update(spec.profiles)
            if endpoint.workload not in gone:
                told[key] = stored.value
    hosts: set[HostName] = set()
    blocks: dict[IPNetwork, Block] = {}
    for key, stored in former.items():
        if (registered := parse_host_key(key)) is not None:
            hosts.add(registered)
        elif (leaf := parse_profile_key(key)) is not None and leaf[0] in profiles:
            told[key] = stored.value
        elif parse_pool_key(key) is not None or key == FRAMEWORK:
            # Each pool: whose pool a container's address is of matters too.
            told[key] = stored.value
        elif (cidr := parse_block_key(key)) is not None:
            with suppress(InvalidValue):
                blocks[cidr] = _own_part(decode_block(cidr, stored.value), host, addresses, claimed)
    for attachment in (each for each in attached if not each.claimed):
        for address in frozenset(attachment.addresses) - addresses:
            cidr = ipam.block_of(address)
            block = blocks.get(cidr) or ipam.new_block(cidr, host)
            blocks[cidr] = _given(block, host, attachment, address)
    for cidr, block in blocks.items():
        if any(block.allocations):
            told[block_key(cidr)] = encode_block(block)
    return ObjectionRecord(
        host, boot_id, guid, takeover, tuple(sorted(told.items())), tuple(sorted(hosts))
    )


def _own_part(
    block: Block,
    host: HostName,
    addresses: Collection[IPAddress],
    claimed: Collection[ContainerId],
) -> Block:
    """The block with only what the host's endpoints and containers have."""

    def own(address: IPAddress, held: Allocation | None) -> Allocation | None:
        if held is None:
            return None
        is_here = held.unclaimed or held.container in claimed
        return held if address in addresses or (is_here and held.is_given_on(host)) else None

    allocations = tuple(
        own(block.cidr[ordinal], each) for ordinal, each in enumerate(block.allocations)
    )
    free = tuple(ordinal for ordinal, each in enumerate(allocations) if each is None)
    kept = tuple(each for each in block.unallocated if each in free)
    added = tuple(each for each in free if each not in block.unallocated)
    return replace(block, allocations=allocations, unallocated=(*kept, *added))


def _given(block: Block, host: HostName, attachment: KeptAttachment, address: IPAddress) -> Block:
    """The block with an address given to a container, whoever had it when that was read."""
    before = ipam.allocation_of(block, address)
    if before is not None and before.is_of(attachment.handle, host):
        return block
    free = block if before is None else ipam.release(block, before.handle, address)
    marks = marks_of_container(attachment.container, host, attachment.runs)
    return ipam.allocate_fixed(free, attachment.handle, address, marks)

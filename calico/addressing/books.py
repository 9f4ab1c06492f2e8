"""All that is stored of addresses below Calico's IPAM directory, as one value; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netaddr import IPNetwork

from calico import codec
from calico.addressing.blocks import OWNER, Block, IpamConfig
from calico.datastore.api import Key, Revision, Stored
from calico.errors import InvalidValue
from calico.keys import (
    block_key,
    ipam_config_key,
    parse_affinity_key,
    parse_block_key,
    parse_handle_key,
)
from calico.model import HandleId, HostName

Affinity = tuple[HostName, IPNetwork]


@dataclass(frozen=True, slots=True)
class HandleCounts:
    """How many addresses a handle says it has in each block; `ours` if we wrote it last."""

    counts: Mapping[IPNetwork, int]
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Books:
    """Blocks, affinity keys and handles as they were at one moment.

    `unreadable` says why a key is not among them; `revisions` has every key.
    """

    blocks: Mapping[IPNetwork, Block] = field(default_factory=dict)
    affinities: frozenset[Affinity] = frozenset()
    handles: Mapping[HandleId, HandleCounts] = field(default_factory=dict)
    config: IpamConfig = field(default_factory=IpamConfig)
    unreadable: Mapping[Key, str] = field(default_factory=dict)
    revisions: Mapping[Key, Revision] = field(default_factory=dict)

    def is_unreadable(self, cidr: IPNetwork) -> bool:
        """Whether there is a block that says nothing of its addresses."""
        return block_key(cidr) in self.unreadable


def decode_books(entries: Iterable[Stored]) -> Books:
    """The entries that are about addresses; others are passed over."""
    blocks: dict[IPNetwork, Block] = {}
    affinities: set[Affinity] = set()
    handles: dict[HandleId, HandleCounts] = {}
    config = IpamConfig()
    unreadable: dict[Key, str] = {}
    revisions: dict[Key, Revision] = {}
    for stored in entries:
        key = stored.key
        try:
            if (cidr := parse_block_key(key)) is not None:
                blocks[cidr] = codec.decode_block(cidr, stored.value)
            elif (affinity := parse_affinity_key(key)) is not None:
                affinities.add(affinity)
            elif (handle := parse_handle_key(key)) is not None:
                counts = codec.decode_handle(handle, stored.value)
                handles[handle] = HandleCounts(counts, _is_ours(stored.value))
            elif key == ipam_config_key():
                config = codec.decode_ipam_config(stored.value)
            else:
                continue
        except InvalidValue as error:
            unreadable[key] = str(error)
        revisions[key] = stored.revision
    return Books(
        blocks=blocks,
        affinities=frozenset(affinities),
        handles=handles,
        config=config,
        unreadable=unreadable,
        revisions=revisions,
    )


def _is_ours(text: str) -> bool:
    return codec.handle_writer(text).split(" ")[0] == OWNER[1]

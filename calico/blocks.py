"""Blocks of addresses, and who holds what of them: values of Calico's IPAM."""

from dataclasses import dataclass

from netaddr import IPNetwork

from calico.model import HandleId, HostName

BLOCK_SIZE = 64
#: Marks allocations as ours in Calico's blocks; others are never released.
OWNER = ("owner", "marathon-calico")


@dataclass(frozen=True, slots=True)
class Allocation:
    """Who holds one address of a block; `secondary` maps str to str."""

    handle: HandleId | None
    secondary: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """64 addresses: a /26 or a /122.

    `allocations` has one entry per ordinal. `unallocated` lists exactly the
    free ordinals, longest free first, so that an address rests before reuse.
    `unknown` are fields of other writers, as JSON: they stay when it is rewritten.
    """

    cidr: IPNetwork
    affinity: HostName | None
    allocations: tuple[Allocation | None, ...]
    unallocated: tuple[int, ...]
    strict: bool = False
    unknown: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class IpamConfig:
    """The operator's choice for blocks; these are Calico's own defaults.

    `strict_affinity` keeps an address of one host's block from other hosts.
    """

    auto_allocate_blocks: bool = True
    strict_affinity: bool = False

"""Pools, blocks, handles and the choice for block affinity."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from netaddr import IPNetwork

from calico.addressing.blocks import BLOCK_SIZE, Allocation, Block, IpamConfig
from calico.codec.fields import (
    as_bool,
    as_int,
    as_list,
    as_object,
    as_text,
    as_text_pairs,
    parse_json,
    parse_object,
    render_json,
)
from calico.errors import InvalidValue
from calico.iptext import parse_network
from calico.model import HandleId, HostName, Pool

_AFFINE = "host:"
#: Blocks are read again and again, and few have changed: a thousand are 64,000 addresses.
_REMEMBERED_BLOCKS = 1024
_BLOCK = frozenset(
    (
        "cidr",
        "affinity",
        "strict_affinity",
        "strictAffinity",
        "allocations",
        "unallocated",
        "attributes",
    )
)


def encode_pool(pool: Pool) -> str:
    """Every field in full: Go reads an absent one as false, Python as default."""
    return render_json(
        {
            "cidr": str(pool.cidr.cidr),
            "masquerade": pool.masquerade,
            "disabled": pool.disabled,
            "ipam": pool.ipam,
        }
    )


def decode_pool(cidr: IPNetwork, text: str) -> Pool:
    """The pool at the key of `cidr`; raises InvalidValue."""
    raw = parse_object(text)
    _check_cidr(raw, cidr)
    return Pool(
        cidr=cidr.cidr,
        masquerade=as_bool(raw.get("masquerade", False), "masquerade"),
        disabled=as_bool(raw.get("disabled", False), "disabled"),
        ipam=as_bool(raw.get("ipam", True), "ipam"),
    )


def _check_cidr(raw: Mapping[str, Any], cidr: IPNetwork) -> None:
    told = parse_network(as_text(raw.get("cidr"), "cidr"))
    if told != cidr.cidr:
        raise InvalidValue(f"cidr is {told}, the key says {cidr}")


def encode_block(block: Block) -> str:
    """Calico's JSON; equal owners share one entry of `attributes`.

    Both spellings of the strict flag, since each family reads only its own.
    """
    attributes: dict[Allocation, int] = {}
    indexes = [
        None if each is None else attributes.setdefault(each, len(attributes))
        for each in block.allocations
    ]
    return render_json(
        {name: parse_json(text) for name, text in block.unknown}
        | {
            "cidr": str(block.cidr),
            "affinity": None if block.affinity is None else _AFFINE + block.affinity,
            "strict_affinity": block.strict,
            "strictAffinity": block.strict,
            "allocations": indexes,
            "unallocated": list(block.unallocated),
            "attributes": [
                {"handle_id": each.handle, "secondary": dict(each.secondary)} for each in attributes
            ],
        }
    )


@lru_cache(maxsize=_REMEMBERED_BLOCKS)
def decode_block(cidr: IPNetwork, text: str) -> Block:
    """The block at the key of `cidr`; raises InvalidValue.

    What Calico's readers insist on holds: every address has a state, every
    owner an address, and the free ones are listed exactly once.
    """
    raw = parse_object(text)
    _check_cidr(raw, cidr)
    if cidr.size != BLOCK_SIZE:
        raise InvalidValue(f"a block has {BLOCK_SIZE} addresses, not {cidr.size}")
    indexes = [_index(each) for each in as_list(raw.get("allocations"), "allocations")]
    if len(indexes) != BLOCK_SIZE:
        raise InvalidValue(f"allocations must have {BLOCK_SIZE} entries, not {len(indexes)}")
    owners = [_allocation(each) for each in as_list(raw.get("attributes") or [], "attributes")]
    if {each for each in indexes if each is not None} != set(range(len(owners))):
        raise InvalidValue("allocations and attributes do not match")
    free = [ordinal for ordinal, index in enumerate(indexes) if index is None]
    unallocated = free
    if raw.get("unallocated") is not None:
        listed = as_list(raw["unallocated"], "unallocated")
        unallocated = [as_int(each, "unallocated") for each in listed]
        if sorted(unallocated) != free:
            raise InvalidValue("unallocated must list each free address once and no other")
    return Block(
        cidr=cidr.cidr,
        affinity=_affinity(raw.get("affinity")) or _first_affinity(raw.get("hostAffinity")),
        allocations=tuple(None if each is None else owners[each] for each in indexes),
        unallocated=tuple(unallocated),
        strict=any(
            as_bool(raw.get(name, False), name) for name in ("strict_affinity", "strictAffinity")
        ),
        unknown=tuple((name, render_json(raw[name])) for name in sorted(raw.keys() - _BLOCK)),
    )


def _index(value: object) -> int | None:
    return None if value is None else as_int(value, "allocations")


def _allocation(value: object) -> Allocation:
    raw = as_object(value, "attributes")
    handle = raw.get("handle_id")
    return Allocation(
        handle=None if handle is None else HandleId(as_text(handle, "handle_id")),
        secondary=as_text_pairs(raw.get("secondary") or {}, "secondary"),
    )


def _affinity(value: object) -> HostName | None:
    text = "" if value is None else as_text(value, "affinity")
    if not text:
        return None
    if not text.startswith(_AFFINE) or text == _AFFINE:
        raise InvalidValue(f"affinity {text!r} must begin with {_AFFINE!r} and name a host")
    return HostName(text.removeprefix(_AFFINE))


def _first_affinity(value: object) -> HostName | None:
    """The host's bare name, where Go's first versions wrote it; it stays there."""
    return HostName(value) if isinstance(value, str) and value else None


def encode_handle(handle: HandleId, counts: Mapping[IPNetwork, int], writer: str = "") -> str:
    """How many addresses a handle has in each block, `id` included: Python needs it.

    `writer` is a field of ours beside Calico's, which its readers pass over.
    """
    value: dict[str, object] = {
        "id": handle,
        "block": {str(cidr): count for cidr, count in counts.items()},
    }
    return render_json(value | {"writer": writer} if writer else value)


def handle_writer(text: str) -> str:
    """Who wrote a handle last, if that was us; else empty. Raises InvalidValue."""
    writer = parse_object(text).get("writer")
    return writer if isinstance(writer, str) else ""


def decode_handle(handle: HandleId, text: str) -> dict[IPNetwork, int]:
    """Addresses by block; may be more than there are, never fewer."""
    raw = parse_object(text)
    told = raw.get("id", handle)
    if told != handle:
        raise InvalidValue(f"id is {told!r}, the key says {handle!r}")
    found = {}
    for cidr, count in as_object(raw.get("block"), "block").items():
        number = as_int(count, "block")
        if number < 1:
            raise InvalidValue(f"block {cidr!r} must count at least 1, not {number}")
        found[parse_network(cidr)] = number
    return found


def encode_ipam_config(config: IpamConfig) -> str:
    """Both fields in full: Python fails without either."""
    return render_json(
        {
            "auto_allocate_blocks": config.auto_allocate_blocks,
            "strict_affinity": config.strict_affinity,
        }
    )


def decode_ipam_config(text: str) -> IpamConfig:
    """Go leaves out what is false."""
    raw = parse_object(text)
    return IpamConfig(
        auto_allocate_blocks=as_bool(
            raw.get("auto_allocate_blocks", False), "auto_allocate_blocks"
        ),
        strict_affinity=as_bool(raw.get("strict_affinity", False), "strict_affinity"),
    )

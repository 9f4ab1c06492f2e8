"""The takeovers of the lease, kept so that a store is told from its older self."""

from collections.abc import Collection
from dataclasses import replace

from calico.cluster import ClusterRecord, Takeover
from calico.codec import decode_chain, encode_chain, encode_cluster
from calico.datastore.api import ABSENT, Datastore, Stored
from calico.errors import InvalidValue
from calico.keys import CHAIN, CLUSTER
from calico.model import HostName
from reconciler.controller.pinned import read_pinned

#: Takeovers that are kept; a backup that is older than these is not told as one.
LONGEST_CHAIN = 64


def append_takeover(
    datastore: Datastore,
    nonce: str,
    adopts: Collection[str] = (),
    hosts: Collection[HostName] = (),
    newest: int = 0,
) -> tuple[Takeover, ...]:
    """Have a takeover of this nonce at the chain's end, and tell the agents; the chain before it.

    Its number is beyond that of the last one and `newest`. Again is a success.
    The record is written first, and decides between two writers. Agents read
    the copy below Calico's own keys, by the very watch that brings them
    endpoints, so that they see both in one order. Raises
    DatastoreError, and UnknownSchema or UnreadablePin before anything is written.
    """
    kept = read_pinned(datastore)
    record = ClusterRecord(uuid=nonce) if kept is None else kept.value
    published = datastore.get(CHAIN)
    before = tuple(each for each in record.chain if each.nonce != nonce)
    if before == record.chain:
        number = max(before[-1].number if before else 0, newest) + 1
        takeover = Takeover(number, nonce, tuple(sorted(adopts)), tuple(sorted(hosts)))
        chain = (*_dated(before, published), takeover)[-LONGEST_CHAIN:]
        record = replace(record, chain=chain)
        expect = ABSENT if kept is None else kept.revision
        datastore.put(CLUSTER, encode_cluster(record), expect=expect)
    text = encode_chain(record.chain)
    if published is None or published.value != text:
        datastore.put(CHAIN, text, expect=ABSENT if published is None else published.revision)
    return before


def _dated(chain: tuple[Takeover, ...], published: Stored | None) -> tuple[Takeover, ...]:
    """The chain with the revision of its last takeover, if that was published."""
    try:
        told = () if published is None else decode_chain(published.value)
    except InvalidValue:
        return chain
    if published is None or not told or not chain or told[-1].nonce != chain[-1].nonce:
        return chain
    return (*chain[:-1], replace(chain[-1], revision=int(published.revision)))

"""Reads who holds what Mesos reports, before tasks are judged."""

from collections.abc import Collection
from dataclasses import dataclass, field

from netaddr import IPAddress, IPNetwork

from calico.addressing import ipam
from calico.addressing.blocks import Allocation
from calico.addressing.claims import Found
from calico.addressing.ledger import Ledger
from calico.datastore.api import Datastore
from calico.errors import DatastoreError, InvalidValue
from calico.model import HostName
from reconciler.controller.stored import StoredState
from reconciler.core.tasks.attached import Preallocated


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found; `blocks` are as they were read, `failure` is why some were not."""

    preallocated: Preallocated
    blocks: dict[IPNetwork, Found] = field(default_factory=dict)
    failure: DatastoreError | None = None


def read_preallocated(
    datastore: Datastore,
    stored: StoredState,
    addresses: Collection[IPAddress],
    hosts: Collection[HostName],
) -> Reading:
    """Each block that is concerned is read once, by quorum; what cannot be read is said so."""
    ledger, pools = Ledger(datastore), stored.pools
    held: dict[IPAddress, Allocation | str | None] = {}
    blocks: dict[IPNetwork, Found] = {}
    failure: DatastoreError | None = None
    for address in sorted(addresses):
        if not any(address in pool.cidr for pool in pools):
            continue
        cidr = ipam.block_of(address)
        try:
            found = blocks.get(cidr) or ledger.block(cidr)
        except InvalidValue as error:
            held[address] = f"its block cannot be read: {error}"
        except DatastoreError as error:
            failure = error
            held[address] = f"its block is not read yet: {error}"
        else:
            held[address] = None if found is None else ipam.allocation_of(found[0], address)
            if found is not None:
                blocks[cidr] = found
    attachments = {host: stored.attachments_of(host) for host in hosts}
    return Reading(Preallocated(pools, held, attachments), blocks, failure)

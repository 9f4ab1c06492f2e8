"""Every address beside who stands behind it, from one read of the cluster."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netaddr import IPAddress

from calico import keys
from calico.addressing import ipam
from calico.addressing.audit import (
    AddressState,
    HeldAddress,
    PoolUse,
    Standing,
    held_addresses,
    pool_use,
    standing,
)
from calico.datastore.api import Key
from calico.model import Pool, TaskId
from reconciler.cli.reading.cluster import Cluster
from reconciler.core.removal.address_findings import Finding, find
from reconciler.core.verdict import AgentState


@dataclass(frozen=True, slots=True)
class Usage:
    """What every address is; `held` has those that are not free, in order.

    `waits_for` are hosts that hold resting ones up; `unclear` are the keys of
    endpoints that cannot be read.
    """

    who: Standing
    held: Mapping[IPAddress, HeldAddress]
    pools: tuple[PoolUse, ...]
    waits_for: tuple[str, ...]
    unclear: tuple[Key, ...] = ()

    def resting(self) -> int:
        """How many addresses rest."""
        return sum(each.state is AddressState.RESTING for each in self.held.values())


def usage_of(cluster: Cluster) -> Usage:
    """What every address is."""
    unclear = (task for each in cluster.problems if (task := _task_of(Key(each.key))) is not None)
    registered = cluster.snapshot.hosts
    forgotten = frozenset(host for host, record in registered.items() if record.forgotten)
    unreadable = (keys.parse_host_key(Key(each.key)) for each in cluster.problems)
    who = standing(
        cluster.snapshot.specs.values(),
        frozenset((*cluster.records, *unclear)),
        frozenset((*registered, *filter(None, unreadable))) - forgotten,
        forgotten,
    )
    held = held_addresses(cluster.books, who)
    pools = cluster.snapshot.pools
    return Usage(
        who=who,
        held={each.address: each for each in held},
        pools=tuple(pool_use(pool, cluster.books, who, held) for pool in pools),
        waits_for=_holding_up(cluster),
        unclear=tuple(
            Key(each.key)
            for each in cluster.problems
            if keys.parse_endpoint_key(Key(each.key)) is not None
        ),
    )


def _holding_up(cluster: Cluster) -> tuple[str, ...]:
    """Hosts that have not let go of what rests, as far as it can be told."""
    behind = {
        host.name
        for host in cluster.hosts()
        if host.agent.state is AgentState.SILENT
        or (
            host.agent.state is AgentState.REPORTING
            and host.agent.applied < max(1, cluster.ready_revision)
        )
    }
    registered = (keys.parse_host_key(Key(each.key)) for each in cluster.problems)
    return tuple(sorted(behind | {host for host in registered if host is not None}))


def _task_of(key: Key) -> TaskId | None:
    """The task whose record or endpoint is there."""
    endpoint = keys.parse_endpoint_key(key)
    return keys.parse_task_key(key) if endpoint is None else TaskId(endpoint.workload)


def findings_of(cluster: Cluster, usage: Usage) -> tuple[Finding, ...]:
    """What is wrong with addresses."""
    unreadable = {
        Key(each.key): each.reason
        for each in cluster.problems
        if each.key.startswith(f"{keys.POOLS}/")
    }
    return find(cluster.snapshot.pools, cluster.books, usage.who, usage.held.values(), unreadable)


def pools_of(address: IPAddress, pools: Iterable[Pool]) -> tuple[Pool, ...]:
    """The pools that an address belongs to."""
    return tuple(pool for pool in pools if address in pool.cidr)


def has_block(cluster: Cluster, address: IPAddress) -> bool:
    """Whether there is a block of this address."""
    cidr = ipam.block_of(address)
    return cidr in cluster.books.blocks or cluster.books.is_unreadable(cidr)

"""What `ipam show` and `ipam check` answer; pure."""

from collections import Counter, defaultdict

from netaddr import IPAddress, IPNetwork

from calico.addressing import ipam
from calico.addressing.audit import AddressState, HeldAddress, PoolUse, unreadable_blocks
from calico.addressing.blocks import BLOCK_SIZE
from calico.model import HostName, TaskId
from reconciler.cli.command import NoSuchThing
from reconciler.cli.printing.render import Answer, Lines, Section, Table, joined
from reconciler.cli.printing.words import pool_options
from reconciler.cli.reading.cluster import Cluster
from reconciler.cli.reading.usage import Usage, has_block, pools_of
from reconciler.core.removal.address_findings import Finding

MOST_ROWS = 20
_STATES = tuple(state.value for state in AddressState)


def judge_show(cluster: Cluster, usage: Usage) -> Answer:
    """Pools and blocks."""
    counts: defaultdict[IPNetwork, Counter[str]] = defaultdict(Counter)
    for each in usage.held.values():
        counts[each.block][each.state.value] += 1
    found = [
        _block_fields(cluster, cidr, counts[cidr])
        for cidr in sorted((*cluster.books.blocks, *unreadable_blocks(cluster.books)))
    ]
    columns = ("block", "host", *_STATES)
    rows = tuple(
        (
            str(each["block"]),
            "cannot be read" if each["free"] is None else str(each["host"] or "-"),
            *("-" if each[state] is None else str(each[state]) for state in _STATES),
        )
        for each in found
    )
    sections: tuple[Section, ...] = (_pool_table(usage.pools), Table(columns, rows))
    data = {"pools": [_pool_fields(each) for each in usage.pools], "blocks": found}
    return Answer(data, sections, note="" if usage.pools else "no pools")


def judge_address(cluster: Cluster, usage: Usage, address: IPAddress) -> Answer:
    """One address."""
    pools = pools_of(address, cluster.snapshot.pools)
    if not pools and not has_block(cluster, address):
        raise NoSuchThing(f"{address} is in no pool and in no block; see `ipam show`")
    cidr = ipam.block_of(address)
    block = cluster.books.blocks.get(cidr)
    data = _held_fields(cluster, usage, address)
    data["pools"] = [str(pool.cidr) for pool in pools]
    kept = "not created yet"
    if cluster.books.is_unreadable(cidr):
        kept = "cannot be read, so nothing of it is given out"
    elif block is not None:
        kept = f"kept for {block.affinity}" if block.affinity else "kept for no host"
    found = usage.held.get(address)
    attributes = dict(found.allocation.secondary) if found else {}
    lines = [
        f"address   {address}",
        f"state     {data['state']}",
        f"pool      {joined(pool.cidr for pool in pools)}",
        f"block     {cidr}, {kept}",
    ]
    if found is not None:
        lines.append(f"handle    {found.allocation.handle or '-'}")
        lines.append(f"endpoint  {joined(f'{u.workload} on {u.host}' for u in found.users)}")
        lines.append(f"app       {data['app'] or '-'}")
        if found.allocation.unclaimed:
            lines.append(f"waits     {container_of(found)} is not known to be a task yet")
        lines.extend(f"  {name}  {value}" for name, value in sorted(attributes.items()))
    return Answer(data, (Lines(tuple(lines)),))


def judge_check(cluster: Cluster, usage: Usage, findings: tuple[Finding, ...]) -> Answer:
    """Sums, what is not simply in use, and what is wrong."""
    others = [each for each in usage.held.values() if each.state is not AddressState.ASSIGNED]
    rows = tuple(
        (
            str(each.address),
            each.state.value,
            str(each.allocation.handle or "-"),
            str(_host_of(cluster, each) or "-"),
        )
        for each in others[:MOST_ROWS]
    )
    # What nobody mends does not pass.
    transient = {each for each in findings if each.transient and cluster.leader is not None}
    told = [
        f"{word} {each.subject}: {each.kind.value}: {each.reason}"
        for word in ("PROBLEM", "NOTE")
        for each in findings
        if (each in transient) == (word == "NOTE")
    ]
    ok = len(transient) == len(findings)
    sections: tuple[Section, ...] = (
        _pool_table(usage.pools),
        Table(("address", "state", "handle", "host"), rows),
        Lines(_more(len(others))),
        Lines(_remarks(cluster, usage)),
        Lines((*told[:MOST_ROWS], *_more(len(told)))),
    )
    data = {
        "ok": ok,
        "pools": [_pool_fields(each) for each in usage.pools],
        "addresses": [_held_fields(cluster, usage, address) for address in usage.held],
        "findings": [
            {
                "subject": each.subject,
                "kind": each.kind.value,
                "reason": each.reason,
                "transient": each in transient,
            }
            for each in findings
        ],
        "waits_for": list(usage.waits_for),
    }
    return Answer(data, sections, int(not ok), note="" if usage.pools else "no pools")


def _pool_fields(use: PoolUse) -> dict[str, object]:
    return {
        "pool": str(use.pool.cidr),
        "size": use.pool.cidr.size,
        **{state.value: use.counts[state] for state in AddressState},
        "blocks": use.blocks,
        "options": list(pool_options(use.pool)),
    }


def _pool_table(pools: tuple[PoolUse, ...]) -> Table:
    rows = tuple(
        (
            str(use.pool.cidr),
            str(use.pool.cidr.size),
            *(str(use.counts[state]) for state in AddressState),
            str(use.blocks),
            joined(pool_options(use.pool)),
        )
        for use in pools
    )
    return Table(("pool", "size", *_STATES, "blocks", "options"), rows)


def _block_fields(cluster: Cluster, cidr: IPNetwork, counts: Counter[str]) -> dict[str, object]:
    block = cluster.books.blocks.get(cidr)
    if block is None:
        return {"block": str(cidr), "host": None, "strict": None, **dict.fromkeys(_STATES)}
    return {
        "block": str(cidr),
        "host": block.affinity,
        "strict": block.strict,
        **{state: counts[state] for state in _STATES},
        AddressState.FREE.value: BLOCK_SIZE - counts.total(),
    }


def _held_fields(cluster: Cluster, usage: Usage, address: IPAddress) -> dict[str, object]:
    """An address as JSON, also one that is free."""
    found = usage.held.get(address)
    cidr = ipam.block_of(address)
    block = cluster.books.blocks.get(cidr)
    state = AddressState.LEAKED if cluster.books.is_unreadable(cidr) else AddressState.FREE
    if found is not None:
        state = found.state
    return {
        "address": str(address),
        "state": state.value,
        "block": str(cidr) if block or cluster.books.is_unreadable(cidr) else None,
        "host": block.affinity if block else None,
        "handle": found.allocation.handle if found else None,
        "attributes": dict(found.allocation.secondary) if found else {},
        "endpoints": [
            {"task": user.workload, "host": user.host} for user in usage.who.users.get(address, ())
        ],
        "app": app_of(cluster, found) if found else "",
        "container": found.allocation.container if found else None,
    }


def app_of(cluster: Cluster, held: HeldAddress) -> str:
    """The app of the task that holds an address; empty if that is not known."""
    record = cluster.records.get(TaskId(held.allocation.handle or ""))
    return record.app if record else ""


def container_of(held: HeldAddress) -> str:
    """The container that holds an address, and where it is."""
    return f"container {held.allocation.container} on {held.allocation.host or 'no host'}"


def _host_of(cluster: Cluster, held: HeldAddress) -> HostName | None:
    """The host that the block of an address is kept for."""
    return cluster.books.blocks[held.block].affinity


def _remarks(cluster: Cluster, usage: Usage) -> tuple[str, ...]:
    """What holds resting addresses up."""
    count = usage.resting()
    if not count:
        return ()
    rest = "1 address is at rest" if count == 1 else f"{count} addresses are at rest"
    remarks = []
    if cluster.leader is None:
        remarks.append(f"{rest}; no controller is active to give addresses back")
    if usage.waits_for:
        names = joined(usage.waits_for)
        remarks.append(f"{rest}, held up by {names}; if that host is gone, see `hosts forget`")
    return tuple(remarks)


def _more(count: int) -> tuple[str, ...]:
    return (f"and {count - MOST_ROWS} more: see -o json",) if count > MOST_ROWS else ()

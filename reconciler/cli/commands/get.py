"""`marathon-calico get`: lists, sorted by name."""

from datetime import datetime

import click

from calico.addressing.blocks import BLOCK_SIZE
from calico.model import HostName, TaskVerdict
from reconciler.cli.command import NoSuchThing, reads_cluster
from reconciler.cli.judging.attached import attached_by, attached_fields
from reconciler.cli.judging.named import match_tasks
from reconciler.cli.printing.render import Answer, Section, Table, age, joined
from reconciler.cli.printing.words import opening_in_words, pool_options
from reconciler.cli.reading.cluster import Cluster, HostView, TaskView
from reconciler.core.verdict import AgentState

#: Characters of a container's id in a table; `describe task` has all of it.
SHORT_ID = 12
KINDS = ("tasks", "hosts", "groups", "pools")


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", required=False)
@reads_cluster
def get(cluster: Cluster, now: datetime, kind: str, name: str | None) -> Answer:
    """List tasks, hosts, groups or pools, or those that NAME means.

    Tasks are named by id, unique prefix or app id. Exits 2 if there is none of
    that name.

    \b
    Fields of -o json, a list of objects:
      tasks   task (of a pod its instance), app, host, addresses, groups,
              ports (null for all), verdict, reason, since, attached (plugin,
              locator, or null), container (null for a locator's), pod
      hosts   host, address, agent (reporting, silent, unregistered, forgotten),
              applied, tasks, blocks, version, last_seen, problems
      groups  group, tasks, apps, profile (whether it exists), problem
      pools   pool, used, size, blocks, masquerade, disabled
    """
    return judge_get(cluster, now, kind, name)


def judge_get(cluster: Cluster, now: datetime, kind: str, name: str | None) -> Answer:
    """One list of one kind."""
    match kind:
        case "tasks":
            return _tasks(cluster, name)
        case "hosts":
            return list_hosts(cluster, now, name)
        case "groups":
            return _groups(cluster, name)
        case _:
            return _pools(cluster, name)


def task_fields(task: TaskView) -> dict[str, object]:
    """A task as JSON."""
    return {
        "task": task.name,
        "app": task.app,
        "host": task.host,
        "addresses": [str(address) for address in task.addresses],
        "groups": list(task.groups),
        "ports": _opened(task),
        "verdict": task.judgement.verdict.value,
        "reason": task.judgement.reason,
        "since": task.record.since if task.record else "",
        **attached_fields(task),
    }


def _opened(task: TaskView) -> list[str] | None:
    """The openings in words; None for all ports, which must not look like none."""
    record = task.record
    if record is None or record.verdict is not TaskVerdict.ACCEPTED:
        return []
    return [opening_in_words(port) for port in record.ports] if record.ports_declared else None


def _answer(kind: str, name: str | None, found: list[dict[str, object]], table: Table) -> Answer:
    if name is not None and not found:
        raise NoSuchThing(f"there is no {kind.removesuffix('s')} {name!r}; see `get {kind}`")
    sections: tuple[Section, ...] = (table,)
    return Answer(found, sections, note="" if found else f"no {kind}")


def _tasks(cluster: Cluster, name: str | None) -> Answer:
    tasks = cluster.tasks() if name is None else match_tasks(cluster.tasks(), name)
    rows = tuple(
        (
            task.name,
            task.app or "-",
            task.host or "-",
            joined(task.addresses),
            joined(task.groups),
            _ports(task),
            _attached(task),
            task.judgement.verdict.value,
            task.judgement.reason,
        )
        for task in tasks
    )
    columns = (
        *("task", "app", "host", "address", "groups", "ports", "attached"),
        *("verdict", "reason"),
    )
    return _answer("tasks", name, [task_fields(task) for task in tasks], Table(columns, rows))


def _ports(task: TaskView) -> str:
    opened = _opened(task)
    return "all" if opened is None else joined(opened)


def _attached(task: TaskView) -> str:
    """How, and the beginning of the container's id, which is long."""
    by = attached_by(task) or "-"
    container = task.record.container if task.record else ""
    pod = " (pod)" if task.record and task.record.pod else ""
    return f"{by} {container[:SHORT_ID]}".rstrip() + pod


def list_hosts(cluster: Cluster, now: datetime, name: str | None) -> Answer:
    """Every host, or the one of that name."""
    hosts = [host for host in cluster.hosts() if name in (None, host.name)]
    tasks = cluster.tasks()
    found: list[dict[str, object]] = []
    rows = []
    for host in hosts:
        count = sum(task.host == host.name for task in tasks)
        blocks = _blocks_of(cluster, host.name)
        found.append(
            {
                "host": host.name,
                "address": str(host.record.address) if host.record else None,
                "agent": host.agent.state.value,
                "applied": host.agent.applied,
                "tasks": count,
                "blocks": blocks,
                "version": host.record.version if host.record else "",
                "last_seen": host.last_seen,
                "problems": list(host.problems),
            }
        )
        rows.append(
            (
                host.name,
                str(host.record.address) if host.record else "-",
                host.agent.state.value,
                _heard(host, now),
                str(host.agent.applied or "-"),
                str(count),
                joined(blocks),
                (host.record.version if host.record else "") or "-",
                joined(host.problems, ""),
            )
        )
    columns = (
        *("host", "address", "agent", "heard", "applied"),
        *("tasks", "blocks", "version", "problems"),
    )
    return _answer("hosts", name, found, Table(columns, tuple(rows)))


def _heard(host: HostView, now: datetime) -> str:
    if host.agent.state is AgentState.UNREGISTERED:
        return "never"
    return age(host.last_seen, now)


def _blocks_of(cluster: Cluster, host: HostName) -> list[str]:
    owned = (cidr for cidr, owner in cluster.snapshot.block_hosts.items() if owner == host)
    return [str(cidr) for cidr in sorted(owned)]


def _groups(cluster: Cluster, name: str | None) -> Answer:
    tasks = cluster.tasks()
    names = sorted({group for task in tasks for group in task.groups})
    found: list[dict[str, object]] = []
    rows = []
    for group in names:
        if name not in (None, group):
            continue
        members = [task for task in tasks if group in task.groups]
        apps = sorted({task.app for task in members})
        profile = next((p for p in cluster.snapshot.profiles.values() if p.id == group), None)
        problem = profile.problem if profile else "profile not created yet"
        found.append(
            {
                "group": group,
                "tasks": [task.name for task in members],
                "apps": apps,
                "profile": profile is not None,
                "problem": problem,
            }
        )
        rows.append((group, str(len(members)), joined(apps), problem))
    return _answer("groups", name, found, Table(("group", "tasks", "apps", "problem"), tuple(rows)))


def _pools(cluster: Cluster, name: str | None) -> Answer:
    found: list[dict[str, object]] = []
    rows = []
    for pool in cluster.snapshot.pools:
        if name not in (None, str(pool.cidr)):
            continue
        blocks = [block for cidr, block in cluster.books.blocks.items() if cidr in pool.cidr]
        used = sum(BLOCK_SIZE - len(block.unallocated) for block in blocks)
        found.append(
            {
                "pool": str(pool.cidr),
                "used": used,
                "size": pool.cidr.size,
                "blocks": len(blocks),
                "masquerade": pool.masquerade,
                "disabled": pool.disabled,
            }
        )
        rows.append(
            (
                str(pool.cidr),
                f"{used} of {pool.cidr.size}",
                str(len(blocks)),
                joined(pool_options(pool)),
            )
        )
    columns = ("pool", "used", "blocks", "options")
    return _answer("pools", name, found, Table(columns, tuple(rows)))

"""`marathon-calico hosts`: which there are, and what to do with one that is gone."""

from datetime import datetime

import click

from calico.addressing.audit import lent_to_containers
from calico.cluster import HoldKind
from calico.datastore.api import Key
from calico.errors import Conflict, DatastoreError, InvalidName
from calico.identifiers import check_host
from calico.keys import parse_host_key
from calico.model import HostName
from reconciler.cli.command import NoSuchThing, Unreachable, read, reads_cluster, show
from reconciler.cli.commands.get import list_hosts
from reconciler.cli.options import EtcdSettings, etcd_options, output_option
from reconciler.cli.printing.render import Answer, Lines, joined
from reconciler.cli.reading.cluster import Cluster, HostView, Problem
from reconciler.controller.hosts.departure import Departure, Remains
from reconciler.core.verdict import AgentState

#: The exit code of a command that was not told to act.
WOULD_ACT = 2
MOST_NAMES = 5


@click.group()
def hosts() -> None:
    """Hosts: list them, forget one that is gone."""


@hosts.command("list", short_help="Every host with its agent, blocks and tasks.")
@reads_cluster
def list_command(cluster: Cluster, now: datetime) -> Answer:
    """Every host with its agent, how far that has come, and what is there.

    A host counts as silent 90 seconds after its agent's last sign of life.

    \b
    Fields of -o json, a list of objects:
      host, address, agent (reporting, silent, unregistered, forgotten),
      applied, tasks, blocks, version, last_seen, problems
    """
    return list_hosts(cluster, now, None)


@hosts.command("forget", short_help="Declare that a host is gone for good.")
@click.argument("host")
@click.option("--yes", is_flag=True, help="Do it. Without, only tell what would be done.")
@click.option("--force", is_flag=True, help="Also if endpoints are stored for it.")
@etcd_options
@output_option
def forget_command(etcd: EtcdSettings, output: str, host: str, yes: bool, force: bool) -> None:
    """Declare that HOST is gone: powered off, or rebuilt, never again what it was.

    Addresses of ended tasks are given again only after every registered host
    let go of them, so one that never comes back holds them up for ever. After
    this nobody waits for HOST. Its empty blocks are given up; the others stay
    routed to it until all addresses are free, then nothing is left of it.
    Tasks that Marathon no longer names lose their network there without
    further proof. Where etcd was lost, also one that it does not know any more
    can be forgotten: nobody waits for what it holds.

    Be sure that it is off: if it still runs, its old tasks may use addresses
    that others get. An agent that starts there again registers it anew.

    Refused with exit code 1 while its agent reports (stop it; it counts as
    silent 90 seconds later), and, without --force, while endpoints are stored
    for it. Without --yes it exits 2.

    \b
    Fields of -o json:
      host, action (forgotten, would forget, refused), reason,
      blocks (those that stay routed until their addresses are free),
      endpoints (how many are stored for it)
    """
    cluster = read(etcd)
    answer = judge_forget(cluster, host, force=force)
    if yes and answer.exit_code == WOULD_ACT:
        answer = _forget(etcd, check_host(host))
    show(answer, output)


def _forget(etcd: EtcdSettings, host: HostName) -> Answer:
    departure = Departure(etcd.open())
    try:
        departure.forget(host)
        remains = departure.clear(host)
    except Conflict:
        return _outcome(host, "refused", "its agent has just registered it again", Remains(), 1)
    except DatastoreError as error:
        raise Unreachable(str(error)) from error
    return _outcome(host, "forgotten", _left(remains), remains, 0)


def judge_forget(cluster: Cluster, name: str, *, force: bool) -> Answer:
    """Whether a host may be forgotten; exit code 2 is that it may."""
    host = _known_host(cluster, name)
    remains = _remains(cluster, host.name)
    if host.agent.state is AgentState.REPORTING or host.name in cluster.alive:
        reason = (
            "its agent reports; stop it if it still runs, and try again 90 seconds after it was"
            " heard last, see `hosts list`"
        )
        return _outcome(host.name, "refused", reason, remains, 1)
    if remains.endpoints and not force:
        tasks = sorted(spec.workload for spec in cluster.snapshot.specs if spec.host == host.name)
        more = f" and {len(tasks) - MOST_NAMES} more" if len(tasks) > MOST_NAMES else ""
        reason = (
            f"endpoints are stored for {joined(tasks[:MOST_NAMES])}{more}: they go when Marathon"
            " no longer names the tasks; --force does not wait for that"
        )
        return _outcome(host.name, "refused", reason, remains, 1)
    return _outcome(host.name, "would forget", _left(remains), remains, WOULD_ACT)


def _known_host(cluster: Cluster, name: str) -> HostView:
    """A host of which anything is stored, or said; raises NoSuchThing."""
    try:
        host = check_host(name)
    except InvalidName as error:
        raise NoSuchThing(str(error)) from error
    known = {each.name for each in cluster.hosts()}
    known |= cluster.told_of
    known |= {
        HostName(subject)
        for hold in cluster.holds
        if hold.kind is HoldKind.STORE
        for subject in hold.subjects
    }
    known |= {each for each, _ in cluster.books.affinities}
    known |= {endpoint.host for endpoint in cluster.statuses}
    known |= {block.affinity for block in cluster.books.blocks.values() if block.affinity}
    known |= {each for each in map(_registered_at, cluster.problems) if each is not None}
    if host not in known:
        raise NoSuchThing(f"there is no host {name!r}; see `hosts list`")
    return cluster.host(host)


def _registered_at(problem: Problem) -> HostName | None:
    """The host whose registration cannot be read."""
    return parse_host_key(Key(problem.key))


def _remains(cluster: Cluster, host: HostName) -> Remains:
    blocks = cluster.books.blocks.items()
    own = {cidr for cidr, block in blocks if block.affinity == host and any(block.allocations)}
    return Remains(
        tuple(sorted((*own, *lent_to_containers(cluster.books, host)))),
        sum(spec.host == host for spec in cluster.snapshot.specs),
    )


def _left(remains: Remains) -> str:
    parts = []
    if remains.endpoints == 1:
        parts.append("1 endpoint stays until Marathon no longer names its task")
    elif remains.endpoints:
        parts.append(
            f"{remains.endpoints} endpoints stay until Marathon no longer names their tasks"
        )
    if remains.blocks:
        verb = "stays" if len(remains.blocks) == 1 else "stay"
        parts.append(f"{joined(remains.blocks)} {verb} routed to it until all addresses are free")
    return "; ".join(parts) or "nothing is left of it"


def _outcome(host: HostName, action: str, reason: str, remains: Remains, exit_code: int) -> Answer:
    data = {
        "host": host,
        "action": action,
        "reason": reason,
        "blocks": [str(cidr) for cidr in remains.blocks],
        "endpoints": remains.endpoints,
    }
    line = {
        "forgotten": f"forgot {host}, nobody waits for it any more: {reason}",
        "would forget": f"would forget {host}: {reason}; --yes does it",
    }.get(action, f"REFUSED {host}: {reason}")
    return Answer(data, (Lines((line,)),), exit_code)

"""`marathon-calico status`: one calm screen, and an exit code for scripts."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import click

from calico import keys
from calico.closing import selecting_policies
from calico.cluster import HoldKind
from calico.model import HostName, Refusal
from reconciler.cli.command import reads_cluster
from reconciler.cli.judging.attached import Waiting, refused_calls, waiting_containers
from reconciler.cli.judging.held import hold_data, what_waits
from reconciler.cli.judging.lost import lost_store
from reconciler.cli.printing.render import Answer, Lines, Section, Table, age
from reconciler.cli.reading.cluster import Cluster, HostView, TaskView
from reconciler.core.removal.held import is_approved, remedy
from reconciler.core.verdict import AgentState, Verdict

MOST_ROWS = 20
MOST_OF_ONE_REASON = 3
NO_LEADER = (
    "none is active: tasks keep what they have, changes in Marathon are not followed; one that"
    " stands by takes over within 20 seconds, else start one"
)
REWRITTEN = "what a controller writes for a group is there again within two minutes"
#: What the network of a task that is in sync may lack.
LESS = "less than its app asks for"


@click.command()
@reads_cluster
def status(cluster: Cluster, now: datetime) -> Answer:
    """Whether all is as it should be; exits 1 if anything is not.

    That is each row and PROBLEM below, and each hold that nobody approved. A row
    that says IN_SYNC is of a task that got less than its app asks for.

    \b
    Fields of -o json:
      ok        whether nothing below asks for attention
      leader    holder and since of the active controller, null for none, and
                waits: why it gives no address, or what else it cannot do
      hosts     reporting, total, and silent: the names of the others
      tasks     total, and verdicts: how many have each
      attention task, app, host, verdict, reason of each task that is not in
                sync or got less than its app asked for
      problems  where (a host or a key) and what
      waiting   host, container, addresses, task (empty if that is not known)
                and since of each container that was attached more than 30
                seconds ago and that no task claimed; a problem if the task is
                known
      refused   host, caller (which plugin), kind (refused, unavailable,
                unknown), why and since of the last few calls that agents did
                not carry out, for an hour; no problem of the cluster
      holds     kind, plan, subjects, reason, since, approved and remedy of
                what waits for an operator's word; see `holds`
    """
    return judge_status(cluster, now)


def judge_status(cluster: Cluster, now: datetime) -> Answer:
    """The whole cluster in one answer."""
    tasks, hosts = cluster.tasks(), _registered(cluster)
    attention = [
        task for task in tasks if task.judgement.verdict is not Verdict.IN_SYNC or _remark(task)
    ]
    waiting = waiting_containers(cluster, now)
    refused = refused_calls(cluster, now)
    problems = _problems(cluster, hosts, now)
    problems.extend((each.host, each.in_words()) for each in waiting if each.is_wrong)
    counts = Counter(task.judgement.verdict for task in tasks)
    silent = [host.name for host in hosts if host.agent.state is not AgentState.REPORTING]
    waits = not all(is_approved(hold) for hold in cluster.holds)
    ok = not (attention or problems or waits)
    data = {
        "ok": ok,
        "leader": cluster.leader
        and {
            "holder": cluster.leader.holder,
            "since": cluster.leader.since,
            "waits": _waits(cluster),
        },
        "hosts": {
            "reporting": len(hosts) - len(silent),
            "total": len(hosts),
            "silent": silent,
        },
        "tasks": {
            "total": len(tasks),
            "verdicts": {verdict.value: counts[verdict] for verdict in Verdict},
        },
        "attention": [
            {
                "task": task.name,
                "app": task.app,
                "host": task.host,
                "verdict": task.judgement.verdict.value,
                "reason": task.judgement.reason,
            }
            for task in attention
        ],
        "problems": [{"where": where, "what": what} for where, what in problems],
        "waiting": [
            {
                "host": each.host,
                "container": each.attachment.container,
                "addresses": list(map(str, each.attachment.addresses)),
                "task": each.attachment.task,
                "since": each.attachment.since,
            }
            for each in waiting
        ],
        "refused": [
            {
                "host": host,
                "caller": each.caller,
                "kind": each.kind,
                "why": each.why,
                "since": each.since,
            }
            for host, each in refused
        ],
        "holds": [hold_data(hold) for hold in cluster.holds],
    }
    sections = (
        Lines(_head(cluster, now, hosts, counts)),
        *_attention_sections(attention),
        _waiting_lines(waiting),
        _refused_lines(refused, now),
        _problem_lines(problems),
    )
    return Answer(data, sections, int(not ok))


def _registered(cluster: Cluster) -> tuple[HostView, ...]:
    return tuple(host for host in cluster.hosts() if host.record and not host.record.forgotten)


def _remark(task: TaskView) -> bool:
    """Whether an accepted task has less than its app asked for."""
    return bool(task.judgement.reason) and (task.spec is None or task.spec.active)


def _problems(
    cluster: Cluster, hosts: tuple[HostView, ...], now: datetime
) -> list[tuple[str, str]]:
    found = list(lost_store(cluster))
    if cluster.leader is None:
        found.append(("controller", NO_LEADER))
    elif (
        _waits(cluster)
        and not cluster.is_pin_unreadable
        and not any(hold.kind is HoldKind.STORE for hold in cluster.holds)
    ):
        found.append(("controller", _waits(cluster)))
    if not hosts:
        found.append(("hosts", "no agent has registered"))
    for host in hosts:
        if host.agent.state is not AgentState.REPORTING:
            found.append((host.name, _silence(host, now)))
        found.extend((host.name, problem) for problem in host.problems)
    found.extend(_unregistered(cluster))
    used = {name for spec in cluster.snapshot.specs.values() for name in spec.profiles}
    for name in sorted(used):
        profile = cluster.snapshot.profiles.get(name)
        if profile is None:
            found.append((f"profile {name}", f"is absent: what names it is closed; {REWRITTEN}"))
        elif profile.problem:
            remedy = f"correct it, or delete {keys.profile_key(name, 'rules')}: {REWRITTEN}"
            found.append((f"profile {name}", f"closes what names it: {profile.problem}; {remedy}"))
    found.extend(_policy_problems(cluster))
    found.extend((problem.key, problem.reason) for problem in cluster.problems)
    return found


def _silence(host: HostView, now: datetime) -> str:
    if not host.last_seen:
        return "agent has registered, and not said yet that it is alive"
    return (
        f"agent is silent, last heard {age(host.last_seen, now)} ago: start it; if the host is"
        f" gone for good, `marathon-calico hosts forget {host.name} --yes`"
    )


def _unregistered(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Hosts without an agent on which tasks of ours wait for one."""
    waiting = Counter(
        task.host
        for task in cluster.tasks()
        if task.record is not None
        and task.judgement.verdict is Verdict.PENDING
        and cluster.host(task.host).agent.state is AgentState.UNREGISTERED
    )
    for host, count in sorted(waiting.items()):
        tasks = "1 task waits" if count == 1 else f"{count} tasks wait"
        yield (host, f"no agent has registered, and {tasks} for one: start it with --host {host}")


def _waits(cluster: Cluster) -> str:
    """What the active controller cannot do, by its own word."""
    standing = cluster.leader and cluster.leader.standing
    return standing.waits if standing else ""


def _policy_problems(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Tiered policies that close tasks of our hosts; Felix enforces them on its own."""
    snapshot = cluster.snapshot
    local = (spec for spec in snapshot.specs.values() if spec.id.host in snapshot.hosts)
    closed = Counter(
        policy
        for policies in selecting_policies(local, snapshot.profiles, snapshot.policies).values()
        for policy in policies
    )
    for policy, count in sorted(closed.items()):
        what = "the task that it selects" if count == 1 else f"the {count} tasks that it selects"
        yield (f"policy {policy}", f"closes {what}: tiered policies are not enforced here")


def _head(
    cluster: Cluster, now: datetime, hosts: tuple[HostView, ...], counts: Counter[Verdict]
) -> tuple[str, ...]:
    leader = "none is active"
    if cluster.leader is not None:
        leader = f"{cluster.leader.holder}, for {age(cluster.leader.since, now)}"
    reporting = sum(host.agent.state is AgentState.REPORTING for host in hosts)
    verdicts = ", ".join(
        f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]
    )
    head = [
        f"controller  {leader}",
        f"hosts       {reporting}/{len(hosts)} reporting",
        f"tasks       {counts.total()}{': ' if verdicts else ''}{verdicts}",
    ]
    for hold in cluster.holds:
        end = "approved" if is_approved(hold) else f"`{remedy(hold)}` lets it go"
        head.append(
            f"held        {what_waits(hold)} for {age(hold.since, now)}: {hold.reason}; {end}"
        )
    return tuple(head)


def _attention_sections(attention: list[TaskView]) -> tuple[Section, ...]:
    """One row per task, or per reason where many tasks share it."""
    by_reason: dict[tuple[str, str, str], list[str]] = {}
    for task in attention:
        by_reason.setdefault(
            (task.judgement.verdict.value, task.host, task.judgement.reason), []
        ).append(task.name)
    rows: list[tuple[str, ...]] = []
    for (word, host, why), names in by_reason.items():
        reason = f"{LESS}: {why}" if word == Verdict.IN_SYNC.value else why
        if len(names) > MOST_OF_ONE_REASON:
            rows.append((word, f"{names[0]} and {len(names) - 1} more", host, reason))
        else:
            rows.extend((word, name, host, reason) for name in names)
    table = Table(("verdict", "task", "host", "reason"), tuple(rows[:MOST_ROWS]))
    return (table, _more(len(rows) - MOST_ROWS, "see `get tasks`"))


def _waiting_lines(waiting: tuple[Waiting, ...]) -> Lines:
    """Those that are no problem: what is not known to be a task may be meant so."""
    told = [f"waiting {each.host}: {each.in_words()}" for each in waiting if not each.is_wrong]
    return Lines((*told[:MOST_ROWS], *_more(len(told) - MOST_ROWS, "see -o json").lines))


def _refused_lines(refused: tuple[tuple[HostName, Refusal], ...], now: datetime) -> Lines:
    """What runtimes told their users, for whoever looks after the hosts."""
    told = [
        f"{each.kind} {host}: {each.caller}, {age(each.since, now)} ago: {each.why}"
        for host, each in refused
    ]
    return Lines((*told[-MOST_ROWS:], *_more(len(told) - MOST_ROWS, "see -o json").lines))


def _problem_lines(problems: list[tuple[str, str]]) -> Lines:
    shown = [f"PROBLEM {where}: {what}" for where, what in problems[:MOST_ROWS]]
    return Lines((*shown, *_more(len(problems) - MOST_ROWS, "see -o json").lines))


def _more(count: int, where: str) -> Lines:
    return Lines((f"and {count} more: {where}",) if count > 0 else ())

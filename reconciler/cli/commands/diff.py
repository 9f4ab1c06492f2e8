"""`marathon-calico diff`: desired beside reported and beside the kernels, as +/- lines."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

import click

from calico.model import EndpointState, HostName, TaskVerdict
from reconciler.cli.command import NoSuchThing, reads_cluster
from reconciler.cli.judging.named import match_tasks
from reconciler.cli.printing.render import Answer, Lines, Section, joined
from reconciler.cli.reading.cluster import Cluster, TaskView
from reconciler.cli.reading.kernels import NOT_ASKED, Kernels, NotTold, ask_hosts, kernel_option
from reconciler.core.verdict import AgentState, AgentView

REPORT, KERNEL = "report", "kernel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`+` is desired and not there, `-` there and not desired, `?` not known.

    `source` is who says so: the agent's reports in etcd, or the kernel itself.
    """

    sign: str
    host: str
    task: str
    what: str
    value: str
    source: str = REPORT


@click.command()
@click.argument("name", metavar="[TASK|HOST]", required=False)
@kernel_option
@reads_cluster
def diff(cluster: Cluster, now: datetime, name: str | None, kernel: bool) -> Answer:  # noqa: ARG001 - a read has a time
    """Where what agents report, or what their kernels hold, differs from what is desired.

    Exits 0 if it is the same, and says so, 1 if it is not, 2 if there is no such TASK or HOST,
    3 if nothing differs but an agent is silent. Lines begin with + (desired, not
    there), - (there, not desired) or ? (the agent is silent, or cannot be asked
    for its kernel: nobody knows). A kernel that cannot be asked leaves the exit
    code as it is.

    \b
    Fields of -o json, a list of objects:
      sign, host, task, value
      what    endpoint, address, state, revision or agent; of a kernel link,
              route, ip rule, chain, rule, set, element, setting or kernel
      source  report or kernel
    """
    hosts = hosts_concerned(cluster, name)
    return judge_diff(cluster, name, ask_hosts(cluster, hosts) if kernel else NOT_ASKED)


def judge_diff(cluster: Cluster, name: str | None, kernels: Kernels = NOT_ASKED) -> Answer:
    """The differences of all tasks, of one host's, or of those that a name means."""
    tasks = _chosen(cluster, name)
    found = [*_differences(cluster, tasks, name), *_in_kernels(cluster, tasks, name, kernels)]
    sections: list[Section] = []
    for subject in sorted({(each.host, each.task) for each in found}, key=_order):
        lines = [f"{subject[1] or 'agent'} on {subject[0]}"]
        lines.extend(_line(each) for each in found if (each.host, each.task) == subject)
        sections.append(Lines(tuple(lines)))
    if not found:
        sections.append(Lines((_agreement(cluster, tasks, name, kernels),)))
    return Answer([asdict(each) for each in found], tuple(sections), _exit_code(found))


def _agreement(
    cluster: Cluster, tasks: tuple[TaskView, ...], name: str | None, kernels: Kernels
) -> str:
    """What was compared, where nothing differs."""
    compared = {host.name for host in cluster.hosts() if name in (None, host.name)}
    hosts = len(compared | {task.host for task in tasks})
    tasks_word, hosts_word = ("" if count == 1 else "s" for count in (len(tasks), hosts))
    compared_with = "" if kernels.hosts else ", as agents report"
    return (
        f"desired and actual agree: {len(tasks)} task{tasks_word} on {hosts} host{hosts_word}"
        + compared_with
    )


def _exit_code(found: Iterable[Difference]) -> int:
    """1 where something differs, 3 where an agent is silent, else 0."""
    reported = [each for each in found if (each.sign, each.source) != ("?", KERNEL)]
    if any(each.sign != "?" for each in reported):
        return 1
    return 3 if reported else 0


def hosts_concerned(cluster: Cluster, name: str | None) -> tuple[HostName, ...]:
    """The hosts whose kernels have to do with the question, by name."""
    registered = {
        host.name for host in cluster.hosts() if host.record and not host.record.forgotten
    }
    if name is None:
        return tuple(sorted(registered))
    if name in registered:
        return (HostName(name),)
    return tuple(sorted({task.host for task in _chosen(cluster, name)} & registered))


def _order(subject: tuple[str, str]) -> tuple[bool, str, str]:
    """Hosts themselves first, then tasks by name."""
    host, task = subject
    return bool(task), task, host


def _line(each: Difference) -> str:
    where = f"{KERNEL} " if each.source == KERNEL and each.what != KERNEL else ""
    return f"{each.sign} {where}{each.what} {each.value}"


def _in_kernels(
    cluster: Cluster, tasks: tuple[TaskView, ...], name: str | None, kernels: Kernels
) -> Iterator[Difference]:
    """What each kernel lacks or has too much, by what its agent tells."""
    chosen = {(task.host, task.name) for task in tasks}
    whole = name is None or any(host.name == name for host in cluster.hosts())
    for host, told in sorted(kernels.hosts.items()):
        if isinstance(told, NotTold):
            yield Difference(
                sign="?", host=host, task="", what=KERNEL, value=str(told), source=KERNEL
            )
            continue
        if told.doubt:
            older = f"compared with what was desired before: {told.doubt}"
            yield Difference(sign="?", host=host, task="", what=KERNEL, value=older, source=KERNEL)
        for each in told.differences:
            if whole or (host, each.task) in chosen:
                yield Difference(
                    sign=each.sign,
                    host=host,
                    task=each.task,
                    what=each.what,
                    value=each.value,
                    source=KERNEL,
                )
        if told.more:
            sign = "-" if whole else "?"
            yield Difference(
                sign=sign,
                host=host,
                task="",
                what=KERNEL,
                value=f"and {told.more} more differences",
                source=KERNEL,
            )


def _chosen(cluster: Cluster, name: str | None) -> tuple[TaskView, ...]:
    tasks = cluster.tasks()
    if name is None:
        return tasks
    if any(host.name == name for host in cluster.hosts()):
        return tuple(task for task in tasks if task.host == name)
    found = match_tasks(tasks, name)
    if not found:
        raise NoSuchThing(f"no host or task is called {name!r}")
    return found


def _differences(
    cluster: Cluster, tasks: Iterable[TaskView], name: str | None
) -> Iterator[Difference]:
    tasks = tuple(tasks)
    agents = {host.name: host.agent for host in cluster.hosts()}
    concerned = {task.host for task in tasks}
    if name is None or name in agents:
        concerned |= {HostName(name)} if name else set(agents)
    for host in sorted(concerned):
        agent = agents.get(host) or cluster.host(host).agent
        if agent.state in (AgentState.SILENT, AgentState.FORGOTTEN):
            what = f"{agent.state.value}: what it last reported may be old"
            yield Difference(sign="?", host=host, task="", what="agent", value=what)
    for task in tasks:
        for sign, what, value in _of_task(task, agents.get(task.host)):
            yield Difference(sign=sign, host=task.host, task=task.name, what=what, value=value)


def _of_task(task: TaskView, agent: AgentView | None) -> Iterator[tuple[str, str, str]]:
    spec, status = task.spec, task.status
    if spec is None:
        if status is not None:
            yield "-", "endpoint", f"{joined(status.addresses)} {status.state.value}"
        elif task.record is not None and task.record.verdict is TaskVerdict.ACCEPTED:
            yield "+", "endpoint", task.judgement.reason
        return
    wanted = EndpointState.UP if spec.active else EndpointState.DOWN
    if status is None:
        if spec.active:
            yield "+", "endpoint", f"{joined(spec.addresses)} {wanted.value}"
        return
    for address in sorted(set(status.addresses) - set(spec.addresses)):
        yield "-", "address", str(address)
    if status.addresses:
        for address in sorted(set(spec.addresses) - set(status.addresses)):
            yield "+", "address", str(address)
    if status.state is not wanted:
        reason = f" ({status.reason})" if status.reason else ""
        yield "-", "state", status.state.value + reason
        yield "+", "state", wanted.value
    registered = agent is not None and agent.state in (AgentState.REPORTING, AgentState.SILENT)
    if registered and status.revision < task.revision:
        yield "-", "revision", str(status.revision)
        yield "+", "revision", str(task.revision)

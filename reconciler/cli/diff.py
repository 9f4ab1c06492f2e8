"""`marathon-calico diff`: desired beside reported, as +/- lines."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

import click

from calico.model import EndpointState, HostName, TaskVerdict
from reconciler.cli.cluster import Cluster, TaskView
from reconciler.cli.command import NoSuchThing, reads_cluster
from reconciler.cli.named import match_tasks
from reconciler.cli.render import Answer, Lines, Section, joined
from reconciler.core.verdict import AgentState, AgentView


@dataclass(frozen=True, slots=True)
class Difference:
    """`+` is desired and not reported, `-` reported and not desired, `?` not known."""

    sign: str
    host: str
    task: str
    what: str
    value: str


@click.command()
@click.argument("name", metavar="[TASK|HOST]", required=False)
@reads_cluster
def diff(cluster: Cluster, now: datetime, name: str | None) -> Answer:  # noqa: ARG001 - a read has a time
    """Where what agents report differs from what is desired.

    Exits 0 if it is the same, 1 if it is not, 2 if there is no such TASK or HOST.
    Lines begin with + (desired, not reported), - (reported, not desired) or
    ? (the agent is silent, nobody knows).

    \b
    Fields of -o json, a list of objects:
      sign, host, task, what (endpoint, address, state, revision, agent), value
    """
    return judge_diff(cluster, name)


def judge_diff(cluster: Cluster, name: str | None) -> Answer:
    """The differences of all tasks, of one host's, or of those that a name means."""
    found = tuple(_differences(cluster, _chosen(cluster, name), name))
    sections: list[Section] = []
    for subject in dict.fromkeys((each.host, each.task) for each in found):
        lines = [f"{subject[1] or 'agent'} on {subject[0]}"]
        lines.extend(
            f"{each.sign} {each.what} {each.value}"
            for each in found
            if (each.host, each.task) == subject
        )
        sections.append(Lines(tuple(lines)))
    return Answer([asdict(each) for each in found], tuple(sections), int(bool(found)))


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
            yield Difference("?", host, "", "agent", what)
    for task in tasks:
        for sign, what, value in _of_task(task, agents.get(task.host)):
            yield Difference(sign, task.host, task.name, what, value)


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

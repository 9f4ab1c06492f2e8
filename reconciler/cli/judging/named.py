"""From what an operator types to the one thing that is meant."""

from collections.abc import Iterable

from reconciler.cli.command import NoSuchThing
from reconciler.cli.printing.render import joined
from reconciler.cli.reading.cluster import Cluster, TaskView
from reconciler.core.verdict import Verdict

MOST_CANDIDATES = 20


def match_tasks(tasks: Iterable[TaskView], name: str) -> tuple[TaskView, ...]:
    """Tasks that a name may mean: its id, else its app id, else a prefix of its id."""
    everything = tuple(tasks)
    for found in (
        tuple(task for task in everything if task.name == name),
        tuple(task for task in everything if task.app and task.app in (name, f"/{name}")),
        tuple(task for task in everything if name and task.name.startswith(name)),
    ):
        if found:
            return found
    return ()


def one_task(cluster: Cluster, name: str) -> TaskView:
    """The task of that name; raises NoSuchThing for none and for several."""
    found = match_tasks(cluster.tasks(), name)
    if not found:
        raise NoSuchThing(f"no task has the id, prefix or app id {name!r}; see `get tasks`")
    if len(found) > 1:
        raise ambiguous(name, found)
    return found[0]


def alike(found: tuple[TaskView, ...]) -> tuple[TaskView, ...]:
    """Tasks of one app of which each answers for all, those in sync first; empty if none does.

    Tasks of two versions of an app may have different groups and ports.
    """
    if not found[0].app or len({_policy(task) for task in found}) > 1:
        return ()
    in_sync = Verdict.IN_SYNC
    return tuple(sorted(found, key=lambda each: (each.judgement.verdict is not in_sync, each.name)))


def _policy(task: TaskView) -> tuple[object, ...]:
    record = task.record
    if record is None:
        return ()
    return record.app, record.groups, record.ports, record.ports_declared


def ambiguous(name: str, found: tuple[TaskView, ...]) -> NoSuchThing:
    """The refusal that lists what was meant, perhaps."""
    listed = [
        f"  {task.name} on {task.host}, in {joined(task.groups, 'no group')}"
        for task in found[:MOST_CANDIDATES]
    ]
    if len(found) > MOST_CANDIDATES:
        listed.append(f"  and {len(found) - MOST_CANDIDATES} more")
    head = f"{name!r} may be any of these {len(found)} tasks; name one in its place:"
    return NoSuchThing("\n".join([head, *listed]))

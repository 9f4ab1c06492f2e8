"""From what an operator types to the one thing that is meant."""

from collections.abc import Iterable

from reconciler.cli.command import NoSuchThing
from reconciler.cli.reading.cluster import Cluster, TaskView

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


def ambiguous(name: str, found: tuple[TaskView, ...]) -> NoSuchThing:
    """The refusal that lists what was meant, perhaps."""
    listed = [f"  {task.name} on {task.host}" for task in found[:MOST_CANDIDATES]]
    if len(found) > MOST_CANDIDATES:
        listed.append(f"  and {len(found) - MOST_CANDIDATES} more")
    return NoSuchThing("\n".join([f"{name!r} may be any of these {len(found)} tasks:", *listed]))

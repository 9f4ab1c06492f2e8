"""What `status` shows: hosts, processes, and the controllers and agents among Marathon's tasks."""

from __future__ import annotations

from collections.abc import Sequence

from demo.embedded.cluster import Cluster
from demo.embedded.control import HostStatus, ProcessStatus, Reply
from demo.embedded.product.names import CONTROLLERS, GROUP, name_task
from demo.stories.rest import MarathonApi, MarathonRefusedError, RunningTask

Row = tuple[str, ...]


def list_all(cluster: Cluster, reply: Reply) -> tuple[list[str], str]:
    """Aligned lines, and what is missing of the product in a sentence, empty if nothing is."""
    rows = [*list_hosts(reply.hosts), *list_processes(reply.processes)]
    if cluster.record.supervised:
        return align(rows), ""
    found = find_product(cluster)
    product = [] if isinstance(found, str) else list_product(found)
    return align([*rows, *product]), lack_product(found, hosts=len(reply.hosts) - 1)


def list_hosts(hosts: Sequence[HostStatus]) -> list[Row]:
    """A row for each host."""
    return [(host.name, host.address, f"pid {host.pid}") for host in hosts]


def list_processes(processes: Sequence[ProcessStatus]) -> list[Row]:
    """A row for each process that the supervisor keeps."""
    rows: list[Row] = []
    for each in processes:
        state = f"pid {each.pid}" if each.pid else "down" if each.wanted else "stopped"
        rows.append((f"  {each.name}", each.host, state, f"{each.restarts} restarts"))
    return rows


def find_product(cluster: Cluster) -> Sequence[RunningTask] | str:
    """The tasks of controllers and agents, or why Marathon does not tell."""
    try:
        with MarathonApi(cluster.marathon_url) as marathon:
            tasks = [task for task in marathon.tasks() if task.app_id.startswith(f"{GROUP}/")]
    except MarathonRefusedError as error:
        return str(error)
    return sorted(tasks, key=lambda task: (task.app_id, task.host))


def list_product(tasks: Sequence[RunningTask]) -> list[Row]:
    """A row for each controller and agent."""
    return [
        (
            f"  {name_task(task.app_id, task.host)}",
            task.host,
            "running" if task.running else "starting",
            f"task {task.task_id}",
        )
        for task in tasks
    ]


def lack_product(found: Sequence[RunningTask] | str, hosts: int) -> str:
    """What is missing of controllers and agents, in a sentence; empty if all run."""
    if isinstance(found, str):
        return f"Controllers and agents are tasks of Marathon, which does not tell: {found}"
    if not found:
        return f"No controller and no agent runs: Marathon has no task of {GROUP}."
    wanted = {"agent": hosts, "controller": min(CONTROLLERS, hosts)}
    lacks = []
    for name, count in wanted.items():
        running = sum(task.running and task.app_id == f"{GROUP}/{name}" for task in found)
        if running < count:
            lacks.append(f"{running} of {count} {name}s run")
    return f"Not all of the product runs: {', '.join(lacks)}." if lacks else ""


def align(rows: Sequence[Row]) -> list[str]:
    """Lines whose columns begin below each other."""
    columns = max(map(len, rows), default=0)
    widths = [max(len(row[n]) for row in rows if n < len(row)) for n in range(columns)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    ]

"""Finds tasks by what the host's Mesos agent says of its containers."""

from collections.abc import Collection

from calico.dataplane.namespaces import now
from calico.model import TaskId
from reconciler.agent.locators.api import Identify, Located, LocatorName, identify_all
from reconciler.agent.locators.mesos_agent import MesosAgent, Row, tasks_of


class MesosLocator:
    """Finds the processes of `/containers`.

    A row without a pid (Docker containerizer, an early 1.0 agent, a container
    that just ends) says nothing.
    """

    name: LocatorName = "mesos"

    def __init__(self, agent: MesosAgent, identify: Identify, own: Collection[int]) -> None:
        self._agent = agent
        self._identify = identify
        self._own = own

    def find(self, tasks: Collection[TaskId]) -> Located:
        """Look for some tasks among the agent's containers."""
        asked = now()
        pids = (
            (task, pid)
            for row in self._agent.containers()
            if (pid := _pid(row)) is not None
            for task in tasks_of(row)
            if task in tasks
        )
        return identify_all(pids, self._identify, self._own, asked)


def _pid(row: Row) -> int | None:
    status = row.get("status")
    pid = status.get("executor_pid") if isinstance(status, dict) else None
    return pid if isinstance(pid, int) and not isinstance(pid, bool) and pid > 1 else None

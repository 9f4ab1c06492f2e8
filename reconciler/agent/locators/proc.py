"""Finds tasks by MESOS_TASK_ID in the environment of running processes.

The weakest evidence: a process writes its own environment. It can deny its
name to another task by claiming it, but a claim that is contested, or made
from a namespace that is another task's, wires nobody.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from calico.dataplane.namespaces import now
from calico.model import TaskId
from reconciler.agent.locators.api import (
    TASK_VARIABLE,
    Identify,
    Located,
    LocatorName,
    LocatorUnavailable,
    identify_all,
)

ASSIGNMENT = f"{TASK_VARIABLE}=".encode()
LARGEST_ENVIRONMENT = 1024 * 1024


class ProcLocator:
    """Reads the environment of every process that this one may look at."""

    name: LocatorName = "proc"

    def __init__(
        self, identify: Identify, own: Collection[int], proc: Path = Path("/proc")
    ) -> None:
        self._identify = identify
        self._own = own
        self._proc = proc

    def find(self, tasks: Collection[TaskId]) -> Located:
        """Look for some tasks among all processes."""
        asked = now()
        pids = ((task, pid) for pid, task in self._named() if task in tasks)
        return identify_all(pids, self._identify, self._own, asked)

    def _named(self) -> Iterator[tuple[int, TaskId]]:
        try:
            names = os.listdir(self._proc)
        except OSError as error:
            raise LocatorUnavailable(f"{self._proc} cannot be read: {error.strerror}") from error
        for name in names:
            if name.isdigit() and name != "1":
                task = self._task_of(name)
                if task is not None:
                    yield int(name), task

    def _task_of(self, pid: str) -> TaskId | None:
        # Processes end while they are looked at, and kernel threads have none.
        with suppress(OSError), open(self._proc / pid / "environ", "rb") as file:
            for assignment in file.read(LARGEST_ENVIRONMENT).split(b"\0"):
                if assignment.startswith(ASSIGNMENT):
                    return TaskId(assignment[len(ASSIGNMENT) :].decode("utf-8", "replace"))
        return None

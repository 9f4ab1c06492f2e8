"""Finds tasks by what the host's Mesos agent says of its containers."""

from collections.abc import Collection, Iterator

import msgspec
import requests

from calico.dataplane.namespaces import now
from calico.model import TaskId
from reconciler.agent.locators.api import Identify, Located, LocatorUnavailable, identify_all

CONNECT_TIMEOUT = 1.0
READ_TIMEOUT = 2.0
LARGEST_ANSWER = 64 * 1024 * 1024


class MesosLocator:
    """Asks one Mesos agent for `/containers`.

    `source` is the task id of a command task, `executor_id` of one that brings
    its own executor. A row without a pid (Docker containerizer, an early 1.0
    agent, a container that just ends) says nothing.
    """

    name = "mesos"

    def __init__(self, url: str, identify: Identify, own: Collection[int]) -> None:
        self._url = url.rstrip("/")
        self._identify = identify
        self._own = own
        self._session = requests.Session()
        # Neither proxies nor a .netrc of the environment are for a local agent.
        self._session.trust_env = False

    def find(self, tasks: Collection[TaskId]) -> Located:
        """Look for some tasks among the agent's containers."""
        asked = now()
        rows = self._containers()
        pids = (
            (task, pid)
            for row in rows
            if isinstance(row, dict) and (pid := _pid(row)) is not None
            for task in _tasks(row)
            if task in tasks
        )
        return identify_all(pids, self._identify, self._own, asked)

    def _containers(self) -> list[object]:
        try:
            with self._session.get(
                f"{self._url}/containers",
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
                stream=True,
            ) as answer:
                if answer.status_code != 200:
                    raise LocatorUnavailable(
                        f"Mesos agent at {self._url} answers {answer.status_code}"
                    )
                content = bytearray()
                for part in answer.iter_content(65536):
                    content += part
                    if len(content) > LARGEST_ANSWER:
                        raise LocatorUnavailable(f"Mesos agent at {self._url} answers without end")
        except requests.RequestException as error:
            raise LocatorUnavailable(f"Mesos agent at {self._url} does not answer") from error
        try:
            rows = msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise LocatorUnavailable(f"Mesos agent at {self._url} does not answer JSON") from error
        if not isinstance(rows, list):
            raise LocatorUnavailable(f"Mesos agent at {self._url} answers no list of containers")
        return rows


def _tasks(row: dict[object, object]) -> Iterator[TaskId]:
    names = {row.get("source"), row.get("executor_id")}
    return (TaskId(name) for name in names if isinstance(name, str))


def _pid(row: dict[object, object]) -> int | None:
    status = row.get("status")
    pid = status.get("executor_pid") if isinstance(status, dict) else None
    return pid if isinstance(pid, int) and not isinstance(pid, bool) and pid > 1 else None

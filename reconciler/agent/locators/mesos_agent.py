"""What the host's Mesos agent says of its containers."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import msgspec
import requests

from calico.model import ContainerId, TaskId
from reconciler.agent.locators.api import LocatorUnavailable

CONNECT_TIMEOUT = 1.0
READ_TIMEOUT = 2.0
#: For who is in no hurry: an agent measures each of its containers before it tells of any.
PATIENT_READ_TIMEOUT = 10.0
CREDENTIALS = "name a file with USER:PASSWORD by --mesos-credentials"
LARGEST_ANSWER = 64 * 1024 * 1024
CONTAINERS = "/containers"
#: Where Mesos tells the same before 1.0, newest first.
STATES = ("/state", "/state.json")

Row = Mapping[object, object]


class NotServed(LocatorUnavailable):
    """The agent answers, but knows no such page: it is older than that."""


class MesosAgent:
    """Asks one Mesos agent; used by one thread."""

    def __init__(self, url: str, read_within: float = READ_TIMEOUT) -> None:
        """The URL may hold a user and a password, which nobody else is told."""
        self._url = url.rstrip("/")
        self._name = f"Mesos agent at {_without_credentials(self._url)}"
        self._read_within = read_within
        self._session = requests.Session()
        # Neither proxies nor a .netrc of the environment are for a local agent.
        self._session.trust_env = False

    def containers(self) -> tuple[Row, ...]:
        """The rows of `/containers`; raises LocatorUnavailable."""
        rows = self._read(CONTAINERS)
        if not isinstance(rows, list):
            raise LocatorUnavailable(f"{self._name} answers no list of containers")
        return tuple(row for row in rows if isinstance(row, dict))

    def tasks_by_container(self) -> Mapping[ContainerId, frozenset[TaskId]]:
        """Which tasks each container runs, of whatever containerizer; raises LocatorUnavailable."""
        try:
            told = [(row.get("container_id"), tasks_of(row)) for row in self.containers()]
        except NotServed:
            told = [
                (executor.get("container"), _tasks_of_executor(executor))
                for executor in self._executors()
            ]
        return {
            ContainerId(container): tasks
            for container, tasks in told
            if isinstance(container, str) and container
        }

    def _executors(self) -> Iterator[Row]:
        for framework in _rows(self._state(), "frameworks"):
            yield from _rows(framework, "executors")

    def _state(self) -> object:
        *newer, oldest = STATES
        for path in newer:
            try:
                return self._read(path)
            except NotServed:
                continue
        return self._read(oldest)

    def _read(self, path: str) -> object:
        try:
            with self._session.get(
                f"{self._url}{path}",
                timeout=(CONNECT_TIMEOUT, self._read_within),
                allow_redirects=False,
                stream=True,
            ) as answer:
                if answer.status_code == 401:
                    raise LocatorUnavailable(f"{self._name} answers 401: {CREDENTIALS}")
                if answer.status_code != 200:
                    kind = NotServed if answer.status_code == 404 else LocatorUnavailable
                    raise kind(f"{self._name} answers {answer.status_code}")
                content = bytearray()
                for part in answer.iter_content(65536):
                    content += part
                    if len(content) > LARGEST_ANSWER:
                        raise LocatorUnavailable(f"{self._name} answers without end")
        except requests.RequestException as error:
            raise LocatorUnavailable(f"{self._name} does not answer") from error
        try:
            return msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError) as error:
            raise LocatorUnavailable(f"{self._name} does not answer JSON") from error


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def tasks_of(row: Row) -> frozenset[TaskId]:
    """The tasks that a row of `/containers` may be about.

    `source` is the task id of a command task, `executor_id` of one that brings
    its own executor.
    """
    return _names(row.get("source"), row.get("executor_id"))


def _tasks_of_executor(executor: Row) -> frozenset[TaskId]:
    """The tasks that an executor in `/state` may be about."""
    listed = (task.get("id") for task in _rows(executor, "tasks"))
    return _names(executor.get("source"), executor.get("id"), *listed)


def _names(*values: object) -> frozenset[TaskId]:
    return frozenset(TaskId(value) for value in values if isinstance(value, str) and value)


def _rows(parent: object, name: str) -> Iterator[Row]:
    rows = parent.get(name) if isinstance(parent, dict) else None
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict):
            yield row

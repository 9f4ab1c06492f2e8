"""The tasks of a cluster: where they run, and which of them Marathon gave up."""

from collections.abc import Callable, Sequence

from calico.model import TaskId
from marathon_client.models import AppId
from tests.simulation.twins.host import HostTwin
from tests.simulation.twins.marathon import MarathonTwin

#: More of them do not live at once.
MOST_TASKS = 7


class Tasks:
    """Starts and ends them; a `pick` from 0 to 1 says which."""

    def __init__(
        self,
        hosts: Sequence[HostTwin],
        marathon: MarathonTwin,
        touch: Callable[[HostTwin], None],
    ) -> None:
        """`touch` is told of a host on which tasks come or go."""
        self._hosts = hosts
        self._marathon = marathon
        self._touch = touch
        self._started = 0
        self._given_up: set[TaskId] = set()

    def start(self, app: str, pick: float) -> None:
        """Start one on the host that is picked."""
        if len(self._live()) >= MOST_TASKS:
            self.end(pick)
        self._started += 1
        host, task = self._hosts[int(pick * len(self._hosts))], TaskId(f"{app}.{self._started}")
        host.start_task(task)
        self._touch(host)
        self._marathon.start(AppId(f"/{app}"), task, host.name)

    def end(self, pick: float) -> None:
        """End the one that is picked."""
        live = self._live()
        if live:
            task, host = live[int(pick * len(live))]
            host.end_task(task)
            self._touch(host)
            self._marathon.end(frozenset[str]((task,)))

    def again(self, pick: float) -> None:
        """End the one that is picked, and start another of its app on its host."""
        live = self._live()
        if live:
            task, host = live[int(pick * len(live))]
            self.end(pick)
            self.start(task.partition(".")[0], (host.number + 0.5) / len(self._hosts))

    def give_up(self, host: HostTwin) -> None:
        """Let Marathon believe that all on a host have ended, while they live on."""
        self._given_up |= host.namespaces.keys()
        self._marathon.end(frozenset[str](host.namespaces))

    def end_given_up(self, host: HostTwin) -> None:
        """Let Marathon be right about every task of a host."""
        for task in [each for each in host.namespaces if each in self._given_up]:
            self._touch(host)
            host.end_task(task)

    def _live(self) -> list[tuple[TaskId, HostTwin]]:
        """Those that Marathon knows of and could end."""
        return [
            (task, host)
            for host in self._hosts
            for task in host.namespaces
            if task not in self._given_up
        ]

"""The tasks of a cluster: where they run, and which of them Marathon gave up."""

from collections.abc import Callable, Sequence
from types import MappingProxyType

from calico.model import TaskId
from marathon_client.models import AppId
from tests.simulation.actions import Fate
from tests.simulation.runtimes import Runtime
from tests.simulation.twins.host import HostTwin
from tests.simulation.twins.marathon import NETWORK, MarathonTwin

#: More of them do not live at once.
MOST_TASKS = 7
#: The apps whose containers a plugin attaches, with their groups.
ATTACHED = MappingProxyType({"p": ("g",), "q": ("k",)})


class Tasks:
    """Starts and ends them; a `pick` from 0 to 1 says which."""

    def __init__(
        self,
        hosts: Sequence[HostTwin],
        marathon: MarathonTwin,
        touch: Callable[[HostTwin], None],
        runtimes: Sequence[Runtime] = (),
    ) -> None:
        """`touch` is told of a host on which tasks come or go; `runtimes` are the hosts'."""
        self._runtimes = runtimes
        self._hosts = hosts
        self._marathon = marathon
        self._touch = touch
        self._started = 0
        self._given_up: set[TaskId] = set()

    def start(self, app: str, pick: float) -> None:
        """Start one on the host that is picked; since 1.5 plugins attach them all."""
        if self._marathon.is_upgraded:
            self.attach(app, pick, Fate())
            return
        if len(self._live()) >= MOST_TASKS:
            self.end(pick)
        host, task = self._next(app, pick)
        host.start_task(task)
        self._touch(host)
        self._marathon.start(AppId(f"/{app}"), task, host.name)

    def attach(self, app: str, pick: float, fate: Fate) -> None:
        """Start one whose container is attached, on the host that is picked."""
        if len(self._live()) >= MOST_TASKS:
            self.end(pick)
        if AppId(f"/{app}") not in self._marathon.apps:
            self._marathon.deploy(app, ATTACHED[app], NETWORK)
        host, task = self._next(app, pick)
        self._runtimes[host.number].launch(AppId(f"/{app}"), task, fate)

    def _next(self, app: str, pick: float) -> tuple[HostTwin, TaskId]:
        self._started += 1
        hosts = [each for each in self._hosts if each.is_on]
        return hosts[int(pick * len(hosts))], TaskId(f"{app}.{self._started}")

    def end(self, pick: float) -> None:
        """End the one that is picked."""
        live = self._live()
        if live:
            task, host = live[int(pick * len(live))]
            self._end(task, host)
            self._marathon.end(frozenset[str]((task,)))

    def _end(self, task: TaskId, host: HostTwin) -> None:
        if host.container_of(task) is None:
            host.end_task(task)
        else:
            self._runtimes[host.number].end(task)
        self._touch(host)

    def again(self, pick: float) -> None:
        """End the one that is picked, and start another of its app on its host."""
        live = self._live()
        if live:
            task, host = live[int(pick * len(live))]
            app, there = task.partition(".")[0], (host.number + 0.5) / len(self._hosts)
            fate = self._runtimes[host.number].fate(task) if host.container_of(task) else None
            self.end(pick)
            if fate is None:
                self.start(app, there)
            else:
                self.attach(app, there, fate)

    def give_up(self, host: HostTwin) -> None:
        """Let Marathon believe that all on a host have ended, while they live on."""
        self._given_up |= host.namespaces.keys()
        self._marathon.give_up(frozenset[str](host.namespaces))

    def find_again(self, host: HostTwin) -> frozenset[TaskId]:
        """Let Marathon name again what lives on, as far as there is room; tells what.

        One that was upgraded meanwhile does not know any more what they asked for.
        """
        if self._marathon.is_upgraded:
            return frozenset()
        lives_on = sorted(self._given_up & host.namespaces.keys())
        found = frozenset(lives_on[: max(0, MOST_TASKS - len(self._live()))])
        self._given_up -= found
        self._marathon.find_again(frozenset[str](found))
        return found

    def end_given_up(self, host: HostTwin) -> None:
        """Let Marathon be right about every task of a host."""
        for task in [each for each in host.namespaces if each in self._given_up]:
            self._end(task, host)

    def _live(self) -> list[tuple[TaskId, HostTwin]]:
        """Those that Marathon knows of and could end."""
        return [
            (task, host)
            for host in self._hosts
            for task in host.namespaces
            if task not in self._given_up
        ]

"""Marathon in memory: what is true, what it says, and the events that it loses."""

import enum
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from netaddr import IPAddress

from marathon_client.errors import MarathonUnavailable
from marathon_client.events import Subscribed, TaskStatus
from marathon_client.models import (
    App,
    AppId,
    AppList,
    AppNetwork,
    Info,
    NetworkForm,
    NetworkMode,
    PortOpening,
    Task,
    TaskId,
    TaskState,
)
from marathon_client.stream import Connected, Disconnected, StreamItem
from tests.simulation.doors import Door
from tests.simulation.faults import FaultKind
from tests.simulation.scheduler import Scheduler

T = TypeVar("T")

URL = "http://marathon:8080"
FRAMEWORK, ANOTHER_FRAMEWORK = "marathon-0000", "marathon-0001"
OLD, NEW = "1.1.1", "1.5.2"
#: Stands for all of them.
EVERY_APP = AppId("/")
#: The name of the network on which plugins attach.
NETWORK = "calico"
OPENING = PortOpening(80, "tcp", "web")


_NEVER = float("inf")


class LieKind(enum.Enum):
    """What is answered in place of the truth."""

    EMPTY = "empty"
    HALF = "half"
    STALE = "stale"
    ONE_GONE = "one gone"
    FOREIGN = "foreign"
    """The Marathon of another cluster answers."""


@dataclass(frozen=True, slots=True)
class Chances:
    """How often, of all times, an event or an answer does not come as it should."""

    lost: float = 0.3
    twice: float = 0.1
    late: float = 0.2
    unavailable: float = 0.03


class MarathonTwin:
    """The truth, and the view of it that answers show."""

    def __init__(self, scheduler: Scheduler, chance: random.Random) -> None:
        self._scheduler = scheduler
        self._chance = chance
        self._chances: Chances | None = None
        self.apps: dict[AppId, App] = {}
        self._versions: dict[tuple[AppId, str], App] = {}
        self._before: dict[AppId, App] = {}
        self._lie: LieKind | None = None
        self._lie_until = 0.0
        self._leader = 1
        self._streams: dict[str, Callable[[StreamItem], None]] = {}
        self._late: list[tuple[float, StreamItem]] = []
        #: When something happens here although nobody asks.
        self.soonest = _NEVER
        self._clock = 0
        #: So many events there were, and which of them nobody hears of.
        self.told = 0
        self.forgets = 0
        #: Before and since 1.5, and apps that lost the groups that they had tasks with.
        self.version = OLD
        self._lost: set[AppId] = set()
        #: Tasks that began when their apps had lost their groups.
        self.groupless: set[str] = set()
        #: What each task asked for when it began; it keeps that.
        self.groups: dict[str, frozenset[str]] = {}
        #: Tasks that it gave up, which may live on.
        self._given_up: dict[str, Task] = {}
        #: Told who was answered the truth about an app, or about EVERY_APP.
        self.hear_answer: Callable[[str, AppId], None] = lambda _, __: None

    @property
    def named(self) -> frozenset[str]:
        """Every task that there is in truth."""
        return frozenset(task.id for app in self.apps.values() for task in app.tasks)

    @property
    def leader(self) -> str:
        """The Marathon that leads."""
        return f"leader{self._leader}:8080"

    def _plan(self) -> None:
        late = min((due for due, _ in self._late), default=_NEVER)
        self.soonest = late if self._lie is None else min(late, self._lie_until)

    def settle(self) -> None:
        """Let happen what is due."""
        now = self._scheduler.now()
        for due, item in [each for each in self._late if each[0] <= now]:
            self._late.remove((due, item))
            self._post(item)
        if self._lie is not None and now >= self._lie_until:
            # What was read of two leaders is never added up.
            self._lie = None
            self.elect()
        self._plan()

    def begin_faults(self) -> None:
        """From now on events and answers get lost."""
        self._chances = Chances()

    @property
    def is_lying(self) -> bool:
        """Whether something else than the truth is answered."""
        return self._lie is not None

    def be_honest(self) -> None:
        """From now on nothing goes wrong."""
        self._chances, self._lie = None, None
        self._plan()

    def lie(self, kind: LieKind, seconds: float) -> None:
        """Answer something else for a while; another leader then tells the truth."""
        if self._lie is None:
            self._lie, self._lie_until = kind, self._scheduler.now() + seconds
            self._plan()

    def elect(self) -> None:
        """Another Marathon leads; every stream ends and begins."""
        self._leader += 1
        for post in self._streams.values():
            post(Disconnected("leader changed"))
            post(Connected(URL, self.leader))
            # Everybody hears of everybody; who attaches now hears of itself first.
            self._post(Subscribed(self._scheduler.now()))

    @property
    def is_upgraded(self) -> bool:
        """Whether no app has an `ipAddress` any more, so that plugins attach all tasks."""
        return self.version == NEW

    def upgrade(self, accepted: Collection[str]) -> None:
        """Become 1.5: every stored app loses its groups; `accepted` are tasks with a network.

        Not while others wait for one: without a plugin they would for ever.
        """
        if self.is_upgraded or not self.named <= frozenset(accepted):
            return
        self.version = NEW
        self._lost = {
            app.id
            for app in self.apps.values()
            for task in app.tasks
            # Of a version without a task nobody can tell what it asked for.
            if task.version == app.config_version and self.groups[task.id]
        }
        lost = (self._declared((), NETWORK),)
        self.apps = {each: replace(app, networks=lost) for each, app in self.apps.items()}
        self._versions = {each: replace(app, networks=lost) for each, app in self._versions.items()}
        self._before = dict(self.apps)
        self.elect()

    def _declared(self, groups: tuple[str, ...], name: str | None) -> AppNetwork:
        form = NetworkForm.NETWORKS if self.is_upgraded else NetworkForm.IP_ADDRESS
        named = NETWORK if self.is_upgraded else name
        return AppNetwork(NetworkMode.CONTAINER, named, groups, (), (OPENING,), form)

    def follow(self, process: str, post: Callable[[StreamItem], None]) -> None:
        """Open a process' event stream."""
        self._streams[process] = post
        post(Connected(URL, self.leader))
        self._post(Subscribed(self._scheduler.now()))

    def deploy(self, name: str, groups: tuple[str, ...], network: str | None = None) -> App:
        """Make an app, or give it a new version; its tasks stay as they are.

        On a network with a name a plugin attaches them.
        """
        app_id, version = AppId(f"/{name}"), self._stamp()
        old = self.apps.get(app_id)
        declared = self._declared(groups, network)
        tasks = () if old is None else old.tasks
        app = App(app_id, version, version, (declared,), (), len(tasks), tasks)
        self._versions[app_id, version] = app
        if groups:
            # Its tasks wait until it names some: docs/upgrade.md.
            self._lost.discard(app_id)
            self.groupless -= {task.id for task in tasks}
        self._put(app)
        return app

    def start(self, app_id: AppId, name: str, host: str) -> None:
        """A task of the newest version runs."""
        self._add(app_id, name, host, TaskState.RUNNING)

    def stage(self, app_id: AppId, name: str, host: str) -> None:
        """A task of the newest version is about to be started on a host."""
        self._add(app_id, name, host, TaskState.STAGING)

    def _add(self, app_id: AppId, name: str, host: str, state: TaskState) -> None:
        app = self.apps[app_id]
        task = Task(TaskId(name), app_id, host, state, ports=(), version=app.config_version)
        self.groups[name] = frozenset(app.networks[0].groups)
        if app_id in self._lost and not self.groups[name]:
            self.groupless.add(name)
        self._put(replace(app, tasks=(*app.tasks, task)))
        self._tell_status(task, state)

    def run(self, name: str, address: IPAddress) -> None:
        """A task that was staged runs, with the address that Mesos reports."""
        unseen = self._given_up.get(name)
        if unseen is not None:
            runs = replace(unseen, state=TaskState.RUNNING, addresses=(address,))
            self._given_up[name] = runs
        for app in list(self.apps.values()):
            for task in app.tasks:
                if task.id == name:
                    runs = replace(task, state=TaskState.RUNNING, addresses=(address,))
                    others = (each if each is not task else runs for each in app.tasks)
                    self._put(replace(app, tasks=tuple(others)))
                    self._tell_status(task, TaskState.RUNNING)

    def give_up(self, tasks: frozenset[str]) -> None:
        """These are told to have ended, and may live on."""
        for app in self.apps.values():
            self._given_up |= {each.id: each for each in app.tasks if each.id in tasks}
        self.end(tasks)

    def find_again(self, tasks: frozenset[str]) -> None:
        """These live on after all."""
        for task in [each for name, each in self._given_up.items() if name in tasks]:
            del self._given_up[task.id]
            app = self.apps[task.app_id]
            self._put(replace(app, tasks=(*app.tasks, task)))
            self._tell_status(task, task.state)

    def end(self, tasks: frozenset[str], state: TaskState = TaskState.KILLED) -> None:
        """These tasks ended, or are given up."""
        for app in list(self.apps.values()):
            ended = [task for task in app.tasks if task.id in tasks]
            if not ended:
                continue
            self._put(replace(app, tasks=tuple(t for t in app.tasks if t.id not in tasks)))
            for task in ended:
                self._tell_status(task, state)

    def app(self, app_id: AppId, *, stale: bool) -> App | None:
        """What is answered for one app."""
        return (self._before if stale else self._view()).get(app_id)

    def app_version(self, app_id: AppId, version: str) -> App | None:
        """What is answered for one version of an app."""
        return self._versions.get((app_id, version))

    def list(self, *, stale: bool) -> AppList:
        """What is answered for all apps."""
        found = self._before if stale else self._view()
        return AppList(tuple(found.values()), (), self.leader)

    def info(self) -> Info:
        """Who answers."""
        foreign = self._lie is LieKind.FOREIGN
        return Info(self.version, ANOTHER_FRAMEWORK if foreign else FRAMEWORK, self.leader)

    def is_unavailable(self) -> bool:
        """Whether this request comes to nothing."""
        chances = self._chances
        return chances is not None and self._chance.random() < chances.unavailable

    def _view(self) -> dict[AppId, App]:
        match self._lie:
            case None:
                return self.apps
            case LieKind.EMPTY:
                return {}
            case LieKind.HALF:
                return dict(list(self.apps.items())[: len(self.apps) // 2])
            case LieKind.STALE:
                return self._before
            case LieKind.ONE_GONE:
                return dict(list(self.apps.items())[1:])
            case LieKind.FOREIGN:
                return self._others()

    def _others(self) -> dict[AppId, App]:
        """What another cluster runs: an app of the same name, and one of its own."""
        found = {}
        for app_id in (*list(self.apps)[:1], AppId("/theirs")):
            found[app_id] = App(
                app_id, "2015-01-01T00:00:00.000Z", "", (self._declared(("g",), None),)
            )
        return found

    def _put(self, app: App) -> None:
        self._before = dict(self.apps)
        self.apps[app.id] = replace(app, instances=len(app.tasks))

    def _stamp(self) -> str:
        self._clock += 1
        return f"2016-01-01T00:{self._clock // 60:02}:{self._clock % 60:02}.000Z"

    def _tell_status(self, task: Task, state: TaskState) -> None:
        now = self._scheduler.now()
        self._tell(TaskStatus(task.app_id, task.id, state, task.host, now))

    def _tell(self, item: StreamItem) -> None:
        self.told += 1
        if self.told == self.forgets:
            return
        chances = self._chances
        if chances is None:
            self._post(item)
            return
        if self._chance.random() < chances.lost:
            return
        for _ in range(2 if self._chance.random() < chances.twice else 1):
            if self._chance.random() < chances.late:
                self._late.append((self._scheduler.now() + self._chance.choice((1, 10, 40)), item))
                self._plan()
            else:
                self._post(item)

    def _post(self, item: StreamItem) -> None:
        for post in self._streams.values():
            post(item)


class MarathonConnection:
    """One controller's requests; implements the reconciler's `Marathon`."""

    def __init__(self, marathon: MarathonTwin, door: Door, scheduler: Scheduler) -> None:
        self._marathon = marathon
        self._door = door
        self._scheduler = scheduler

    def app(self, app_id: AppId) -> App | None:
        """See Marathon."""
        return self._ask(lambda stale: self._marathon.app(app_id, stale=stale), app_id)

    def app_version(self, app_id: AppId, version: str) -> App | None:
        """See Marathon."""
        return self._ask(lambda _: self._marathon.app_version(app_id, version))

    def apps(self) -> AppList:
        """See Marathon."""
        return self._ask(lambda stale: self._marathon.list(stale=stale), EVERY_APP)

    def info(self) -> Info:
        """See Marathon."""
        return self._ask(lambda _: self._marathon.info())

    def _ask(self, read: Callable[[bool], T], about: AppId | None = None) -> T:
        fault = self._door.step()
        stale = fault is not None and fault.kind is FaultKind.STALE
        if fault is not None and not stale:
            raise MarathonUnavailable("no answer")
        if self._marathon.is_unavailable():
            raise MarathonUnavailable("503")
        answer = read(stale)
        if about is not None and not (stale or self._marathon.is_lying):
            self._marathon.hear_answer(self._door.process.name, about)
        self._scheduler.give_way()
        return answer

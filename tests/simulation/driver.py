"""Does to a cluster on twins what a schedule says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

from calico.keys import PROFILES
from tests.simulation.actions import (
    Action,
    Adopt,
    Again,
    Approve,
    Attach,
    Blind,
    Cut,
    Darken,
    End,
    Erase,
    FindAgain,
    Forget,
    GiveUp,
    Kill,
    Lag,
    Lie,
    Meddle,
    NewLeader,
    Pause,
    PowerOff,
    Reboot,
    Regroup,
    Restore,
    Start,
    Terminate,
    Upgrade,
)
from tests.simulation.doors import Door
from tests.simulation.invariants import Invariants
from tests.simulation.operators import Operator
from tests.simulation.runtimes import Runtime
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.tasks import Tasks
from tests.simulation.twins.etcd import EtcdTwin
from tests.simulation.twins.host import HostTwin
from tests.simulation.twins.marathon import LieKind, MarathonTwin


@dataclass(frozen=True, slots=True)
class Driver:
    """All that an action may concern; doors and processes by the name of the process.

    `terminates` gives what a process does when it is asked to end.
    """

    scheduler: Scheduler
    etcd: EtcdTwin
    marathon: MarathonTwin
    hosts: tuple[HostTwin, ...]
    invariants: Invariants
    tasks: Tasks
    runtimes: tuple[Runtime, ...]
    operator: Operator
    doors: Mapping[str, Door]
    processes: Mapping[str, Process]
    terminates: Mapping[str, Callable[[], Callable[[], None]]]

    def act(self, action: Action) -> None:  # noqa: PLR0912 - a case for each of a closed union
        """Do one thing to the cluster."""
        now = self.scheduler.now()
        match action:
            case Start(app, pick):
                self.tasks.start(app, pick)
            case Attach(app, pick, fate):
                self.tasks.attach(app, pick, fate)
            case End(pick):
                self.tasks.end(pick)
            case Again(pick):
                self.tasks.again(pick)
            case Regroup(app, groups):
                self.marathon.deploy(app, groups)
            case GiveUp(host, seconds):
                twin = self._named(host)
                self.doors[f"a{twin.number}"].cut_until = now + seconds
                self.tasks.give_up(twin)
            case FindAgain(host):
                twin = self._named(host)
                self.doors[f"a{twin.number}"].cut_until = now
                self.invariants.find_again(self.tasks.find_again(twin))
            case Kill(name, seconds):
                self._kill(name, seconds)
            case Terminate(name, seconds):
                if self.processes[name].alive:
                    self.terminates[name]()()
                    self.processes[name].start_at = now + seconds
            case Pause(name, seconds):
                self.processes[name].paused_until = now + seconds
            case Cut(name, seconds):
                self.doors[name].cut_until = now + seconds
            case Lag(name, seconds):
                self.doors[name].lag_until = now + seconds
            case Lie(kind, seconds):
                self.marathon.lie(kind, seconds)
            case Darken(host, seconds):
                self.doors[f"a{self._named(host).number}"].cut_until = now + seconds
                self.marathon.lie(LieKind.EMPTY, seconds)
            case NewLeader():
                self.marathon.elect()
            case Upgrade():
                self.marathon.upgrade(self.invariants.told)
                self.invariants.note_groups()
            case Reboot(host, keeps_state):
                self._reboot(self._named(host), 20.0, keeps_state=keeps_state)
            case PowerOff(host, seconds):
                twin = self._named(host)
                if all(each.is_on for each in self.hosts):
                    self._reboot(twin, seconds, keeps_state=False)
                    twin.is_on = False
            case Forget(host):
                if not self.processes[f"a{self._named(host).number}"].alive:
                    self.operator.forget(self._named(host).name)
            case Approve():
                self.operator.approve_right()
            case Adopt():
                silent = self.operator.adopt()
                for twin in self.hosts:
                    if twin.name in silent:
                        self.invariants.give_up(twin)
            case Meddle(host, pick):
                self.invariants.excuse(self._named(host))
                self._named(host).take_link_away(pick)
            case Erase(pick):
                self._erase(pick)
            case Blind(host, seconds):
                self._named(host).blind_until = now + seconds
            case Restore(seconds_old):
                self.invariants.expect_restore()
                deaf = [twin.name for twin in self.hosts if self._is_deaf(twin)]
                self.etcd.restore(seconds_old, deaf)
                self.invariants.note_groups()
            case _:
                assert_never(action)

    def _is_deaf(self, twin: HostTwin) -> bool:
        """Whether its agent runs, and hears nothing of the store for a while."""
        name, now = f"a{twin.number}", self.scheduler.now()
        door, process = self.doors[name], self.processes[name]
        return process.alive and now < max(door.cut_until, door.lag_until, process.paused_until)

    def _reboot(self, twin: HostTwin, seconds: float, *, keeps_state: bool) -> None:
        """What a host runs ends; its agent is back so many seconds later."""
        self._kill(f"a{twin.number}", seconds)
        ended = frozenset[str](twin.namespaces)
        containers = list(twin.mounted)
        twin.reboot(keeps_state=keeps_state)
        if self.runtimes:
            self.runtimes[twin.number].reboot(containers)
        self.invariants.touch(twin)
        self.marathon.end(ended)

    def _erase(self, pick: float) -> None:
        """A rule may be lost by that, never come to be; the next complete list mends it."""
        leaves = self.etcd.store.list(PROFILES).entries
        if leaves:
            self.etcd.store.delete(leaves[int(pick * len(leaves))].key)

    def _kill(self, name: str, seconds: float) -> None:
        process = self.processes[name]
        self.scheduler.reap(process)
        process.start_at = self.scheduler.now() + seconds

    def _named(self, host: str) -> HostTwin:
        return next(each for each in self.hosts if each.name == host)

"""One cluster on twins: puts it together, and lives through a schedule."""

import hashlib
import random
from collections.abc import Callable

from reconciler.agent.reporting.metrics import AgentMetrics
from reconciler.controller.metrics import ControllerMetrics
from reconciler.runtime.clock import ManualClock
from tests.simulation.doors import Door
from tests.simulation.driver import Driver
from tests.simulation.faults import CHANGES, ChosenFaults, DrawnFaults, Fault, Place, render_fault
from tests.simulation.foreign import have_foreign
from tests.simulation.invariants import Invariants, Violation
from tests.simulation.operators import Operator
from tests.simulation.processes import POOL, AgentProcess, ControllerProcess, Surroundings
from tests.simulation.runtimes import Runtime
from tests.simulation.schedule import APPS, GROUPS, Schedule
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.tasks import Tasks
from tests.simulation.twins.etcd import EtcdClient, EtcdTwin
from tests.simulation.twins.host import HostTwin
from tests.simulation.twins.marathon import MarathonConnection, MarathonTwin

#: Seconds for the first start, and for the first tasks.
FIRST, SECOND = 8.0, 15.0
#: Seconds within which all must be as it should be once nothing goes wrong: a container
#: that was given an address and no link keeps it for 600.
SETTLED_WITHIN = 800.0
LOOK_EVERY = 10.0
#: Seconds that a hold may end by itself before somebody approves it.
OPERATOR_COMES = 120.0
#: Seconds for telling what was reached, and those that all must be quiet after.
TOLD_WITHIN = 80.0
QUIET = 120.0


class Metrics:
    """Made once for all runs: they say nothing here, and are dear to make."""

    def __init__(self) -> None:
        self.controller = ControllerMetrics()
        self.agent = AgentMetrics()


class World:
    """One run of one schedule."""

    def __init__(self, schedule: Schedule, metrics: Metrics) -> None:
        # The product's own library draws how long it waits from this.
        random.seed(schedule.seed)
        self._schedule = schedule
        chance = random.Random(schedule.seed)
        self.scheduler = Scheduler(ManualClock(), chance)
        self._faults = (
            DrawnFaults(schedule.seed) if schedule.faults is None else ChosenFaults(schedule.faults)
        )
        self.hits: list[tuple[Place, Fault]] = []
        self._digest = hashlib.sha256()
        self.lines: list[str] = []
        self._told = 0
        self._doors: dict[str, Door] = {}
        self._processes: dict[str, Process] = {}
        self.etcd = EtcdTwin(self.scheduler, chance)
        self.marathon = MarathonTwin(self.scheduler, chance)
        self.hosts = tuple(self._host(number) for number in range(schedule.hosts))
        self.invariants = Invariants(self.etcd, self.marathon, self.hosts)
        self._runtimes = tuple(map(self._runtime, self.hosts)) if schedule.attaches else ()
        self._operator = Operator(self.etcd.store, self.marathon, self._log)
        self._terminates: dict[str, Callable[[], Callable[[], None]]] = {}
        self.tasks = Tasks(self.hosts, self.marathon, self.invariants.touch, self._runtimes)
        surroundings = Surroundings(self.scheduler, chance, metrics.controller, metrics.agent)
        for number in range(schedule.controllers):
            self._add_controller(f"c{number}", surroundings)
        for host in self.hosts:
            self._add_agent(f"a{host.number}", surroundings, host)
        self._driver = Driver(
            self.scheduler,
            self.etcd,
            self.marathon,
            self.hosts,
            self.invariants,
            self.tasks,
            self._runtimes,
            self._operator,
            self._doors,
            self._processes,
            self._terminates,
        )

    @property
    def digest(self) -> str:
        """A name for exactly this run."""
        return self._digest.hexdigest()[:16]

    @property
    def operations(self) -> int:
        """Operations of all processes, at any of which one may fail."""
        return sum(door.operations for door in self._doors.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many operations there were while faults could happen, by process and kind."""
        return {
            f"{name}{kind}": count
            for name, door in self._doors.items()
            for kind, count in door.counts.items()
        }

    @property
    def events(self) -> int:
        """How many events Marathon told meanwhile."""
        return self.marathon.told - self._told

    def run(self) -> None:
        """Carry the schedule out; raises Violation."""
        try:
            self.begin()
            began = self.scheduler.now()
            for timed in self._schedule.actions:
                self._pass_time(began + timed.at - self.scheduler.now())
                self._log(str(timed.action))
                self.etcd.back_up()
                self._driver.act(timed.action)
            self._pass_time(began + self._schedule.ends - self.scheduler.now())
            self._calm()
            self._settle()
            if self._schedule.rests:
                self.rest()
        finally:
            self.scheduler.end()

    def begin(self) -> None:
        """Have a cluster with some tasks, of which all is well."""
        if self._schedule.from_start:
            self._open()
        self._pass_time(FIRST)
        # The pool is two blocks: a third host borrows.
        names = tuple(host.name for host in self.hosts[:2])
        have_foreign(self.etcd.store, POOL, names, self._schedule.foreign)
        for app, groups, tasks in zip(APPS, GROUPS, self._schedule.first_tasks, strict=True):
            self.marathon.deploy(app, groups)
            for number in range(tasks):
                self.tasks.start(app, number / tasks)
        self._pass_time(SECOND - FIRST)
        if not self._schedule.from_start:
            self._open()
        if self._schedule.chances:
            self.marathon.begin_faults()
            self.etcd.begin_faults()

    def _open(self) -> None:
        self._told = self.marathon.told
        self.marathon.forgets = self._told + self._schedule.forgotten_event
        for door in self._doors.values():
            door.open = True

    def _calm(self) -> None:
        """Nothing goes wrong from here on, and Marathon is right about every task."""
        self._log("calm")
        self.marathon.be_honest()
        self.etcd.end_faults()
        for door in self._doors.values():
            door.mend()
        for process in self._processes.values():
            process.paused_until = process.start_at = 0.0
        for host in self.hosts:
            host.blind_until = 0.0
            self.tasks.end_given_up(host)

    def _settle(self) -> None:
        began = self.scheduler.now()
        while self.scheduler.now() < began + SETTLED_WITHIN:
            self._pass_time(LOOK_EVERY)
            if self.scheduler.now() > began + OPERATOR_COMES:
                self.invariants.may_be_groupless = True
                self._operator.approve_all()
            if not self.etcd.expects_writes and not self.invariants.unsettled():
                self._log(f"settled after {self.scheduler.now() - began:.0f} s")
                return
        raise Violation(f"P8 {self.invariants.unsettled()}")

    def rest(self) -> None:
        """P13: what was reached stays, and nobody writes what is written already."""
        # What the last fault left is found by looks that are made each minute or so.
        self._pass_time(TOLD_WITHIN)
        self.invariants.writes.clear()
        self._pass_time(QUIET)
        if self.invariants.writes:
            raise Violation(f"P13 still written: {sorted(self.invariants.writes)}")
        if self.invariants.unsettled():
            raise Violation(f"P8 not for long: {self.invariants.unsettled()}")

    def _pass_time(self, seconds: float) -> None:
        self.scheduler.run(self.scheduler.now() + seconds, self._after_step, self._next_event)

    def _after_step(self, now: float) -> None:
        if self.etcd.soonest <= now:
            self.etcd.settle()
        if self.marathon.soonest <= now:
            self.marathon.settle()
        if self.scheduler.down:
            self._start_again(now)
        if self.scheduler.defects:
            raise Violation(f"defect: {self.scheduler.defects[0]}")
        if self.invariants.has_news:
            self.invariants.check()

    def _start_again(self, now: float) -> None:
        for process in self.scheduler.processes:
            if process in self.scheduler.down and process.start_at <= now:
                self._log(f"{process.name} starts")
                for host in self.hosts:
                    if process.name == f"a{host.number}":
                        host.is_on = True
                        self.invariants.begin_agent(host)
                process.start()

    def _next_event(self) -> float:
        soonest = min(self.etcd.soonest, self.marathon.soonest)
        for process in self.scheduler.down:
            soonest = min(soonest, process.start_at)
        return soonest

    def _log(self, line: str) -> None:
        text = f"{self.scheduler.now():9.3f} {self.scheduler.steps:7} {line}"
        self.lines.append(text)
        self._digest.update(text.encode())

    def _hit(self, place: Place, fault: Fault) -> None:
        self.hits.append((place, fault))
        self._log(render_fault(place, fault))

    def _host(self, number: int) -> HostTwin:
        def step() -> None:
            self._doors[f"a{number}"].step(CHANGES)

        def changed() -> None:
            self.invariants.touch(self.hosts[number])

        return HostTwin(number, step, changed)

    def _add_controller(self, name: str, surroundings: Surroundings) -> None:
        door = self._door(name)
        controller = ControllerProcess(
            surroundings,
            EtcdClient(self.etcd, door, self.scheduler),
            MarathonConnection(self.marathon, door, self.scheduler),
            self.marathon.follow,
        )
        door.process.main = controller.main
        self._terminates[name] = lambda: controller.terminate

    def _add_agent(self, name: str, surroundings: Surroundings, host: HostTwin) -> None:
        door = self._door(name)
        store = EtcdClient(self.etcd, door, self.scheduler)
        runtime = self._runtimes[host.number] if self._runtimes else None
        agent = AgentProcess(surroundings, store, host, runtime)
        door.process.main = agent.main
        self._terminates[name] = lambda: agent.terminate

    def _runtime(self, host: HostTwin) -> Runtime:
        def touch() -> None:
            self.invariants.touch(host)

        return Runtime(self.scheduler, host, self.marathon, touch, self._log)

    def _door(self, name: str) -> Door:
        process = self.scheduler.process(name)
        door = Door(process, self.scheduler, self._faults.at, self._hit)
        self._processes[name], self._doors[name] = process, door
        return door

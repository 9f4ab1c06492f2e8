"""Runs a plan against a real cluster and says what was violated."""

from __future__ import annotations

import heapq
import itertools
import json
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, assert_never

from demo.embedded.control import ClusterGoneError
from tests.chaos.actions import (
    Action,
    Break,
    Cut,
    EndTask,
    Kill,
    Lasting,
    Pause,
    Split,
    Wish,
    describe,
)
from tests.chaos.figures import Figures
from tests.chaos.instruments import (
    APART,
    Instrument,
    InstrumentError,
    doors,
    find_leader,
    instrument,
    peer_door,
    proxy_socket,
)
from tests.chaos.judging import CutTime, Stall, suffers
from tests.chaos.plan import AGENTS, CONTROLLERS, ETCD, HOSTS, MASTER, Plan
from tests.chaos.wishes import Wishes
from tests.cluster.harness import Launched, launched, nothing_is_left
from tests.faults.door import Fault
from tests.faults.peers import ways
from tests.faults.switching import switch

CLUSTER = (
    "--supervised",
    *("--hosts", str(len(HOSTS)), "--etcd-members", str(len(ETCD))),
    *("--controllers", str(len(CONTROLLERS)), "--apart", str(APART)),
)
REPORT_SECONDS = 1.0
#: All is in place by then, at first; and again after the last fault.
SETTLE_SECONDS = 60.0
CONVERGE_SECONDS = 150.0
#: Nothing is left of what was deleted; what an agent missed is remembered while its address rests.
LEFT_SECONDS = 240.0
#: Between two looks at whether it is.
LOOK_SECONDS = 1.0
#: What is held for longer is looked at by an operator.
HELD_SECONDS = 30.0
#: So much is told of what is not in place yet.
WORDS = 800
Act = Callable[[], None]
#: They never end by themselves; a controller does that has lost its lease.
STEADY = (*AGENTS, "dns")
PRODUCT = (*CONTROLLERS, *STEADY)


class ViolationError(Exception):
    """A promise was broken; what was seen, and when."""


class Run:
    """A cluster under chaos."""

    def __init__(
        self,
        plan: Plan,
        running: Launched,
        sensors: Instrument,
        wires: Instrument,
        wishes: Wishes,
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self.cluster = running.cluster
        self._socket = proxy_socket(running.path)
        self._sensors = sensors
        self._wires = wires
        self._wishes = wishes
        self._say = say
        self._cuts: list[CutTime] = []
        self._splits: dict[Split, Sequence[tuple[str, str]]] = {}
        self._kills: Counter[str] = Counter()
        self._began = time.monotonic()
        self._reported = 0.0
        self.figures = Figures()

    def settle(self) -> None:
        """Have the first apps in place."""
        self._wishes.make(*self._plan.begin)
        took = self._await_place(SETTLE_SECONDS)
        self._say(f"{self._wishes.instances} tasks are in place after {took:.1f} s")

    def wreak(self) -> None:
        """Carry the plan out; raises ViolationError as soon as one is seen."""
        self._began = time.monotonic()
        order = itertools.count()
        due: list[tuple[float, int, Act]] = []
        for action in self._plan.actions:
            begin: Act = partial(self._begin, action)
            heapq.heappush(due, (action.at, next(order), begin))
            if isinstance(action, Lasting):
                end: Act = partial(self._end, action)
                heapq.heappush(due, (action.at + action.seconds, next(order), end))
        while due:
            at, _, act = heapq.heappop(due)
            while (left := self._began + at - time.monotonic()) > 0:
                time.sleep(min(left, 0.1))
                self._look()
            act()
        while time.monotonic() < self._began + self._plan.seconds:
            time.sleep(0.1)
            self._look()

    def converge(self) -> None:
        """All is as it should be again, all books agree, and in the end nothing is left."""
        self.figures.converged = self._await_place(CONVERGE_SECONDS)
        self._wishes.make(*(replace(wish, instances=0) for wish in self._plan.begin))
        self._await_place(LEFT_SECONDS)
        logs = {name: self.cluster.log(name) for name in PRODUCT}
        for name, log in logs.items():
            if "Traceback" in log:
                at = log.index("Traceback")
                raise self._violated(f"{name} wrote a traceback:\n{log[at - 300 : at + 3000]}")
        for name in STEADY:
            restarts = self.cluster.control.process(name).restarts
            if restarts > self._kills[name]:
                raise self._violated(f"{name} ended by itself:\n{logs[name][-3000:]}")

    def _await_place(self, seconds: float) -> float:
        began = time.monotonic()
        self._sensors.ask("clear")
        told = ""
        while True:
            report = self._look(now=True)
            wrong = self._wrong(report)
            if not wrong:
                return time.monotonic() - began
            kind = wrong.lstrip("0123456789").partition(":")[0]
            if kind != told:
                told = kind
                self._say(f"not in place yet: {wrong[:WORDS]}")
            if time.monotonic() - began > HELD_SECONDS:
                self._approve(frozenset(report["tasks"]))
            if time.monotonic() - began > seconds:
                raise self._violated(f"after {seconds:.0f} s without faults still: {wrong}")
            time.sleep(LOOK_SECONDS)

    def _approve(self, running: frozenset[str]) -> None:
        """Let go, as an operator would, what is held of tasks that have all ended."""
        held = self.cluster.product("holds", "-o", "json")
        for hold in json.loads(held.stdout) if held.returncode == 0 else ():
            if (
                hold["kind"] != "tasks"
                or hold["approved"]
                or not running.isdisjoint(hold["subjects"])
            ):
                continue
            self.cluster.product("holds", "approve", hold["plan"], "--yes")
            self.figures.approved += 1
            self._say(f"approved, of ended tasks: {hold['reason']}")

    def _wrong(self, report: dict[str, Any]) -> str:
        """The first thing that is not in place; the cheap ones are looked at first."""
        if not self._wishes.heard:
            return "Marathon has not agreed to the last deployment"
        if len(report["tasks"]) != self._wishes.instances:
            return f"{len(report['tasks'])} tasks of {self._wishes.instances}"
        if closed := report["closed"]:
            return f"{len(closed)} pairs that the groups allow are closed: {closed[:3]}"
        unopened = [flow for flow in report["flows"] if flow["opened"] is None]
        if unopened:
            return f"no connection: {unopened[:3]}"
        for words in (("diff",), ("ipam", "check")):
            result = self.cluster.product(*words)
            if result.returncode != 0:
                lines = f"{result.stderr}{result.stdout}".splitlines()
                said = [line for line in lines if line.startswith("PROBLEM")] or lines
                return "\n".join((f"{' '.join(words)}: {result.returncode}", *said))
        if not self._wishes.instances and not nothing_is_left(self.cluster):
            return "a container that has ended still holds something"
        return ""

    def _begin(self, action: Action) -> None:
        self._say(describe(action))
        self.figures.actions.append(action)
        control = self.cluster.control
        match action:
            case Kill(_, process):
                self._kills[process] += 1
                control.kill(process, signal.SIGKILL)
            case Pause(_, process, _):
                control.kill(process, signal.SIGSTOP)
            case Cut(_, host, others, _):
                for other in others:
                    self._wires.ask(f"cut {host} {other}")
                    self._cuts.append(CutTime(frozenset((host, other)), time.monotonic()))
            case Break(_, door, fault, _, delay):
                switch(self._socket, door, fault, delay)
            case Split():
                self._split(action)
            case EndTask(_, app):
                tasks = sorted(self._look(now=True)["tasks"])
                for task in [each for each in tasks if each.startswith(f"chaos_{app}.")][:1]:
                    self._sensors.ask(f"end {task}")
            case Wish():
                self._wishes.make(action)
            case _:
                assert_never(action)

    def _split(self, action: Split) -> None:
        member, others = action.member, action.others
        if action.leading and (found := find_leader(self.cluster)):
            member, others = found, tuple(each for each in ETCD if each != found)
            self._say(f"{member} leads")
        self._splits[action] = tuple(ways(member, others))
        for door, speaker in self._splits[action]:
            self._switch_way(door, speaker, action.fault)

    def _join(self, action: Split) -> None:
        ended = self._splits.pop(action)
        for way in ended:
            lasting = [split.fault for split, found in self._splits.items() if way in found]
            self._switch_way(*way, lasting[-1] if lasting else Fault.NONE)

    def _switch_way(self, door: str, speaker: str, fault: Fault) -> None:
        switch(self._socket, peer_door(door), fault, speaker=peer_door(speaker))

    def _end(self, action: Lasting) -> None:
        match action:
            case Pause(_, process, _):
                self.cluster.control.kill(process, signal.SIGCONT)
            case Cut(_, host, others, _):
                for other in others:
                    self._wires.ask(f"mend {host} {other}")
                ended = {frozenset((host, other)) for other in others}
                self._cuts = [
                    CutTime(cut.hosts, cut.begin, time.monotonic())
                    if cut.end is None and cut.hosts in ended
                    else cut
                    for cut in self._cuts
                ]
            case Break(_, door, _, _, _):
                switch(self._socket, door, Fault.NONE)
            case Split():
                self._join(action)
            case _:
                assert_never(action)

    def _look(self, now: bool = False) -> dict[str, Any]:
        """Hear of the sensors what happened, at most every second; a violation is raised."""
        while not self._sensors.told.empty():
            told = self._sensors.told.get()
            raise self._violated(told["violation"], told["at"])
        if not now and time.monotonic() - self._reported < REPORT_SECONDS:
            return {}
        self._reported = time.monotonic()
        report = self._sensors.ask("report")
        figures = self.figures
        figures.sent, figures.arrived = report["sent"], report["arrived"]
        figures.forbidden, figures.tasks = report["forbidden"], report["seen"]
        figures.late = max(figures.late, report["late"])
        for flow in report["flows"]:
            self._judge(flow, report["at"])
        return report

    def _judge(self, flow: dict[str, Any], now: float) -> None:
        source, target = flow["source"], flow["target"]
        one, two = flow["hosts"]
        if flow["opened"] is not None:
            self.figures.echoed[(source, target, flow["opened"])] = flow["echoed"]
        whole = f"the connection of {source} on {one} to {target} on {two}"
        if flow["broken"]:
            raise self._violated(f"{whole} broke: {flow['broken']}")
        stalls = list(flow["stalls"])
        if flow["standing"] is not None:
            stalls.append((flow["standing"], now))
        for begin, end in stalls:
            self.figures.longest = max(self.figures.longest, end - begin)
            if suffers(Stall((one, two), begin, end), self._cuts):
                raise self._violated(f"{whole} stood still for {end - begin:.1f} s", begin)

    def _violated(self, text: str, at: float | None = None) -> ViolationError:
        seconds = (time.monotonic() if at is None else at) - self._began
        return ViolationError(f"seed {self._plan.seed}, second {seconds:.1f}: {text}")


@contextmanager
def chaos(plan: Plan, say: Callable[[str], None]) -> Iterator[Run]:
    """A cluster that is ready for the plan; on a violation its logs are kept."""
    with ExitStack() as stack:
        running = stack.enter_context(launched(*CLUSTER))
        cluster = running.cluster
        status = cluster.control.status()
        master = next(host.address for host in status.hosts if host.name == MASTER)
        hosts = [[host.name, host.pid, host.address] for host in status.hosts]
        path = str(proxy_socket(running.path))
        enter = stack.enter_context
        enter(instrument(cluster, "proxy", "tests.faults", "serve", path, *doors(master)))
        wires = enter(instrument(cluster, "wires", "tests.chaos.wires", first=json.dumps(hosts)))
        # The master has no agent, and Marathon there may reach what declares its ports.
        senders = [f"{host.name}={host.pid}" for host in status.hosts if host.name != MASTER]
        words = ("tests.chaos.sensors", str(plan.seed), *senders)
        sensors = enter(instrument(cluster, "sensors", *words))
        wishes = enter(Wishes(cluster.marathon_url))
        try:
            yield Run(plan, running, sensors, wires, wishes, say)
        except (ViolationError, InstrumentError, ClusterGoneError):
            say(f"logs are kept in {keep_logs(running, plan)}")
            raise


def keep_logs(running: Launched, plan: Plan) -> Path:
    """A directory with what every process wrote."""
    directory = Path(tempfile.mkdtemp(prefix=f"marathon-calico-chaos-{plan.seed}-"))
    for name, log in running.cluster.logs():
        (directory / f"{name}.log").write_text(log)
    return directory

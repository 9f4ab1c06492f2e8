"""`python -m demo.embedded.supervisor PLAN`: the first process of the embedded cluster.

It makes the hosts, keeps their processes running and reaps every orphan. When
it ends, however it ends, the kernel ends everything else. It has one thread, so
that it may fork at any time.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, assert_never

import msgspec

from demo.embedded import control, namespaces
from demo.embedded.control import (
    Enter,
    HostStatus,
    Kill,
    Log,
    ProcessStatus,
    Reply,
    Request,
    Start,
    Status,
    Stop,
)
from demo.embedded.etcd_binary import EtcdMissingError, find_etcd
from demo.embedded.hosts import MASTER, HostError, HostPlan, connect_hosts, plan_hosts, start_host
from demo.embedded.processes import (
    EVERY_AGENT,
    PROJECT,
    ProcessSpec,
    Shape,
    etcd_urls,
    plan_processes,
    restart_delay,
)

LOGS = Path("/run/logs")
#: A process that ran this long has not failed quickly.
STEADY_SECONDS = 10.0


class ClusterPlan(msgspec.Struct, frozen=True):
    """What the launcher decided; the descriptors are inherited from it."""

    hosts: int
    without: tuple[str, ...]
    arguments: dict[str, tuple[str, ...]]
    supervised: bool
    shape: Shape
    marathon: int
    page: int
    control: int
    report: int
    lock: int
    lifeline: int | None

    @property
    def opened(self) -> tuple[int, int]:
        """The sockets that a person opens."""
        return self.marathon, self.page


class Refused(msgspec.Struct, frozen=True, tag=True):
    """To the launcher: the machine refuses a step."""

    step: str
    code: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """To the launcher: why there is no cluster."""

    reason: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """To the launcher: the hosts stand and the processes are being started."""


Report = Refused | Failed | Ready


class _Supervised:
    """One process and what its past says about its next start."""

    def __init__(self, spec: ProcessSpec, wanted: bool) -> None:
        self.spec = spec
        self.wanted = wanted
        self.pid: int | None = None
        self.started = 0.0
        self.starts = 0
        self.quick_failures = 0
        self.next_start = 0.0

    def ended(self, now: float) -> None:
        """Plan the next start; the first failure after a steady run costs little."""
        if now - self.started >= STEADY_SECONDS:
            self.quick_failures = 0
        self.next_start = now + restart_delay(self.quick_failures)
        self.quick_failures += 1
        self.pid = None


class Supervisor:
    """Keeps the processes of all hosts running and answers on the control socket."""

    def __init__(
        self,
        pid_by_host: Mapping[HostPlan, int],
        processes: Mapping[str, _Supervised],
        environment: Mapping[str, str],
    ) -> None:
        self._pid_by_host = {plan.name: pid for plan, pid in pid_by_host.items()}
        self._hosts = tuple(pid_by_host)
        self._processes = processes
        self._environment = dict(environment)

    def run(self, listener: socket.socket, lifeline: int | None) -> None:
        """Serve until the launcher's end of the lifeline closes or SIGTERM comes."""
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: None)
        with selectors.DefaultSelector() as selector:
            selector.register(wake_read, selectors.EVENT_READ)
            selector.register(listener, selectors.EVENT_READ)
            if lifeline is not None:
                selector.register(lifeline, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(self._start_due())}
                if lifeline in ready:
                    return
                if wake_read in ready and signal.SIGTERM in os.read(wake_read, 4096):
                    return
                self._reap()
                if listener.fileno() in ready:
                    self._serve(listener)

    def _start_due(self) -> float | None:
        """Start what is due; returns the seconds until the next start."""
        now = time.monotonic()
        waits = []
        for process in self._processes.values():
            if not process.wanted or process.pid is not None:
                continue
            if process.next_start <= now:
                self._start(process, now)
            else:
                waits.append(process.next_start - now)
        return min(waits, default=None)

    def _start(self, process: _Supervised, now: float) -> None:
        spec = process.spec

        def child() -> NoReturn:
            _become(spec, self._pid_by_host[spec.host], self._environment)

        process.pid = namespaces.fork(child)
        process.started = now
        process.starts += 1

    def _reap(self) -> None:
        now = time.monotonic()
        by_pid = {process.pid: process for process in self._processes.values()}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (process := by_pid.get(pid)) is not None:
                code = os.waitstatus_to_exitcode(status)
                sys.stderr.write(f"{process.spec.name} ended with {code}\n")
                process.ended(now)

    def _serve(self, listener: socket.socket) -> None:
        channel, _ = listener.accept()
        with channel:
            # Whoever may connect owns the cluster; a client that says nothing
            # for a second is only kept from halting it.
            channel.settimeout(1.0)
            try:
                packet = channel.recv(control.PACKET_LIMIT)
                request = msgspec.json.decode(packet, type=Request)
            except (OSError, msgspec.MsgspecError):
                return
            try:
                reply, descriptors = self._answer(request)
            except KeyError as error:
                unknown = f"there is no host or process {error.args[0]!r}; `status` lists them"
                reply, descriptors = Reply(error=unknown), []
            except OSError as error:
                reply, descriptors = Reply(error=str(error)), []
            control.answer(channel, reply, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)

    def _answer(self, request: Request) -> tuple[Reply, list[int]]:
        match request:
            case Status():
                return self._status(), []
            case Start(name):
                self._processes[name].wanted = True
                self._processes[name].next_start = 0.0
            case Stop(name):
                self._processes[name].wanted = False
                self._signal(name, signal.SIGKILL)
            case Kill(name, number):
                self._signal(name, number)
            case Enter(host):
                kinds, descriptors = control.open_all(self._pid_by_host[host])
                return Reply(kinds=kinds, environment=self._environment), descriptors
            case Log(name):
                self._processes[name]
                return Reply(), [os.open(_log(name), os.O_RDONLY | os.O_CLOEXEC | os.O_CREAT)]
            case _:
                assert_never(request)
        return Reply(), []

    def _signal(self, name: str, number: int) -> None:
        pid = self._processes[name].pid
        if pid is not None:
            # Not reaped yet, hence nobody else's pid.
            os.kill(pid, number)

    def _status(self) -> Reply:
        return Reply(
            processes=tuple(
                ProcessStatus(
                    name=process.spec.name,
                    host=process.spec.host,
                    wanted=process.wanted,
                    pid=process.pid,
                    restarts=max(0, process.starts - 1),
                )
                for process in self._processes.values()
            ),
            hosts=tuple(
                HostStatus(plan.name, str(plan.address), self._pid_by_host[plan.name])
                for plan in self._hosts
            ),
            environment=self._environment,
        )


def main() -> None:
    """Build the cluster and supervise it; tell the launcher how it went."""
    plan = msgspec.json.decode(sys.argv[1], type=ClusterPlan)
    for descriptor in (*plan.opened, plan.control, plan.report, plan.lock, plan.lifeline):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
    if plan.lifeline is not None:
        namespaces.end_with_parent()
    try:
        namespaces.prepare_first_process()
        supervisor = _build(plan)
    except namespaces.NamespacesRefusedError as error:
        _report(plan, Refused(error.refusal.step, error.refusal.code))
        sys.exit(2)
    except (HostError, EtcdMissingError, OSError) as error:
        _report(plan, Failed(str(error)))
        sys.exit(1)
    _report(plan, Ready())
    with socket.socket(fileno=plan.control) as listener:
        supervisor.run(listener, plan.lifeline)
    sys.stderr.write("cluster ends\n")


def _build(plan: ClusterPlan) -> Supervisor:
    LOGS.mkdir()
    hosts = plan_hosts(plan.hosts)
    pid_by_host = {host: start_host(host, hosts) for host in hosts}
    connect_hosts(pid_by_host)
    specs = plan_processes(
        hosts,
        find_etcd(),
        plan.marathon,
        plan.page,
        plan.arguments,
        plan.supervised,
        plan.shape,
    )
    names = {spec.name for spec in specs}
    given = plan.arguments.keys() - ({EVERY_AGENT} if plan.supervised else set())
    if unknown := ({*plan.without, *given} - names):
        known = ", ".join(sorted(names))
        raise HostError(f"no process {', '.join(sorted(unknown))}; there are {known}")
    processes = {spec.name: _Supervised(spec, spec.name not in plan.without) for spec in specs}
    master = next(str(host.address) for host in hosts if host.name == MASTER)
    return Supervisor(
        pid_by_host, processes, _environment(etcd_urls(master, plan.shape.etcd_members))
    )


def _environment(etcd: Sequence[str]) -> dict[str, str]:
    """What every process of the cluster is given, whoever started the cluster."""
    programs = (str(Path(sys.executable).parent), "/usr/local/sbin", "/usr/local/bin")
    return {
        "PATH": os.pathsep.join((*programs, "/usr/sbin", "/usr/bin", "/sbin", "/bin")),
        "HOME": "/run",
        "TMPDIR": "/run",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "MARATHON_CALICO_ETCD": " ".join(etcd),
    }


def _become(spec: ProcessSpec, host: int, environment: Mapping[str, str]) -> NoReturn:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    log = os.open(_log(spec.name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    namespaces.join_all(namespaces.open_namespaces(host))
    os.chdir("/run")
    for descriptor in spec.descriptors:
        os.set_inheritable(descriptor, True)
    os.execve(spec.argv[0], spec.argv, dict(environment))


def _log(name: str) -> Path:
    return LOGS / f"{name}.log"


def _report(plan: ClusterPlan, report: Report) -> None:
    os.write(plan.report, msgspec.json.encode(report))
    os.close(plan.report)


if __name__ == "__main__":
    main()

"""From Marathon's event to a programmed kernel, and what the agent then weighs.

A real etcd, controller and agent on one host, and the smallest Marathon. The
clock starts when the event is handed to the stream and stops when the kernel
tells of the task's route, which is the last thing that the agent adds.
"""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from calico.dataplane.state import ROUTE_TABLE
from tests.bench.agent import status_megabytes
from tests.bench.report import Figure, median, quantile
from tests.kernel.namespaces import Namespace, fresh_network
from tests.minimal.machine import HOST, Machine, running_machine

RTMGRP_IPV4_ROUTE = 0x40
RTM_NEWROUTE = 24
RTN_UNICAST = 1
#: Files are kept in memory, as in the embedded cluster: the disk is not ours to measure.
MEMORY = "/dev/shm"
#: Seconds between two tasks, and how many make an app.
GAP = 0.2
INSTANCES = 10


def measure(tasks: int = 100) -> Iterator[Figure]:
    """Start tasks one after the other on an idle cluster, ten to an app."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(dir=MEMORY)))
        stack.enter_context(fresh_network())
        machine = stack.enter_context(running_machine(directory))
        machine.start("controller")
        machine.start("agent")
        machine.wait_for("a stream", lambda: machine.marathon.streams > 0)
        monitor = stack.enter_context(_route_monitor())
        machine.marathon.put("/idle", [], ["g"])
        machine.wait_for("an agent", lambda: machine.cli("get", "hosts", HOST).returncode == 0)
        seconds = []
        for number in range(tasks):
            task = Namespace.start()
            stack.callback(task.end)
            app = number // INSTANCES
            names = [f"t{n}" for n in range(app * INSTANCES, number + 1)]
            seconds.append(_deploy(machine, monitor, f"/app{app}", names, task))
            time.sleep(GAP)
        milliseconds = [1000 * each for each in seconds]
        yield Figure("event to programmed kernel, median", median(milliseconds), "ms", 20)
        yield Figure("event to programmed kernel, p99", quantile(milliseconds, 0.99), "ms", 100)
        for name in ("agent", "controller"):
            limit = 70 if name == "agent" else None
            yield Figure(
                f"resident memory of the {name} at {tasks} tasks",
                status_megabytes(machine.processes[name].pid, "VmRSS"),
                "MB",
                limit,
            )


def _deploy(
    machine: Machine, monitor: socket.socket, app: str, names: list[str], task: Namespace
) -> float:
    """Let the last of an app's tasks start running."""
    machine.mesos.pids[names[-1]] = task.pid
    machine.marathon.put(app, [(name, HOST) for name in names], ["g"])
    started = time.perf_counter()
    machine.marathon.tell(app, names[-1], HOST, "TASK_RUNNING")
    _await_task_route(monitor)
    return time.perf_counter() - started


def _route_monitor() -> socket.socket:
    monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    monitor.bind((0, RTMGRP_IPV4_ROUTE))
    monitor.settimeout(20)
    return monitor


def _await_task_route(monitor: socket.socket) -> None:
    while True:
        packet = monitor.recv(65536)
        offset = 0
        while offset < len(packet):
            length, kind = struct.unpack_from("=IH", packet, offset)
            _, prefix, _, _, table, _, _, route = struct.unpack_from("=8B", packet, offset + 16)
            if (kind, prefix, table, route) == (RTM_NEWROUTE, 32, ROUTE_TABLE, RTN_UNICAST):
                return
            offset += (length + 3) & ~3

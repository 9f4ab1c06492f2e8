"""Questions a second of a core's time, against a loop that only sends datagrams back.

The server and the one that asks have a core each, in turn with the reference:
a loop of `recvfrom` and `sendto`, which is the most that one thread of this
language can do. What others use of the core does not count.
"""

import multiprocessing
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import dnslib

from calico.keys import TASKS as TASKS_KEY
from reconciler.dns.world import PREFIXES, World
from reconciler.dns.zone import Zone
from tests.bench.report import Line, Unavailable, figure
from tests.dns_worlds import Cluster, Wanted, served

ROUNDS = 5
SECONDS = 1.0
#: Questions on their way: enough that the server never waits.
WINDOW = 32
TASKS = 10_000
APPS = 2_000
LEAST = 10_000


def measure() -> Iterator[Line]:
    """The reference and the server in turn, over names of one and of many instances."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Unavailable("two cores: one for the server, one for whoever asks")
    own = os.sched_getaffinity(0)
    first, second, *_ = sorted(own)
    os.sched_setaffinity(0, {second})
    try:
        with _process(_echo, first) as echo, _process(_serve, first) as dns:
            yield from _compare(echo, dns)
            yield from _changes()
    finally:
        os.sched_setaffinity(0, own)


def _compare(echo: "_Server", dns: "_Server") -> Iterator[Line]:
    hot = [_question("probe-0.star.marathon.mesos", "A")]
    many = [_question(f"probe-{each}.star.marathon.mesos", "A") for each in range(APPS)]
    services = [_question(f"_probe-{each}-star._tcp.marathon.mesos", "SRV") for each in range(APPS)]
    nothing = [_question(f"probe-{each}.star.marathon.mesos", "AAAA") for each in range(APPS)]
    absent = [_question(f"absent-{each}.star.marathon.mesos", "A") for each in range(APPS)]
    for name, questions, least in (
        ("one name", hot, LEAST),
        (f"{APPS} names of {TASKS // APPS} tasks", many, LEAST),
        (f"{APPS} services, with addresses", services, LEAST),
        (f"{APPS} names without such a record", nothing, LEAST),
        (f"{APPS} names that are none", absent, None),
    ):
        dns.rate(questions)
        rates, ratios = [], []
        for _ in range(ROUNDS):
            reference = echo.rate(questions)
            rate = dns.rate(questions)
            rates.append(rate)
            ratios.append(rate / reference)
        yield figure(f"{name}: answers a second", rates, "/s", least=least)
        yield figure(f"{name}: of an echo's", ratios, "x")


def _changes() -> Iterator[Line]:
    """What it costs to take all tasks in, and then one change among them."""
    zone = Zone("mesos", "marathon")
    world, cluster = World(zone), _cluster()
    start = time.process_time()
    for prefix in PREFIXES:
        for _ in world.load(prefix, cluster.store.list(prefix)):
            pass
    yield figure(f"{TASKS} tasks taken in", [time.process_time() - start], "s")
    events = cluster.store.list(TASKS_KEY).revision
    for number in range(100):
        cluster.put(_task(number, f"/moved/probe-{number}"))
    took = []
    for event in cluster.store.watch(TASKS_KEY, events, 0.0):
        start = time.perf_counter()
        world.apply(TASKS_KEY, event)
        took.append((time.perf_counter() - start) * 1000)
    yield figure(f"one of {TASKS} tasks changed", took, "ms", 1.0)


def _question(name: str, kind: str) -> bytes:
    return bytes(dnslib.DNSRecord.question(name, kind).pack())


@dataclass(frozen=True, slots=True)
class _Server:
    """Something that answers, and the process that it is."""

    port: int
    pid: int

    def rate(self, questions: list[bytes]) -> float:
        """Answers a second of its time, with as many questions under way as the window has."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.connect(("127.0.0.1", self.port))
            channel.settimeout(5.0)
            order = questions * (4096 // len(questions) + 1)
            random.shuffle(order)
            answered, size = 0, len(order)
            send, receive = channel.send, channel.recv
            used = self._used()
            for each in order[:WINDOW]:
                send(each)
            while self._used() - used < SECONDS:
                for _ in range(50 * WINDOW):
                    receive(2048)
                    answered += 1
                    send(order[answered % size])
            return answered / (self._used() - used)

    def _used(self) -> float:
        """The seconds of a core that it had until now."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _process(run: Callable[[Connection], None], core: int) -> Iterator[_Server]:
    """Something that answers, in a process on a core of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_pinned, args=(run, core, theirs), daemon=True)
    process.start()
    try:
        assert process.pid is not None
        yield _Server(ours.recv(), process.pid)
    finally:
        process.kill()
        process.join()


def _pinned(run: Callable[[Connection], None], core: int, ready: Connection) -> None:
    os.sched_setaffinity(0, {core})
    run(ready)


def _echo(ready: Connection) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", 0))
        ready.send(channel.getsockname()[1])
        while True:
            message, peer = channel.recvfrom(4096)
            channel.sendto(message, peer)


def _serve(ready: Connection) -> None:
    with served(_cluster()) as running:
        while not running.server.readiness().ok:
            time.sleep(0.01)
        ready.send(running.asker.address.port)
        threading.Event().wait()


def _cluster() -> Cluster:
    cluster = Cluster()
    cluster.start()
    for number in range(TASKS):
        cluster.put(_task(number, f"/star/probe-{number % APPS}"))
    return cluster


def _task(number: int, app: str) -> Wanted:
    address = f"192.168.{number // 250}.{number % 250 + 1}"
    return Wanted(f"star_probe.{number}", app, (address,))

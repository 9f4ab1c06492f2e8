"""A packet that an earlier table let pass, and that nobody tracks yet, is waited for."""

import math
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from netaddr import IPAddress

from calico.dataplane.changes import CommitTable
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.netlink import conntrack
from calico.dataplane.nft.expr import DROP, rule
from calico.dataplane.state import BaseHook, Chain
from tests.kernel.namespaces import Namespace
from tests.kernel.test_kernel_dataplane import connected, done, marking
from tests.kernel.test_links import wired

SENDER, TARGET, PORT = IPAddress("10.9.0.1"), IPAddress("10.9.0.2"), 9000
CLOSED = CommitTable(
    chains=(Chain("forward", (rule(DROP),), BaseHook("filter", "forward", 0, "drop")),)
)
#: How many rules a packet meets behind our table in one round, and the most rounds.
RULES, MOST_ROUNDS = 4000, 20000
AT_A_TIME = 500
#: A packet is under way this many times as long as it takes to read connections.
TIMES_OF_READING = 4
ATTEMPTS = 10


@pytest.fixture
def dataplane(host_network: None) -> Iterator[KernelDataplane]:
    with closing(KernelDataplane()) as made:
        yield made


@contextmanager
def on_cpu(number: int) -> Iterator[None]:
    """Keep the calling thread on one CPU; a packet holds that of the thread that sends it."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def nft(*lines: str) -> None:
    """Carry lines out, so many at a time as an ordinary user's socket takes."""
    for first in range(0, len(lines), AT_A_TIME):
        text = "\n".join(lines[first : first + AT_A_TIME])
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True, timeout=60)


def look_long(rounds: int) -> None:
    """Have another program's firewall, behind our table, look longer at each packet."""
    nft(*["add rule ip slow forward jump look"] * rounds)


def seconds_of(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two CPUs are needed: one is held")
def test_what_was_let_pass_before_a_commit_is_among_the_connections_after_it(
    dataplane: KernelDataplane, namespace: Callable[[], Namespace]
) -> None:
    ours, theirs, *_ = sorted(os.sched_getaffinity(0))
    one, two = namespace(), namespace()
    done(dataplane, *connected((wired(1), one), (wired(2), two)))
    sender = one.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(port: int) -> None:
        # The kernel carries the packet to its end before it comes back.
        sender.sendto(b"x", (str(TARGET), port))

    # given packets that are under way for longer than connections are read
    nft(
        "add table ip slow",
        "add chain ip slow look",
        *["add rule ip slow look meta mark 0x7fffffff drop"] * RULES,
        "add chain ip slow forward { type filter hook forward priority 10; }",
    )
    look_long(100)
    reading = seconds_of(lambda: conntrack.read([SENDER]))
    rounds = math.ceil(100 * TIMES_OF_READING * reading / seconds_of(lambda: send(PORT)))
    look_long(min(rounds, MOST_ROUNDS))

    # when the table is closed while one is
    for port in range(PORT + 1, PORT + 1 + ATTEMPTS):
        ended: list[float] = []

        def send_from_there(port: int = port, ended: list[float] = ended) -> None:
            with on_cpu(theirs):
                send(port)
            ended.append(time.monotonic())

        with on_cpu(ours):
            thread = threading.Thread(target=send_from_there)
            thread.start()
            time.sleep(reading / 10)
            done(dataplane, CLOSED)
            closed = time.monotonic()
            found = dataplane.connections([SENDER])
            thread.join()
        if ended[0] > closed + 2 * reading:
            break
        done(dataplane, marking())
    else:
        pytest.fail("no packet was under way when the table was closed")

    # then its connection is found, although it came to be only later
    assert port in {connection.destination_port for connection in found}

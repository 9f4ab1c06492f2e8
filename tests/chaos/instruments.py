"""The processes that a chaos run has inside of the cluster: proxy, wires, sensors."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from demo.embedded.cluster import Cluster
from demo.embedded.hosts import MASTER
from demo.embedded.processes import MARATHON_PORT, etcd_peer_urls, etcd_urls
from tests.chaos.plan import ETCD
from tests.faults.door import Address, parse_address

APART = 10000
START_SECONDS = 20.0
ANSWER_SECONDS = 20.0
#: Prints for each member of etcd what it takes itself for.
ASK_MEMBERS = """
import json, sys, urllib.request
for url in sys.argv[1:]:
    try:
        with urllib.request.urlopen(f"{url}/v2/stats/self", timeout=0.5) as answer:
            print(json.load(answer)["state"], flush=True)
    except (OSError, ValueError):
        print("silent", flush=True)
"""


class InstrumentError(Exception):
    """One of them ended or does not answer: the run shows nothing."""


class Instrument:
    """A process that answers each line with a line; what it tells unasked goes into `told`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self._name = name
        self._process = process
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, name=name, daemon=True).start()

    def ask(self, line: str) -> dict[str, Any]:
        """Its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
            answer = self._answers.get(timeout=ANSWER_SECONDS)
        except (OSError, queue.Empty) as error:
            raise InstrumentError(f"{self._name} does not answer: {error!r}") from error
        if answer is None:
            raise InstrumentError(f"{self._name} has ended")
        return answer

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told: dict[str, Any] = json.loads(line)
            (self.told if "violation" in told else self._answers).put(told)
        self._answers.put(None)


@contextmanager
def instrument(
    cluster: Cluster, name: str, module: str, *arguments: str, first: str = ""
) -> Iterator[Instrument]:
    """One that runs on the master until the body is over; `first` is its first line of input."""
    process = cluster.popen(
        MASTER,
        (sys.executable, "-m", module, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        interruptible=False,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        if first:
            process.stdin.write(f"{first}\n".encode())
            process.stdin.flush()
        if process.stdout.readline() != b"ready\n":
            raise InstrumentError(f"{name} does not start")
        yield Instrument(name, process)
    finally:
        process.kill()
        process.wait()


def doors(master: str) -> Sequence[str]:
    """What the proxy is told: where each door is, and what is behind it."""
    places = dict(zip(ETCD, etcd_urls(master, len(ETCD)), strict=True))
    peers = etcd_peer_urls(master, len(ETCD))
    places |= {peer_door(name): url for name, url in zip(ETCD, peers, strict=True)}
    places["marathon"] = f"http://{master}:{MARATHON_PORT}"
    return [f"{name}={parse_address(url)}={_apart(url)}" for name, url in places.items()]


def peer_door(member: str) -> str:
    """By which others speak to this member of etcd, and it to those whose door it is not."""
    return f"{member}-peers"


def find_leader(cluster: Cluster) -> str | None:
    """The member of etcd that leads, by its own word; None if none says so at once."""
    urls = (f"http://{_apart(url)}" for url in etcd_urls("127.0.0.1", len(ETCD)))
    said = cluster.run(MASTER, (sys.executable, "-S", "-c", ASK_MEMBERS, *urls)).stdout.split()
    return dict(zip(said, ETCD, strict=False)).get("StateLeader")


def _apart(url: str) -> Address:
    """Where that really listens which all look for there."""
    at = parse_address(url)
    return replace(at, port=at.port + APART)


def proxy_socket(directory: Path) -> Path:
    """Where the proxy is switched."""
    return directory / "faults.sock"

"""A real etcd of three members on loopback, any of which may be cut off from the others.

What members say to each other passes by a proxy that reads who speaks: so one
of them can be cut off while it goes on serving clients, which is what a broken
network between racks looks like.
"""

import itertools
import json
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.contract.real_etcd import START_WITHIN, etcd_binary, free_port
from tests.faults.door import Fault
from tests.faults.peers import ways
from tests.faults.proxy import Proxy, proxied

NAMES = ("one", "two", "three")


class PeerNetwork:
    """What lies between the members."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    @property
    def urls(self) -> Mapping[str, str]:
        """Where members are told that others listen, by name."""
        return {name: door.url for name, door in self._proxy.doors.items()}

    def cut_off(self, name: str) -> None:
        """From now on nothing passes between this member and the others; empty: all does."""
        for one, other in itertools.combinations(NAMES, 2):
            fault = Fault.CUT if name in (one, other) else Fault.NONE
            for door, speaker in ways(one, (other,)):
                self._proxy.switch(door, fault, speaker=speaker)


@dataclass
class Members:
    """Three members; `urls` are where each serves clients, by name."""

    urls: Mapping[str, str]
    network: PeerNetwork
    processes: Mapping[str, subprocess.Popen[bytes]]

    def order(self, *first: str) -> tuple[str, ...]:
        """The URLs of these members, and of no other."""
        return tuple(self.urls[name] for name in first)

    @property
    def leader(self) -> str:
        """The member that leads the others, empty while none does."""
        for name, url in self.urls.items():
            with suppress(OSError, ValueError):
                said = _get(f"{url}/v2/stats/self")
                if said["state"] == "StateLeader":
                    return name
        return ""

    def kill(self, name: str) -> None:
        """End a member at once."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def await_leader(self, *, among: Sequence[str]) -> str:
        """Return the one of these that leads, once one does."""
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline:
            for name in among:
                with suppress(OSError, ValueError):
                    if _get(f"{self.urls[name]}/v2/stats/self")["state"] == "StateLeader":
                        return name
            time.sleep(0.05)
        raise TimeoutError(f"none of {among} leads")


@contextmanager
def three_members(directory: Path) -> Iterator[Members]:
    """Three members that have a leader; another process may take a port, so try again."""
    for attempt in range(3):
        with _started(directory / str(attempt)) as members:
            if members is not None:
                yield members
                return
    raise RuntimeError(f"etcd did not start, see {directory}")


@contextmanager
def _started(directory: Path) -> Iterator[Members | None]:
    clients = {name: free_port() for name in NAMES}
    peers = {name: free_port() for name in NAMES}
    with proxied({name: f"127.0.0.1:{port}" for name, port in peers.items()}) as proxy:
        network = PeerNetwork(proxy)
        processes = {
            name: _start(directory / name, name, clients[name], peers[name], network.urls)
            for name in NAMES
        }
        try:
            urls = {name: f"http://127.0.0.1:{port}" for name, port in clients.items()}
            members = Members(urls, network, processes)
            yield members if _is_ready(members) else None
        finally:
            for process in processes.values():
                process.kill()
            for process in processes.values():
                process.wait()


def _start(
    directory: Path, name: str, client: int, peer: int, urls: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    binary = etcd_binary()
    if binary is None:
        raise FileNotFoundError("etcd is neither in the virtual environment nor on the PATH")
    directory.mkdir(parents=True)
    served = f"http://127.0.0.1:{client}"
    command = [
        *(binary, "--name", name, "--data-dir", str(directory / "data"), "--enable-v2=true"),
        *("--listen-client-urls", served, "--advertise-client-urls", served),
        *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
        *("--initial-advertise-peer-urls", urls[name]),
        *("--initial-cluster", ",".join(f"{each}={url}" for each, url in urls.items())),
        *("--heartbeat-interval", "50", "--election-timeout", "500", "--unsafe-no-fsync"),
    ]
    setpriv = shutil.which("setpriv")
    if setpriv is not None:
        # Not to be left behind when the test runner is killed.
        command = [setpriv, "--pdeathsig", "KILL", "--", *command]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _is_ready(members: Members) -> bool:
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process in members.processes.values()):
            return False
        with suppress(OSError, ValueError):
            listed = _get(f"{members.urls['one']}/v2/members")["members"]
            healthy = all(
                _get(f"{url}/health")["health"] == "true" for url in members.urls.values()
            )
            if healthy and len(listed) == len(NAMES):
                return bool(members.leader)
        time.sleep(0.05)
    return False


def _get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=2) as answer:
        return dict(json.loads(answer.read()))

"""A real etcd of three members on loopback, any of which may be cut off from the others.

What members say to each other passes by a proxy that reads who speaks: so one
of them can be cut off while it goes on serving clients, which is what a broken
network between racks looks like.
"""

import asyncio
import json
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.contract.real_etcd import START_WITHIN, etcd_binary, free_port

NAMES = ("one", "two", "three")
_SPEAKER = re.compile(rb"X-Server-From: ([0-9a-f]+)")


class _Link:
    """One connection between two members; who made it is known once it has said so."""

    def __init__(self, target: str, client: asyncio.StreamWriter) -> None:
        self.target = target
        self.speaker = ""
        self._writers = [client]

    def add(self, server: asyncio.StreamWriter) -> None:
        self._writers.append(server)

    def hear(self, piece: bytes) -> None:
        found = _SPEAKER.search(piece)
        if found:
            self.speaker = found[1].decode()

    def abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


class PeerNetwork:
    """What lies between the members; runs in a thread of its own."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        """`ports` are where members really listen, by name."""
        self._ports = ports
        self._loop = asyncio.get_running_loop()
        self._links: set[_Link] = set()
        self._ended = asyncio.Event()
        self._cut = ""
        #: Where members are told that others listen, by name.
        self.urls: dict[str, str] = {}
        #: The ids by which members speak of themselves, by name.
        self.ids: Mapping[str, str] = {}

    async def serve(self, started: "queue.SimpleQueue[PeerNetwork]") -> None:
        """Pass on until ended."""
        servers = []
        for name in self._ports:

            async def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name
            ) -> None:
                await self._pass(name, reader, writer)

            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            servers.append(server)
            self.urls[name] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.put(self)
        await self._ended.wait()
        for server in servers:
            server.close()
        for link in list(self._links):
            link.abort()

    def cut_off(self, name: str) -> None:
        """From now on nothing passes between this member and the others; empty: all does."""
        asyncio.run_coroutine_threadsafe(self._set_cut(name), self._loop).result(5)

    def end(self) -> None:
        """Let the thread go."""
        self._loop.call_soon_threadsafe(self._ended.set)

    async def _set_cut(self, name: str) -> None:
        self._cut = name
        for link in list(self._links):
            if self._is_cut(link) or not link.speaker:
                link.abort()

    def _is_cut(self, link: _Link) -> bool:
        return bool(self._cut) and (
            link.target == self._cut or link.speaker == self.ids.get(self._cut)
        )

    async def _pass(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        link = _Link(name, writer)
        self._links.add(link)
        try:
            behind, server = await asyncio.open_connection("127.0.0.1", self._ports[name])
            link.add(server)
            await asyncio.gather(
                self._pump(link, reader, server, asks=True),
                self._pump(link, behind, writer, asks=False),
            )
        except OSError:
            pass
        finally:
            self._links.discard(link)
            link.abort()

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asks: bool
    ) -> None:
        while piece := await reader.read(1 << 16):
            if asks:
                link.hear(piece)
            if self._is_cut(link):
                break
            writer.write(piece)
            await writer.drain()
        link.abort()


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
    with _network(peers) as network:
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


@contextmanager
def _network(ports: Mapping[str, int]) -> Iterator[PeerNetwork]:
    started: queue.SimpleQueue[PeerNetwork] = queue.SimpleQueue()

    async def serve() -> None:
        await PeerNetwork(ports).serve(started)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="peers")
    thread.start()
    network = started.get(timeout=5)
    try:
        yield network
    finally:
        network.end()
        thread.join()


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
                members.network.ids = {each["name"]: each["id"] for each in listed}
                return bool(members.leader)
        time.sleep(0.05)
    return False


def _get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=2) as answer:
        return dict(json.loads(answer.read()))

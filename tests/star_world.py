"""Star on loopback: real probes, a real collector, doors that open and shut, and told facts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
COLLECT = "collect"
GROUPS = {
    "a": ("star-1",),
    "b": ("star-1",),
    "c": ("star-2",),
    "d": ("star-2",),
    COLLECT: ("star-1", "star-2", "public"),
}
WITHIN = 20.0
Json = dict[str, Any]


def wait_until(true: Callable[[], bool], what: str, within: float = WITHIN) -> None:
    """Look again until it holds."""
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}")
        threading.Event().wait(0.05)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at any address, each another one."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("0.0.0.0", 0))
        return [int(each.getsockname()[1]) for each in held]


@dataclass(frozen=True)
class Got:
    """An answer, whatever its status."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(
    url: str,
    method: str = "GET",
    document: object = None,
    headers: Mapping[str, str] | None = None,
) -> Got:
    """One request, as curl would send it."""
    body = None if document is None else json.dumps(document).encode()
    sent = {"Content-Type": "application/json"} if body is not None else {}
    request = urllib.request.Request(
        url, data=body, method=method, headers={**sent, **(headers or {})}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return Got(answer.status, answer.read(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Got(error.code, error.read(), dict(error.headers))


@contextmanager
def program(module: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of Star's programs, as the stand-in starts it; ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-m", module, *arguments],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def serving(answer: Callable[[str], tuple[int, bytes]], host: str, port: int) -> Iterator[int]:
    """A small HTTP server of the test's own; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", body.decode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who asks may leave early."""

    with Server((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Told:
    """What the facts' server tells; a test changes it while it is asked."""

    tasks: dict[str, Json] = field(default_factory=dict)
    ports: dict[tuple[str, str], int] = field(default_factory=dict)
    silent: bool = False

    def put(self, name: str, groups: Iterable[str], **fields: Any) -> None:
        """A task in place of the one of that name."""
        self.tasks[name] = {"groups": list(groups), **fields}

    def document(self) -> Json:
        tasks = dict(self.tasks)
        expected = [
            {
                "from": tasks[sender]["task"],
                "to": tasks[receiver]["task"],
                "port": port,
                "allowed": bool({*tasks[sender]["groups"]} & {*tasks[receiver]["groups"]}),
            }
            for (sender, receiver), port in self.ports.items()
            if sender in tasks and receiver in tasks
        ]
        hosts = [
            {"host": f"host-{n}", "addresses": [f"10.9.0.{n}"], "agent": "reporting", "tasks": 3}
            for n in (1, 2)
        ]
        return {
            "tasks": list(tasks.values()),
            "expected": expected,
            "hosts": hosts,
            "read_at": "2026-01-01T00:00:00+00:00",
        }

    def answer(self, path: str) -> tuple[int, bytes]:
        if self.silent:
            return 503, b"{}"
        if path.startswith("/why?"):
            return 200, f"DENIED  asked with {urlsplit(path).query}\n  because   so\n".encode()
        return 200, json.dumps(self.document()).encode()


class StarWorld:
    """Four probes and a collector; between two probes there is a door, open if groups agree."""

    def __init__(self, stack: ExitStack, *, facts: bool = True) -> None:
        self.names = [name for name in GROUPS if name != COLLECT]
        self.address = {name: f"127.0.31.{n}" for n, name in enumerate([*self.names, COLLECT], 1)}
        self.pairs = [(one, two) for one in self.names for two in self.names if one != two]
        ports = iter(free_ports(len(self.address) + len(self.pairs)))
        self.port = {name: next(ports) for name in self.address}
        self.door = {pair: next(ports) for pair in self.pairs}
        self.told = Told()
        self.probes: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = stack
        self._open: dict[tuple[str, str], ExitStack] = {}
        self._facts = facts
        self._flags: tuple[str, ...] = ()
        self.told.ports = {
            **self.door,
            **{(COLLECT, name): self.port[name] for name in self.names},
        }
        for name, groups in GROUPS.items():
            self.task(name, groups)

    def __enter__(self) -> Self:
        stack = self._stack
        stack.callback(self._shut_all)
        for pair in self.pairs:
            self.agree(*pair)
        for name in self.names:
            urls = ",".join(self.url(name, other) for other in self.names if other != name)
            flags = (f"--port={self.port[name]}", f"--urls={urls}")
            self.probes[name] = stack.enter_context(program("demo.star.probe", *flags))
        if self._facts:
            facts = stack.enter_context(serving(self.told.answer, "127.0.0.1", 0))
            self._flags = (f"--facts=http://127.0.0.1:{facts}",)
        self.start_collector()
        return self

    def start_collector(self) -> None:
        """One that knows of the probes; it is to be ended before another."""
        self.collector = self._stack.enter_context(
            program(
                "demo.star.collect",
                f"--port={self.port[COLLECT]}",
                *self._flags,
                MARATHON_APP_ID=f"/star-iso/{COLLECT}",
                HOST="host-2",
            )
        )
        wait_until(self._answers, "the collector answers")
        for name in self.names:
            self.add(name.upper(), f"http://{self.address[name]}:{self.port[name]}/status")

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def page(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port[COLLECT]}"

    def url(self, sender: str, receiver: str) -> str:
        """What one probe asks for when it probes another."""
        return f"http://{self.address[receiver]}:{self.door[sender, receiver]}/status"

    def add(self, name: str, url: str) -> Got:
        """Another resource."""
        return call(f"{self.page}/resources", "POST", {"id": name, "url": url})

    def task(self, name: str, groups: Iterable[str], number: int = 1, **fields: Any) -> None:
        """What is told of a task from now on."""
        app = name if name == COLLECT else f"probe-{name}"
        self.told.put(
            name,
            groups,
            **{
                "task": f"star-iso_{app}.{number}",
                "app": f"/star-iso/{app}",
                "host": "host-1" if name in "ac" else "host-2",
                "address": self.address[name],
                "ports": [],
                "verdict": "IN_SYNC",
                "reason": "",
                **fields,
            },
        )

    def regroup(self, name: str, groups: Iterable[str], number: int) -> None:
        """Another task under other groups, which is in sync only once all doors agree."""
        wanted = tuple(groups)
        self.task(name, wanted, number, verdict="PENDING", reason="not applied yet")
        for pair in self.pairs:
            if name in pair:
                self.agree(*pair)
        self.task(name, wanted, number)

    def restore(self) -> None:
        """Tasks, doors and facts as they were at first."""
        self.told.silent = False
        for name, groups in GROUPS.items():
            self.task(name, groups)
        for pair in self.pairs:
            self.agree(*pair)

    def agree(self, sender: str, receiver: str) -> None:
        """Open or shut a door as the groups that are told call for."""
        groups = [{*self.told.tasks[name]["groups"]} for name in (sender, receiver)]
        if groups[0] & groups[1]:
            self.open(sender, receiver)
        else:
            self.shut(sender, receiver)

    def open(self, sender: str, receiver: str) -> None:
        """One probe is answered by another from now on."""
        pair = (sender, receiver)
        if pair not in self._open:
            self._open[pair] = ExitStack()
            self._open[pair].enter_context(
                serving(lambda _: (200, b"{}"), self.address[receiver], self.door[pair])
            )

    def shut(self, sender: str, receiver: str) -> None:
        """It is not."""
        if opened := self._open.pop((sender, receiver), None):
            opened.close()

    def state(self) -> Json:
        """What the page is told now."""
        document: Json = call(f"{self.page}/state").json
        return document

    def states(self) -> dict[tuple[str, str], str]:
        """The state of each pair."""
        return {(cell["from"], cell["to"]): cell["state"] for cell in self.state()["cells"]}

    def settle(self) -> None:
        """Wait until every pair is as it should be."""
        wait_until(
            lambda: (
                (states := self.states()) != {}
                and len(states) == 16
                and all(state.startswith("ok") for state in states.values())
            ),
            "all pairs are as they should be",
        )

    def pause(self, name: str | None = None) -> None:
        """Stop the collector, or a probe, without ending it."""
        (self.probes[name] if name else self.collector).send_signal(signal.SIGSTOP)

    def resume(self, name: str | None = None) -> None:
        """Let it go on."""
        (self.probes[name] if name else self.collector).send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return call(f"{self.page}/resources").status == 200
        except OSError:
            return False

    def _shut_all(self) -> None:
        for pair in list(self._open):
            self.shut(*pair)


@contextmanager
def star_world(*, facts: bool = True) -> Iterator[StarWorld]:
    """A world that runs."""
    with ExitStack() as stack, StarWorld(stack, facts=facts) as world:
        yield world

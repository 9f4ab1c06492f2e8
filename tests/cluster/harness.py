"""Starts the embedded cluster as a person does, and drives it over REST."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.embedded import namespaces
from demo.embedded.cluster import Cluster
from demo.embedded.processes import PROJECT
from demo.stories.matrix import Cell, Outcome, Pair, judge_all
from demo.stories.rest import MarathonApi
from demo.stories.scene import Commands, Scene, Watcher
from tests.cluster.preloaded import Preloaded

COMMAND = (sys.executable, "-m", "demo")
START_SECONDS = 20.0
SETTLE_SECONDS = 40.0
LOOK_SECONDS = 0.1
REFUSED_CODE = 2

App = dict[str, Any]


class NotInTimeError(AssertionError):
    """Something that a test waits for did not come."""


@contextmanager
def directory() -> Iterator[Path]:
    """A short-named private directory, gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="mc-test-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def demo(path: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one subcommand of the demo on the cluster in a directory."""
    return subprocess.run(
        (*COMMAND, command, "--directory", str(path), *arguments),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Launched:
    """A cluster in the foreground of a process of ours."""

    process: subprocess.Popen[str]
    path: Path

    @property
    def cluster(self) -> Cluster:
        """The cluster that it runs."""
        return Cluster.attach(self.path)

    def end(self) -> None:
        """End it, whatever state it is in."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.communicate(timeout=20)


@contextmanager
def launched(*arguments: str) -> Iterator[Launched]:
    """A cluster in the foreground; skips where the machine refuses namespaces."""
    with directory() as path:
        process = subprocess.Popen(
            (*COMMAND, "up", "--directory", str(path), *arguments),
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Not even a killed test run leaves a cluster behind.
            preexec_fn=namespaces.end_with_parent,  # noqa: PLW1509 - it only makes a system call
        )
        running = Launched(process, path)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("Ctrl-C"):
                    break
            else:
                _, errors = process.communicate(timeout=20)
                if process.returncode == REFUSED_CODE:
                    pytest.skip(errors)
                raise AssertionError(errors)
            yield running
        finally:
            running.end()


class Drive:
    """What a test does with a running cluster."""

    def __init__(self, cluster: Cluster, marathon: MarathonApi, commands: Commands) -> None:
        self.cluster = cluster
        self.marathon = marathon
        self.commands = commands
        self.watcher = Watcher(cluster, marathon, commands)

    @classmethod
    @contextmanager
    def of(cls, cluster: Cluster) -> Iterator[Drive]:
        """Drive the cluster; on a failure, show what its processes last wrote."""
        with MarathonApi(cluster.marathon_url) as marathon, Preloaded.of(cluster) as commands:
            drive = cls(cluster, marathon, commands)
            try:
                yield drive
            except AssertionError:
                drive.print_logs()
                raise

    def deploy(self, group: str, apps: Sequence[App]) -> None:
        """PUT a group with exactly these apps."""
        self.marathon.wait(START_SECONDS)
        for app in apps:
            self.watcher.expect(f"{group}/{app['id']}", app)
        self.marathon.put_group({"id": group, "apps": list(apps)})

    def settle(self, count: int) -> Scene:
        """The scene once so many tasks are in place and every pair is as the groups call for.

        A leak at any time fails at once.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            scene = self.watcher.look()
            cells = self.measure(scene)
            wrong = [f"{cell} {pair}" for pair, cell in cells.items() if not cell.ok]
            unsettled = [actor for actor in scene.actors if not actor.settled]
            if len(scene.actors) == count and not wrong and not unsettled:
                return scene
            if time.monotonic() > deadline:
                lines = (f"{len(scene.actors)} of {count} tasks", *map(str, unsettled), *wrong)
                raise NotInTimeError("\n".join(lines))
            time.sleep(LOOK_SECONDS)

    def measure(self, scene: Scene, port: int | None = None) -> Mapping[Pair, Cell]:
        """Every pair beside what the groups call for; a leak fails."""
        tried = {
            pair: outcome
            for pair, outcome in self.watcher.reach(scene, port).items()
            if outcome is not Outcome.GONE
        }
        cells = judge_all(scene.senders, scene.targets, tried)
        leaks = [pair for pair, cell in cells.items() if cell is Cell.LEAK]
        assert not leaks
        return cells

    def remove(self, group: str) -> None:
        """Delete a group and wait until the product has forgotten its tasks."""
        tasks = [actor.task_id for actor in self.watcher.look(verdicts=False).actors]
        self.marathon.delete_group(group)
        wait_until(lambda: not any(self.watcher.knows(task) for task in tasks), "tasks stay listed")

    def print_logs(self) -> None:
        """Let pytest show what the processes last wrote."""
        for name, log in self.cluster.logs():
            print(f"--- {name}", *log.splitlines()[-30:], sep="\n")


def wait_until(reached: Callable[[], bool], otherwise: str, seconds: float = 30.0) -> None:
    """Return once it holds; fails when time is up."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise NotInTimeError(otherwise)
        time.sleep(LOOK_SECONDS)


def probe(name: str, *groups: str, linger: int = 0) -> App:
    """An app whose one task listens on port 9000 and belongs to the groups."""
    return {
        "id": name,
        "cmd": f"star-probe --port 9000 --linger {linger}",
        "cpus": 0.1,
        "mem": 32.0,
        "ipAddress": {
            "groups": list(groups),
            "discovery": {"ports": [{"name": "status", "number": 9000, "protocol": "tcp"}]},
        },
    }


def nothing_is_left(cluster: Cluster) -> bool:
    """Whether no container holds anything and every address is accounted for."""
    hosts = [each.name for each in cluster.control.status().hosts if each.name != "master"]
    left = [
        name
        for host in hosts
        for directory in (
            "/run/mesos/isolators/network/cni",
            "/run/marathon-calico/state/attachments",
        )
        for name in cluster.run(host, ("ls", directory)).stdout.split()
    ]
    return not left and cluster.product("ipam", "check").returncode == 0


@contextmanager
def namespaces_of(cluster: Cluster) -> Iterator[set[int]]:
    """The inodes of all namespaces that the cluster has of its own.

    They are held open, which keeps no process alive: or else the next cluster
    on this machine might be given the same numbers, and be taken for this one.
    """
    with ExitStack() as stack:
        held: list[int] = []
        for host in cluster.control.status().hosts:
            with cluster.control.namespaces(host.name) as (descriptors, _):
                held += map(os.dup, descriptors.values())
        pid = cluster.record.pid
        held += (os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in namespaces.JOIN_ORDER)
        for descriptor in held:
            stack.callback(os.close, descriptor)
        inodes = {os.fstat(descriptor).st_ino for descriptor in held}
        yield inodes - _inodes(Path("/proc/self"))


def processes_in(inodes: set[int]) -> set[str]:
    """The processes of this machine that are in any of the namespaces.

    A zombie has ended: that this machine's init has yet to reap it is not ours.
    """
    return {
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _inodes(entry) & inodes and not _is_zombie(entry)
    }


def _is_zombie(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _inodes(process: Path) -> set[int]:
    found = set()
    for kind in namespaces.JOIN_ORDER:
        # It may end while we look, or belong to somebody else.
        with suppress(OSError):
            found.add((process / "ns" / kind).stat().st_ino)
    return found

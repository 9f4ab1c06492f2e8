"""What a container waits for before its first instruction, against CNI's own plugins.

Both sides are called as a container's runtime calls them, in turn, each for a
namespace of its own: `ptp` with `host-local`, which keeps addresses in files of
this host, and our plugin with a real agent and a real etcd, which gives the
cluster's addresses and makes the container unreachable but for its host.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from reconciler.attach.install import install, plugin_file, render_plugin
from tests.bench.latency import MEMORY
from tests.bench.plugin import Plugin
from tests.bench.report import Figure, Line, Remark, figure, median
from tests.kernel.attached_host import running_host
from tests.kernel.namespaces import Namespace, fresh_network

ROUNDS = 40
CONFIG = json.dumps({"cniVersion": "0.4.0", "name": "calico", "type": "marathon-calico-cni"})


def measure(rounds: int = ROUNDS) -> Iterator[Line]:
    """Add and delete one container at a time, on an idle host."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(dir=MEMORY)))
        stack.enter_context(fresh_network())
        host = stack.enter_context(running_host(directory))
        theirs, ours = Plugin(directory), Ours(directory / "ours", host.socket)
        seconds: dict[str, list[float]] = {
            name: [] for name in ("ADD", "DEL", "their ADD", "their DEL", "start")
        }
        for _ in range(rounds):
            for name, plugin in (("their ", theirs), ("", ours)):
                task = Namespace.start()
                try:
                    for command in ("ADD", "DEL"):
                        seconds[name + command].append(plugin.call(command, task))
                finally:
                    task.end()
            seconds["start"].append(ours.start())
    yield _share("ADD", seconds, 0.5)
    yield _share("DEL", seconds)
    both = [[*map(sum, zip(seconds[f"{w}ADD"], seconds[f"{w}DEL"], strict=True))] for w in _WHO]
    yield figure("ADD and DEL, of those of `ptp` + `host-local`", _ratios(*both), "x")
    for name in ("ADD", "DEL", "their ADD", "their DEL"):
        yield Figure(name, 1000 * median(seconds[name]), "ms")
    start = median(seconds["start"])
    yield Figure("of ours the start of the interpreter alone", 1000 * start, "ms")
    share = start / median(seconds["their ADD"])
    yield Remark(f"An interpreter that does nothing takes {share:.2f}x of their whole ADD.")


_WHO = ("", "their ")


def _share(command: str, seconds: dict[str, list[float]], limit: float | None = None) -> Figure:
    ratios = _ratios(seconds[command], seconds[f"their {command}"])
    return figure(f"{command}, of that of `ptp` + `host-local`", ratios, "x", limit)


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [one / other for one, other in zip(ours, theirs, strict=True)]


class Ours:
    """Our plugin as it is installed."""

    def __init__(self, path: Path, socket: Path) -> None:
        self._path = path
        self._python = Path(sys.executable).resolve()
        install(plugin_file("--file", path, render_plugin("cni", socket, self._python)))

    def call(self, command: str, task: Namespace) -> float:
        """One call as a container's runtime makes it; the seconds it took."""
        environment = {
            **os.environ,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"task-{task.pid}",
            "CNI_NETNS": f"/proc/{task.pid}/ns/net",
            "CNI_IFNAME": "eth0",
        }
        return _timed([str(self._path)], CONFIG, environment)

    def start(self) -> float:
        """The seconds that an interpreter takes which does nothing."""
        return _timed([str(self._python), "-IS", "-c", ""], "", dict(os.environ))


def _timed(command: list[str], given: str, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        command, input=given, text=True, capture_output=True, env=environment, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr)
    return seconds

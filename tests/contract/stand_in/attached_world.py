"""A Mesos agent on a host of its own, with plugins that record how they are called."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from demo.embedded import namespaces
from demo.marathon.agents import HttpAgent
from demo.mesos.records import GroupOrder, Isolation, Json, LaunchOrder, TaskId, TaskRecord
from tests.contract.stand_in import fake_plugin
from tests.contract.stand_in.machine import ADDRESS
from tests.contract.stand_in.stand_in_world import PATIENCE

PROJECT = Path(__file__).resolve().parents[3]
ENDPOINT = f"{ADDRESS}:5051"
ADDRESSED = "10.77.1.7"
#: What a plugin of CNI 0.2.0 answers.
RESULT = {"cniVersion": "0.2.0", "ip4": {"ip": f"{ADDRESSED}/32"}}
INFO: Json = {
    "name": "net1",
    "groups": ["web"],
    "ip_addresses": [{"protocol": "IPv4"}],
    "labels": {"labels": [{"key": "tier", "value": "front"}]},
    "port_mappings": [{"host_port": 31005, "container_port": 8080, "protocol": "tcp"}],
}
UNNAMED: Json = {key: value for key, value in INFO.items() if key not in ("name", "port_mappings")}
SLEEPER = ("/bin/sleep", "1000")


class Host:
    """One machine, its files, and the Mesos agent that runs on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.programs = directory / "programs"
        self.config = directory / "config"
        self.root = self.state / "isolators/network/cni"
        self.client = HttpAgent(f"http://{ENDPOINT}")
        self._machine: subprocess.Popen[str] | None = None
        self._agent: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self.programs.mkdir(parents=True)
        self.config.mkdir()
        self.behave()
        self.install("fake")
        self.configure("net1")

    def install(self, name: str) -> Path:
        """Put the recording program in place under that name."""
        program = self.programs / name
        text = Path(fake_plugin.__file__).read_text()
        program.write_text(f"#!{sys.executable}\n{text}")
        program.chmod(0o755)
        return program

    def configure(self, name: str, **more: object) -> None:
        """Write the configuration of a network."""
        config = {"name": name, "type": "fake", "cniVersion": "0.2.0", **more}
        (self.config / f"{name}.conf").write_text(json.dumps(config))

    def behave(self, **by_command: object) -> None:
        """Say what the programs do from now on; all else is answered well."""
        add = {"stdout": json.dumps(RESULT), "wire": ADDRESSED}
        allocated = {"stdout": json.dumps({"ipv4": [ADDRESSED], "ipv6": [], "error": None})}
        isolated = {"stdout": '{"error": null}', "wire": ADDRESSED}
        done = {"stdout": '{"error": null}'}
        usual = {"ADD": add, "allocate": allocated, "isolate": isolated}
        usual |= dict.fromkeys(("release", "cleanup", "reserve"), done)
        content = json.dumps({**usual, **by_command})
        (self.programs / "new.json").write_text(content)
        (self.programs / "new.json").replace(self.programs / "behaviour.json")

    def allow(self, name: str) -> None:
        """Make the file that a program waits for."""
        (self.programs / name).touch()

    def calls(self) -> list[Json]:
        """What was asked of the programs so far, in order."""
        path = self.programs / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def commands(self) -> list[str]:
        """The commands of all calls."""
        return [call["command"] for call in self.calls()]

    def boot(self) -> None:
        """Start the machine; skips where namespaces are refused."""
        self._machine = subprocess.Popen(
            (sys.executable, "-m", "tests.contract.stand_in.machine"),
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._machine.stdout is not None
        line = self._machine.stdout.readline()
        if not line:
            _, errors = self._machine.communicate()
            if "Operation not permitted" in errors:
                pytest.skip("no right to make namespaces: run inside unshare")
            raise AssertionError(errors)
        self.pid = int(line)

    def start(self, *options: str, cni: bool = True) -> None:
        """Start the agent and wait until it answers."""
        flags = ["--network-cni-config-dir", str(self.config)]
        flags += ["--network-cni-plugins-dir", str(self.programs)]
        argv = [sys.executable, "-m", "demo.embedded.mesos_agent", "--name", "host-1"]
        argv += ["--listen", ENDPOINT, "--state-dir", str(self.state)]
        joined = namespaces.open_namespaces(self.pid)
        log = (self.directory / "agent.log").open("ab")
        # It forks, so that the agent is part of the machine's pid namespace.
        program = f"exec {shlex.join([*argv, *(flags if cni else ()), *options])}"
        self._agent = subprocess.Popen(
            ("/bin/sh", "-c", f"({program}) & echo $!; wait"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Joining the machine's mounts leads to their root.
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            preexec_fn=lambda: namespaces.join_all(joined),  # noqa: PLW1509 - it takes no lock
        )
        for descriptor in joined.values():
            os.close(descriptor)
        log.close()
        self.until(self._answers, "the agent answers")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the agent; its tasks live on."""
        if self._agent is None:
            return
        for child in self._children(self._agent.pid):
            os.kill(child, number)
        self._agent.wait(timeout=20)
        self._agent = None

    def shut_down(self) -> None:
        """End the machine with everything on it."""
        if self._machine is not None:
            self._machine.kill()
            self._machine.communicate(timeout=20)
        if self._agent is not None:
            self._agent.wait(timeout=20)
        self._machine = self._agent = None

    def launch(self, order: LaunchOrder) -> None:
        """Start a task."""
        with namespaces.network_of(self.pid):
            self.client.launch(order)

    def launch_group(self, group: GroupOrder) -> None:
        """Start a pod's instance."""
        with namespaces.network_of(self.pid):
            self.client.launch_group(group)

    def kill(self, task_id: str) -> None:
        """End a task."""
        with namespaces.network_of(self.pid):
            self.client.kill(TaskId(task_id))

    def record(self, task_id: str) -> TaskRecord:
        """What the agent says of a task now."""
        with namespaces.network_of(self.pid):
            tasks = self.client.tasks(-1, 0).tasks
        return next(record for record in tasks if record.task_id == task_id)

    def state_of(self, task_id: str, *wanted: str) -> TaskRecord:
        """The task's record, once it is in one of the wanted states."""
        self.until(
            lambda: self.record(task_id).state in wanted,
            lambda: f"{task_id} is {wanted}: {self.record(task_id)}",
        )
        return self.record(task_id)

    def get(self, path: str) -> Any:
        """The JSON of one of the agent's endpoints."""
        with (
            namespaces.network_of(self.pid),
            urllib.request.urlopen(f"http://{ENDPOINT}{path}", timeout=5) as reply,
        ):
            return json.load(reply)

    def run(self, *argv: str) -> str:
        """Run a command on the machine; what it wrote."""
        joined = namespaces.open_namespaces(self.pid)
        try:
            # It forks, so that the command sees the machine's processes.
            return subprocess.run(
                ("/bin/sh", "-c", f"({shlex.join(argv)})"),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=True,
                preexec_fn=lambda: namespaces.join_all(joined),
            ).stdout
        finally:
            for descriptor in joined.values():
                os.close(descriptor)

    def until(self, reached: Callable[[], bool], what: str | Callable[[], str]) -> None:
        """Return once it holds."""
        deadline = time.monotonic() + PATIENCE
        while not reached():
            if time.monotonic() > deadline:
                text = what if isinstance(what, str) else what()
                raise AssertionError(f"in vain: {text}\n{self.log()}")
            time.sleep(0.02)

    def sandbox(self, task_id: str) -> Path:
        """Where a task wrote what it said."""
        return self.state / "sandboxes" / self.record(task_id).container_id

    def log(self) -> str:
        """What the agent has written so far."""
        return (self.directory / "agent.log").read_text()

    def _answers(self) -> bool:
        with suppress(OSError):
            self.get("/health")
            return True
        return False

    @staticmethod
    def _children(pid: int) -> list[int]:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def host_in(directory: Path) -> Iterator[Host]:
    """A machine that runs, without an agent yet."""
    host = Host(directory)
    try:
        host.boot()
        yield host
    finally:
        host.shut_down()
        shutil.rmtree(directory, ignore_errors=True)


def order(
    name: str, argv: Sequence[str] = SLEEPER, network: Json | None = None, **more: Any
) -> LaunchOrder:
    """A task on a network, a named one if nothing else is said."""
    networks = (INFO if network is None else network,)
    more = {"isolation": Isolation.NAMESPACE, **more}
    return LaunchOrder(TaskId(name), "fw-1", tuple(argv), {}, networks=networks, **more)

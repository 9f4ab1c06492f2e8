"""A running cluster as its user sees it: URLs, processes, and commands run inside."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from demo.embedded import namespaces
from demo.embedded.control import Control, RefusedRequestError
from demo.embedded.directory import ClusterRecord, read_record
from demo.embedded.hosts import MASTER
from demo.embedded.processes import product_command
from demo.embedded.product.names import ProductTask, explain, parse_name

Stream = IO[bytes] | int | None


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster that runs in `directory`."""

    directory: Path
    record: ClusterRecord

    @classmethod
    def attach(cls, directory: Path) -> Cluster:
        """The cluster that runs there; raises NotRunningError if none does."""
        return cls(directory, read_record(directory))

    @property
    def control(self) -> Control:
        """Its supervisor."""
        return Control(self.directory)

    @property
    def marathon_url(self) -> str:
        """Marathon's API, reachable from this machine."""
        return self.record.marathon_url

    @property
    def star_url(self) -> str:
        """The page of Star's collector, whichever one runs."""
        return self.record.star_url

    def popen(
        self,
        host: str,
        argv: Sequence[str],
        *,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = None,
        stderr: Stream = None,
        interruptible: bool = True,
    ) -> subprocess.Popen[bytes]:
        """Start a command in the namespaces of a host.

        Ctrl-C reaches it too, unless it is not `interruptible`.
        """
        with self.control.namespaces(host) as (descriptors, environment):
            return subprocess.Popen(
                tuple(argv),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                # It forks, so that the command is part of the pid namespace too.
                preexec_fn=lambda: _enter(descriptors, interruptible),  # noqa: PLW1509 - it takes no lock
            )

    def run(
        self, host: str, argv: Sequence[str], text: str = "", seconds: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host to its end; its output is captured."""
        with self.popen(
            host,
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            interruptible=False,
        ) as process:
            try:
                output, errors = process.communicate(text.encode(), timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(
            tuple(argv), process.returncode, output.decode(), errors.decode()
        )

    def log(self, name: str) -> str:
        """What a process wrote so far, whoever runs it."""
        task = self._task(name)
        if task is None:
            return self.control.log(name)
        hosts = [task.host] if task.host else self._workers()
        return "".join(self.run(host, task.command("log")).stdout for host in hosts)

    def logs(self) -> Iterator[tuple[str, str]]:
        """Every process by its name, and what it wrote so far."""
        for process in self.control.status().processes:
            yield process.name, self.control.log(process.name)
        if not self.record.supervised:
            for host in self._workers():
                for name in (f"controller-{host}", f"agent-{host}"):
                    yield name, self.log(name)

    def kill(self, name: str, number: int) -> None:
        """Send a signal to a process; whoever runs it starts it again if it ends."""
        task = self._task(name)
        if task is None:
            self.control.kill(name, number)
            return
        if task.host is None:
            several = ", ".join(f"{name}-{host}" for host in self._workers())
            raise RefusedRequestError(f"{name} may be several tasks: say which of {several}")
        result = self.run(task.host, task.command("kill", str(number)))
        if result.returncode != 0:
            raise RefusedRequestError(result.stderr.strip())

    def start(self, name: str) -> None:
        """Keep a process running from now on."""
        self._refuse_task(name)
        self.control.start(name)

    def stop(self, name: str) -> None:
        """End a process for good."""
        self._refuse_task(name)
        self.control.stop(name)

    def _task(self, name: str) -> ProductTask | None:
        return None if self.record.supervised else parse_name(name)

    def _refuse_task(self, name: str) -> None:
        task = self._task(name)
        if task is not None:
            raise RefusedRequestError(explain(task))

    def _workers(self) -> list[str]:
        return [host.name for host in self.control.status().hosts if host.name != MASTER]

    def product(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `marathon-calico` with these arguments on the master."""
        return self.run(MASTER, (product_command(), *arguments))


def _enter(descriptors: Mapping[str, int], interruptible: bool) -> None:
    """In the forked child: join the namespaces, and stay behind as the command's parent."""
    namespaces.join_all(descriptors)
    pid = os.fork()
    if pid == 0:
        if not interruptible:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        namespaces.end_with_parent()
        os.chdir("/run")
        return
    # Also the pipe by which Popen learns of the command's start: it must be the command's alone.
    os.closerange(0, 1 << 16)
    while True:
        try:
            _, status = os.waitpid(pid, 0)
            break
        except KeyboardInterrupt:
            # It goes to the command as well, which decides what it means.
            continue
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)

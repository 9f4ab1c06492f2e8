"""What a test asks the master's commands again and again, without a start of Python each time.

A process on the master has loaded `marathon-calico` and what measures. Each
command runs in a fork of it: with arguments, input and output of its own, as if
it had been started. What a test judges once it still starts by `Cluster.product`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from demo.embedded import namespaces
from demo.embedded.cluster import Cluster
from demo.embedded.hosts import MASTER
from demo.stories import measure
from reconciler.cli.commands.get import get  # noqa: F401 - loaded before the first question
from reconciler.cli.main import main as product

PRODUCT = "marathon-calico"
SERVER = (sys.executable, "-m", "tests.cluster.preloaded")
#: The same as a command has that is started.
PATIENCE = 30.0


class Preloaded:
    """The commands of one cluster's master; asked by one thread at a time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def of(cls, cluster: Cluster) -> Iterator[Preloaded]:
        """Those of a cluster; the process begins with the first question."""
        made = cls(cluster)
        try:
            yield made
        finally:
            made.end()

    def product(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `marathon-calico` with these arguments."""
        return self._ask((PRODUCT, *arguments), "")

    def measure(self, what: str, text: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m demo.stories.measure`."""
        return self._ask((measure.__name__, what), text)

    def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, argv: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
        with self._lock:
            # Whoever killed all of the master's processes killed this one too.
            answer = self._answer(argv, text) or self._answer(argv, text)
        assert answer, f"nobody answers {argv}"
        code, output, errors = json.loads(answer)
        return subprocess.CompletedProcess(tuple(argv), code, output, errors)

    def _answer(self, argv: Sequence[str], text: str) -> bytes:
        """What the process answers; nothing if it has ended."""
        if self._process is None:
            self._process = self._cluster.popen(
                MASTER,
                SERVER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                interruptible=False,
            )
        questions, answers = self._process.stdin, self._process.stdout
        assert questions is not None
        assert answers is not None
        try:
            questions.write(json.dumps([argv, text]).encode() + b"\n")
            questions.flush()
            if not select.select([answers], [], [], PATIENCE)[0]:
                self.end()
                raise subprocess.TimeoutExpired(tuple(argv), PATIENCE)
            answer = answers.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            self.end()
        return answer


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the last question."""
    forking = multiprocessing.get_context("fork")
    for question in questions:
        argv, text = json.loads(question)
        given, output, errors = (os.memfd_create(name) for name in ("in", "out", "err"))
        os.write(given, text.encode())
        os.lseek(given, 0, os.SEEK_SET)
        child = forking.Process(target=_run, args=(argv, given, output, errors))
        child.start()
        child.join()
        answer = [child.exitcode, _told(output), _told(errors)]
        for each in (given, output, errors):
            os.close(each)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _run(argv: Sequence[str], given: int, output: int, errors: int) -> None:
    """In the fork: be the command; its exit code is the fork's."""
    namespaces.end_with_parent()
    for number, each in enumerate((given, output, errors)):
        os.dup2(each, number)
    sys.stdin = os.fdopen(0, closefd=False)
    program, *arguments = argv
    if program == PRODUCT:
        product(arguments, prog_name=PRODUCT)
    else:
        measure.main(arguments)


def _told(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode()


if __name__ == "__main__":
    # Descriptors of its own: those of the commands are others.
    with os.fdopen(os.dup(0), "rb") as asked, os.fdopen(os.dup(1), "wb") as told:
        serve(asked, told)

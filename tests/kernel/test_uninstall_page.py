"""The page on uninstalling: its commands, as written, leave nothing on a host or in etcd."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.kernel.namespaces import Namespace
from tests.kernel.test_links import run
from tests.minimal.machine import HOST, Machine, running_machine
from tests.pages import block_with

PAGE = "docs/uninstall.md"
#: What the page removes of the machine's own files is not ours to remove here.
FILES = re.compile(r"^ *rm .*\n", re.MULTILINE)


@pytest.fixture
def machine(host_network: None, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as made:
        yield made


def commands_with(words: str) -> str:
    """The page's one block of commands with these words, but for what removes files."""
    return FILES.sub("", block_with(PAGE, words))


def kernel() -> str:
    """All that the kernel has, by the tools of an operator."""
    shown = [
        run("nft", "list", "ruleset"),
        *(run("ip", family, "rule") for family in ("-4", "-6")),
        *(run("ip", family, "route", "show", "table", "all") for family in ("-4", "-6")),
        run("ip", "-brief", "link"),
    ]
    # Links give themselves addresses of this kind when they have been up for a moment.
    return "\n".join(line for text in shown for line in text.splitlines() if "fe80" not in line)


def is_empty(etcd: str, directory: str) -> bool:
    reply = requests.get(f"{etcd}/v2/keys/{directory}?recursive=true", timeout=5)
    return reply.status_code == 404


def test_the_pages_commands_leave_nothing(
    machine: Machine, namespace: Callable[[], Namespace]
) -> None:
    def do(script: str) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            env={**os.environ, "ETCD": machine.etcd},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "not found" not in done.stderr, "a program is missing"

    bare = kernel()
    for name in ("a", "b"):
        machine.mesos.pids[name] = namespace().pid
    machine.marathon.put("/ab", [("a", HOST), ("b", HOST)], ["one"])
    machine.start("agent")
    machine.start("controller")
    machine.wait_up("a", "b")
    machine.stop()
    assert "marathon-calico" in kernel()

    do(commands_with("nft delete table"))
    do(commands_with("/v2/keys/"))

    assert kernel() == bare
    assert is_empty(machine.etcd, "marathon-calico")
    assert is_empty(machine.etcd, "calico")

"""The cluster vanishes whole, however it ends."""

import os
import shlex
import signal
import stat
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.embedded.cluster import Cluster
from demo.embedded.control import SOCKET_NAME
from demo.embedded.processes import PROJECT
from tests.cluster.harness import (
    COMMAND,
    demo,
    directory,
    launched,
    namespaces_of,
    processes_in,
    wait_until,
)


def mounts(path: Path, inodes: set[int]) -> list[str]:
    """What is mounted here of a cluster: below its directory, or a namespace of its own."""
    marks = [path.name, *(f":[{inode}]" for inode in inodes)]
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if any(mark in line for mark in marks)]


def test_a_second_cluster_in_the_same_place_is_refused_with_a_clear_line() -> None:
    with launched() as running:
        second = demo(running.path, "up", "--background")

        assert second.returncode == 1
        assert second.stderr == f"a cluster runs already in {running.path}\n"
        assert demo(running.path, "status").returncode in (0, 1)


def test_only_its_owner_may_ask_the_supervisor() -> None:
    with launched() as running:
        assert stat.S_IMODE(running.path.stat().st_mode) == 0o700
        assert stat.S_IMODE((running.path / SOCKET_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGKILL, id="kill -9"),
    ],
)
def test_ending_the_launcher_leaves_neither_process_nor_namespace_nor_mount(
    number: signal.Signals,
) -> None:
    with launched() as running, namespaces_of(running.cluster) as inodes:
        assert len(processes_in(inodes)) > 5

        running.process.send_signal(number)

        wait_until(lambda: not processes_in(inodes), "processes are left", 10)
        code = running.process.wait(timeout=10)
        assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0)
        assert mounts(running.path, inodes) == []
        assert demo(running.path, "status").returncode == 3


def test_a_crash_of_the_first_process_ends_all_and_is_told() -> None:
    with launched() as running, namespaces_of(running.cluster) as inodes:
        os.kill(running.cluster.record.pid, signal.SIGKILL)

        _, errors = running.process.communicate(timeout=20)
        assert running.process.returncode == 1
        assert "the cluster ended" in errors
        assert not processes_in(inodes)


def test_a_place_is_free_again_after_a_crash() -> None:
    with launched() as running:
        running.process.kill()
        running.process.wait(timeout=10)
        wait_until(
            lambda: demo(running.path, "up", "--background").returncode == 0, "place is taken", 10
        )

        assert demo(running.path, "down").returncode == 0


def test_a_background_cluster_runs_until_down() -> None:
    with directory() as path, ExitStack() as stack:
        started = demo(path, "up", "--background")
        assert started.returncode == 0, started.stderr
        try:
            inodes = stack.enter_context(namespaces_of(Cluster.attach(path)))
            assert "http://127.0.0.1:" in demo(path, "env").stdout
            hostname = demo(path, "exec", "host-1", "--", "cat", "/proc/sys/kernel/hostname")
            assert hostname.stdout == "host-1\n"
            assert demo(path, "exec", "host-1", "--", "false").returncode == 1
        finally:
            ended = demo(path, "down")

        assert ended.returncode == 0
        assert not processes_in(inodes)
        assert demo(path, "down").returncode == 3


def test_an_unknown_process_is_refused_by_name() -> None:
    with directory() as path:
        refused = demo(path, "up", "--without", "etdc")

        assert refused.returncode == 1
        assert "no process etdc; there are dns, etcd, " in refused.stderr


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        pytest.param("--hosts", "101", "1<=x<=100", id="too many hosts"),
        pytest.param("--port", "70000", "0<=x<=65535", id="no port"),
        pytest.param("--etcd-members", "3", "need --supervised", id="several members as apps"),
        pytest.param("--era", "2.0", "1.8, 1.9, or one in full", id="no version"),
    ],
)
def test_what_no_cluster_can_be_is_refused_at_once(flag: str, value: str, says: str) -> None:
    with directory() as path:
        refused = demo(path, "up", flag, value)

        assert (refused.returncode, list(path.iterdir())) == (2, [])
        assert flag in refused.stderr
        assert says in refused.stderr


def test_refused_namespaces_are_told_with_the_remedy() -> None:
    with directory() as path:
        forbid = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all "
        command = shlex.join((*COMMAND, "up", "--directory", str(path)))

        refused = subprocess.run(
            ("unshare", "--user", "--map-root-user", "sh", "-c", forbid + command),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

        assert refused.returncode == 2
        assert "sysctl user.max_user_namespaces" in refused.stderr
        assert "Traceback" not in refused.stderr

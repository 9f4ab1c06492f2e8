"""The processes of the stand-in, started as the embedded cluster starts them."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from demo.marathon.definitions.commands import own_programs
from tests.contract.stand_in.stand_in_world import RawStream
from tests.unit.demo.apps import host_app

SOON = 5


@contextmanager
def running(
    arguments: Sequence[str], inherited: Sequence[int] = ()
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python module as a process of its own, and the first line that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=inherited,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(timeout=SOON)
        assert process.stdout is not None
        process.stdout.close()


def test_the_whole_stand_in_runs_from_its_command_lines(tmp_path: Path) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        inherited = f"http://127.0.0.1:{listener.getsockname()[1]}"
        agent = ["demo.embedded.mesos_agent", "--name", "host-1", "--listen", "127.0.0.1:0"]
        agent += ["--state-dir", str(tmp_path / "agent"), "--master", "127.0.0.1"]
        _, said = stack.enter_context(running(agent))
        marathon = ["demo.marathon", "--listen", "127.0.0.1:0", "--era", "1.4"]
        marathon += ["--listen-fd", str(listener.fileno()), "--state", str(tmp_path / "state")]
        marathon += ["--agent", f"host-1=http://{said.split()[-1]}"]
        _, said = stack.enter_context(running(marathon, [listener.fileno()]))
        url = said.split()[-1]
        stream = stack.enter_context(RawStream(url))
        body = host_app()
        assert requests.post(f"{inherited}/v2/apps", json=body, timeout=SOON).status_code == 201
        stream.event("status_update_event", taskStatus="TASK_RUNNING", host="host-1")
        assert requests.get(f"{inherited}/v2/leader", timeout=SOON).json()["leader"] in url
        faults = requests.get(f"{inherited}/stand-in/faults", timeout=SOON)
        assert faults.status_code == 404
        assert requests.delete(f"{url}/v2/apps/plain", timeout=SOON).ok
        stream.event("app_terminated_event", appId="/plain")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--agent", "a=http://127.0.0.1:1"], id="nothing to listen on"),
        pytest.param(["--listen", "somewhere:1", "--agent", "a=http://x:1"], id="a name"),
        pytest.param(["--listen", "127.0.0.1:0", "--agent", "a=nonsense"], id="no URL"),
        pytest.param(
            ["--listen", "127.0.0.1:0", "--agent", "a=http://x:1", "--era", "new"], id="no era"
        ),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "demo.marathon", "--state", str(tmp_path / "s"), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr


def test_an_agent_answers_on_each_address_that_it_was_given(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        second = f"127.0.0.2:{taken.getsockname()[1]}"
    agent = ["demo.embedded.mesos_agent", "--name", "host-1", "--state-dir", str(tmp_path)]
    agent += ["--listen", "127.0.0.1:0", "--listen", second, "--resources", "ports:[9000-9001]"]
    with running(agent) as (_, said):
        first = said.split()[-1]
        answers = [
            requests.get(f"http://{address}/stand-in/tasks", timeout=SOON).json()
            for address in (first, second)
        ]
    assert answers[0] == answers[1]
    assert answers[0]["ports"] == [[9000, 9001]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--listen", "somewhere:1"], "somewhere", id="a name to listen on"),
        pytest.param(["--mesos-version", "new"], "new", id="no version"),
        pytest.param(["--resources", "cpus:4"], "cpus:4", id="no ports"),
        pytest.param(
            ["--network-cni-config-dir", "/tmp"], "--network-cni-plugins-dir", id="no plugins"
        ),
        pytest.param(
            ["--network-cni-config-dir", "/no/such", "--network-cni-plugins-dir", "/tmp"],
            "/no/such: not a directory",
            id="no networks",
        ),
        pytest.param(["--isolation", "netmodules"], "--modules", id="no modules"),
        pytest.param(
            ["--isolation", "netmodules", "--modules", "/no/such"], "/no/such", id="no such file"
        ),
    ],
)
def test_an_agent_says_what_is_wrong_with_its_flags(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    command = [sys.executable, "-m", "demo.embedded.mesos_agent", "--name", "a", "--state-dir"]
    command += [str(tmp_path / "s"), "--listen", "127.0.0.1:0", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert finished.returncode == 2
    assert words in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("name", ["star-probe", "star-collect"])
def test_a_star_program_answers_soon_after_its_start_on_both_families(
    name: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    program = own_programs({"cmd": f"{name} --port {port}", "args": None})
    began = time.monotonic()
    process = subprocess.Popen(program.argv, env=dict(program.env), cwd=tmp_path)
    try:
        body = until_answered(f"http://127.0.0.1:{port}/status")
        # 40 ms on an idle machine; the rest is room for a busy one.
        assert time.monotonic() - began < 1.0
        assert body == b'{"status": {"targets": []}}'
        if os.path.exists("/proc/net/if_inet6"):
            assert until_answered(f"http://[::1]:{port}/status?x=1") == body
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/other", timeout=SOON)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=SOON)


def until_answered(url: str) -> bytes:
    """The body behind a URL, as soon as somebody listens there."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=SOON) as reply:
                body: bytes = reply.read()
                return body
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise

"""A real etcd on loopback, with its own data and its own end."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_WITHIN = 20.0


def etcd_binary() -> str | None:
    """The one beside this Python, else the machine's."""
    own = Path(sys.executable).parent / "etcd"
    return str(own) if own.exists() else shutil.which("etcd")


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files of a server which talks only to those that `clients` has signed."""

    cert: str
    key: str
    clients: str


@contextmanager
def running_etcd(
    directory: Path, *, v2: bool = True, port: int = 0, tls: ServerTls | None = None
) -> Iterator[str]:
    """Its URL, once it answers; another process may take the port meanwhile, so try again."""
    binary = etcd_binary()
    if binary is None:
        raise FileNotFoundError("etcd is neither in the virtual environment nor on the PATH")
    for attempt in range(3):
        scheme = "http" if tls is None else "https"
        url = f"{scheme}://127.0.0.1:{port or free_port()}"
        # Who it talks to matters nothing there.
        metrics = f"http://127.0.0.1:{free_port()}"
        process = _start(binary, directory / str(attempt), url, metrics, v2=v2, tls=tls)
        try:
            if _answers(process, metrics):
                yield url
                return
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    raise RuntimeError(f"etcd did not start, see {directory}")


def _start(
    binary: str, directory: Path, url: str, metrics: str, *, v2: bool, tls: ServerTls | None
) -> subprocess.Popen[bytes]:
    directory.mkdir(parents=True)
    peer = f"http://127.0.0.1:{free_port()}"
    command = [
        binary,
        *("--name", "one", "--data-dir", str(directory / "data")),
        *("--listen-client-urls", url, "--advertise-client-urls", url),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"one={peer}"),
        # One member elects itself: there is nobody to wait for.
        *("--heartbeat-interval", "10", "--election-timeout", "100"),
        *(f"--enable-v2={'true' if v2 else 'false'}", "--listen-metrics-urls", metrics),
    ]
    if tls is not None:
        command += ["--cert-file", tls.cert, "--key-file", tls.key]
        command += ["--client-cert-auth", "--trusted-ca-file", tls.clients]
    setpriv = shutil.which("setpriv")
    if setpriv is not None:
        # Not to be left behind when the test runner is killed.
        command = [setpriv, "--pdeathsig", "KILL", "--", *command]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if b"true" in answer.read():
                    return True
        except (urllib.error.URLError, OSError):
            pass
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    return False

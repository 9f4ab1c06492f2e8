"""What an operator meets on a bad day, with the real processes of one host."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from calico.codec import decode_applied
from calico.datastore.etcd import EtcdDatastore
from calico.keys import applied_key
from calico.model import HostName
from tests.kernel.namespaces import Namespace
from tests.minimal.http import LoopbackServer, send_json
from tests.minimal.machine import ADDRESS, COMMAND, HOST, Machine, running_machine

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def machine(host_network: None, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as made:
        yield made


def login_page(handler: BaseHTTPRequestHandler) -> None:
    body = b"<html>log in</html>"
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def refusal(handler: BaseHTTPRequestHandler) -> None:
    send_json(handler, {"message": "who are you?"}, 401)


def redirect(handler: BaseHTTPRequestHandler) -> None:
    send_json(handler, {}, 302, headers=(("Location", "http://elsewhere.invalid/"),))


def no_apps(handler: BaseHTTPRequestHandler) -> None:
    send_json(handler, {"apps": []})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(login_page, "answers text/html instead of JSON", id="a page"),
        pytest.param(refusal, "wants credentials (401)", id="401"),
        pytest.param(redirect, "redirects elsewhere (302)", id="a redirect"),
        pytest.param(no_apps, "instead of an event stream", id="an empty list without a leader"),
    ],
)
def test_a_marathon_that_answers_nonsense_removes_nothing(
    machine: Machine, namespace: Callable[[], Namespace], answer: Answer, said: str
) -> None:
    machine.mesos.pids["a"] = namespace().pid
    machine.marathon.put("/a", [("a", HOST)], ["one"])
    machine.start("agent")
    machine.start("controller")
    at = machine.wait_up("a")
    first = machine.processes.pop("controller")
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0

    with LoopbackServer(answer) as nonsense:
        machine.marathon = nonsense
        machine.start("controller")
        log = machine.directory / "controller.log"
        machine.wait_for("a second leader", lambda: log.read_text().count("lease won") > 1)
        machine.wait_for(
            "a line with URL and remedy",
            lambda: any(
                said in line and nonsense.url in line for line in log.read_text().splitlines()
            ),
        )
        assert "Traceback" not in log.read_text()
        assert machine.addresses() == at


def test_a_task_is_found_by_its_environment_alone(machine: Machine) -> None:
    task = subprocess.Popen(
        ["unshare", "--net", "sleep", "infinity"],
        env={**os.environ, "MESOS_TASK_ID": "found-by-proc"},
    )
    try:
        machine.marathon.put("/a", [("found-by-proc", HOST)], ["one"])
        with (machine.directory / "agent.log").open("ab") as log:
            machine.processes["agent"] = subprocess.Popen(
                [
                    *(COMMAND, "agent", "--etcd", machine.etcd, "--host", HOST),
                    *("--address", ADDRESS, "--listen", "127.0.0.1:0", "--locator", "proc"),
                    *("--state-dir", str(machine.directory / "state")),
                ],
                stdout=log,
                stderr=log,
            )
        machine.start("controller")
        machine.wait_up("found-by-proc")
    finally:
        task.kill()
        task.wait()
    store = EtcdDatastore([machine.etcd])
    key = applied_key(HostName(HOST))

    def gone() -> tuple[str, ...]:
        stored = store.get(key)
        return () if stored is None else decode_applied(HostName(HOST), stored.value).gone

    machine.wait_for("the proof of its end", lambda: gone() == ("found-by-proc",))

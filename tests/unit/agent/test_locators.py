"""How tasks' namespaces are found: real HTTP for Mesos, a real directory for /proc."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from calico.dataplane.changes import NamespaceRef
from calico.errors import NamespaceGone, NamespaceRefused
from calico.model import TaskId
from reconciler.agent.locators.api import (
    Identify,
    Located,
    LocatorUnavailable,
    agree,
    identify_all,
    locate,
)
from reconciler.agent.locators.mesos import MesosLocator
from reconciler.agent.locators.mesos_agent import MesosAgent
from reconciler.agent.locators.proc import ProcLocator

WEB, DB = TaskId("web.1"), TaskId("db.1")
HOST_INODE = 1
LATER = 1000


def identify(pid: int) -> NamespaceRef:
    """Pids from 100 to 999 live, each ten of them in a namespace of their own."""
    if not 100 <= pid <= 999:
        raise NamespaceGone(f"no process {pid}")
    if pid == 666:
        raise NamespaceRefused(f"no right to look at the network namespace of process {pid}")
    return NamespaceRef(pid, pid, HOST_INODE if pid < 110 else pid // 10)


def find(pids: list[tuple[TaskId, int]]) -> Located:
    return identify_all(pids, identify, {HOST_INODE}, LATER)


def test_the_oldest_process_of_a_namespace_names_it() -> None:
    assert find([(WEB, 205), (WEB, 201), (WEB, 209)]).namespaces == {WEB: identify(201)}


def test_a_process_that_ended_counts_for_nothing() -> None:
    assert find([(WEB, 5), (WEB, 201)]) == Located({WEB: identify(201)})


def test_a_process_that_began_after_the_question_is_no_answer() -> None:
    assert identify_all([(WEB, 201)], identify, {HOST_INODE}, 201) == Located()
    assert identify_all([(WEB, 201)], identify, {HOST_INODE}, 202) == find([(WEB, 201)])


@pytest.mark.parametrize(
    ("pids", "why"),
    [
        pytest.param([(WEB, 201), (WEB, 301)], "different", id="two namespaces for one task"),
        pytest.param([(WEB, 101)], "host's", id="the host's namespace"),
        pytest.param([(WEB, 201), (DB, 202)], "shared", id="one namespace for two tasks"),
        pytest.param([(WEB, 666)], "no right", id="no right to look"),
    ],
)
def test_doubt_about_a_task_finds_nothing(pids: list[tuple[TaskId, int]], why: str) -> None:
    found = find(pids)

    assert WEB not in found.namespaces
    assert why in found.refused[WEB]


def test_an_executor_on_the_host_does_not_hide_its_task() -> None:
    assert find([(WEB, 101), (WEB, 201)]) == Located({WEB: identify(201)})


def test_locators_that_disagree_wire_nothing() -> None:
    class Fixed:
        def __init__(self, name: str, pid: int) -> None:
            self.name = name
            self._pid = pid

        def find(self, tasks: object) -> Located:  # noqa: ARG002 - asked for one task only
            return find([(WEB, self._pid)])

    search = locate((Fixed("mesos", 201), Fixed("proc", 301)), frozenset({WEB}))

    assert search.located.namespaces == {}
    assert "different" in search.located.refused[WEB]


def test_agreement_is_by_namespace_not_by_process() -> None:
    one, other = identify(201), identify(202)

    assert agree([(WEB, other), (WEB, one)]).namespaces == {WEB: one}


@contextmanager
def mesos_agent(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/containers" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def row(source: object, executor: object, pid: object) -> dict[str, object]:
    return {"source": source, "executor_id": executor, "status": {"executor_pid": pid}}


@pytest.mark.parametrize(
    "containers",
    [
        pytest.param([row("web.1", "web.1", 201)], id="a command task"),
        pytest.param([row("marathon", "web.1", 201)], id="named by its executor"),
        pytest.param([row("web.1", "", 201), {"source": "web.1"}], id="a row without status"),
        pytest.param([row("web.1", "web.1", 201), row(None, 7, "x"), 5], id="rows of other shape"),
    ],
)
def test_a_mesos_task_is_found_by_its_container(containers: list[object]) -> None:
    with mesos_agent(200, json.dumps(containers).encode()) as url:
        found = MesosLocator(MesosAgent(url), identify, {HOST_INODE}).find({WEB})

    assert found.namespaces == {WEB: identify(201)}


def test_a_container_of_no_task_that_was_asked_for_is_passed_over() -> None:
    with mesos_agent(200, json.dumps([row("db.1", "db.1", 201)]).encode()) as url:
        assert MesosLocator(MesosAgent(url), identify, {HOST_INODE}).find({WEB}) == Located()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(401, b"", id="not allowed"),
        pytest.param(200, b"<html>", id="no JSON"),
        pytest.param(200, b'{"containers": []}', id="no list"),
    ],
)
def test_a_mesos_agent_that_gives_no_list_is_named(status: int, body: bytes) -> None:
    with mesos_agent(status, body) as url, pytest.raises(LocatorUnavailable, match=url):
        MesosLocator(MesosAgent(url), identify, ()).find({WEB})


def test_a_mesos_agent_that_is_down_is_named_in_the_search() -> None:
    with mesos_agent(200, b"[]") as url:
        pass

    search = locate((MesosLocator(MesosAgent(url), identify, ()),), frozenset({WEB}))

    assert search.unavailable == (f"Mesos agent at {url} does not answer",)


@pytest.fixture
def proc(tmp_path: Path) -> Callable[[int, bytes], None]:
    def add(pid: int, environment: bytes) -> None:
        directory = tmp_path / str(pid)
        directory.mkdir()
        (directory / "environ").write_bytes(environment)

    return add


def proc_locator(root: Path, identify: Identify = identify) -> ProcLocator:
    return ProcLocator(identify, {HOST_INODE}, root)


def test_a_task_is_found_by_its_environment(
    proc: Callable[[int, bytes], None], tmp_path: Path
) -> None:
    proc(201, b"PATH=/bin\0MESOS_TASK_ID=web.1\0")
    proc(301, b"MESOS_TASK_ID=db.1\0")
    proc(401, b"NOT_MESOS_TASK_ID=web.1\0\xff")
    (tmp_path / "502").mkdir()
    (tmp_path / "self").mkdir()

    assert proc_locator(tmp_path).find({WEB}) == Located({WEB: identify(201)})


def test_a_task_that_two_namespaces_claim_is_not_found(
    proc: Callable[[int, bytes], None], tmp_path: Path
) -> None:
    proc(201, b"MESOS_TASK_ID=web.1\0")
    proc(301, b"MESOS_TASK_ID=web.1\0")

    assert WEB in proc_locator(tmp_path).find({WEB}).refused


def test_a_machine_without_proc_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocatorUnavailable, match="nothing"):
        proc_locator(tmp_path / "nothing").find({WEB})

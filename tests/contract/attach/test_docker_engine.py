"""Docker's API over a real socket: what is asked, and what becomes of bad answers."""

import ctypes
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from calico.dataplane.changes import NamespaceRef
from calico.model import TaskId
from reconciler.agent.locators import docker_api
from reconciler.agent.locators.api import Located, LocatorUnavailable, locate
from reconciler.agent.locators.docker import HUNG_REST, MOST_HUNG, REST, DockerLocator
from reconciler.agent.locators.docker_api import DockerEngine, EngineHangs
from reconciler.agent.locators.docker_events import DockerEvents
from reconciler.agent.locators.mesos_agent import MesosAgent
from reconciler.agent.reconciliation.passes import ContainersChanged
from reconciler.runtime.clock import ManualClock
from tests.contract.attach.docker_engine import RecordedEngine, container
from tests.contract.attach.unix_http import begin_chunks, send_chunk, serving, short_directory
from tests.minimal.http import LoopbackServer, send_json

WEB, DB = TaskId("web.1"), TaskId("db.1")
UUID = "5baff64c-d028-47ba-864e-a5ee679fc069"
OLD_NAME = f"mesos-96d7da70-b731-4cfb-96a7-0ee877af615d-S0.{UUID}"
HOST_INODE = 1
PATIENCE = 10.0


def identify(pid: int) -> NamespaceRef:
    """Every ten pids share a namespace; those below 110 are in the host's."""
    return NamespaceRef(pid, pid, HOST_INODE if pid < 110 else pid // 10)


@pytest.fixture
def path() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "docker.sock"


@pytest.fixture
def engine(path: Path) -> Iterator[RecordedEngine]:
    made = RecordedEngine()
    with serving(path, made.answer):
        yield made
        made.over.set()


class Mesos(LoopbackServer):
    """A Mesos agent that knows some containers, or answers nothing of use."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.tasks: dict[str, str] = {}
        self.status = 200
        self.asked = 0

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        rows = [
            {"container_id": container, "source": task, "executor_id": task}
            for container, task in self.tasks.items()
        ]
        send_json(handler, rows, self.status)


@pytest.fixture
def mesos() -> Iterator[Mesos]:
    with Mesos() as made:
        yield made


@pytest.fixture
def locator(path: Path, mesos: Mesos) -> DockerLocator:
    return DockerLocator(DockerEngine(path), MesosAgent(mesos.url), identify, {HOST_INODE})


@pytest.mark.parametrize(
    "name", [pytest.param(f"mesos-{UUID}", id="1.4"), pytest.param(OLD_NAME, id="0.23 to 1.3")]
)
def test_a_container_is_the_task_that_mesos_says(
    engine: RecordedEngine, mesos: Mesos, locator: DockerLocator, name: str
) -> None:
    engine.add(container(name, 201))
    mesos.tasks[UUID] = "web.1"

    assert locator.find({WEB}) == Located({WEB: identify(201)})


def test_what_mesos_says_counts_more_than_what_the_container_says(
    engine: RecordedEngine, mesos: Mesos, locator: DockerLocator
) -> None:
    engine.add(container(OLD_NAME, 201, label="db.1", variable="db.1"))
    mesos.tasks[UUID] = "web.1"

    assert locator.find({WEB, DB}) == Located({WEB: identify(201)})


@pytest.mark.parametrize(
    "running",
    [
        pytest.param(container("t", 201, label="web.1"), id="by its label"),
        pytest.param(container("t", 201, variable="web.1"), id="by its environment"),
        pytest.param(container("t", 201, label="web.1", variable="web.1"), id="by both"),
        pytest.param(container(OLD_NAME, 201, label="web.1"), id="of an agent that lost it"),
    ],
)
def test_a_container_that_mesos_does_not_know_tells_itself(
    engine: RecordedEngine, locator: DockerLocator, running: Any
) -> None:
    engine.add(running, container("another", 301), container("done", 0, label="db.1"))

    assert locator.find({WEB, DB}) == Located({WEB: identify(201)})


@pytest.mark.parametrize(
    ("running", "why"),
    [
        pytest.param(container("t", 201, "default", "web.1"), "'default'.*NONE", id="on a bridge"),
        pytest.param(container("t", 101, "host", "web.1"), "'host'.*NONE", id="on the host's"),
        pytest.param(container("t", 201, label="web.1", variable="db.1"), "another", id="disputed"),
        pytest.param(container("t", 101, label="web.1"), "host's network", id="none, yet host's"),
    ],
)
def test_a_container_that_is_not_ours_to_wire_is_refused_in_a_sentence(
    engine: RecordedEngine, locator: DockerLocator, running: Any, why: str
) -> None:
    engine.add(running)

    found = locator.find({WEB})

    assert not found.namespaces
    assert re.search(why, found.refused[WEB])


def test_a_container_elsewhere_that_claims_a_task_takes_nothing_from_it(
    engine: RecordedEngine, mesos: Mesos, locator: DockerLocator
) -> None:
    engine.add(container("liar", 301, "default", "web.1"), container(OLD_NAME, 201))
    mesos.tasks[UUID] = "web.1"

    assert locator.find({WEB}) == Located({WEB: identify(201)})


def test_two_containers_of_one_task_wire_nobody(
    engine: RecordedEngine, locator: DockerLocator
) -> None:
    engine.add(container("t", 201, label="web.1"), container("u", 301, label="web.1"))

    assert WEB in locator.find({WEB}).refused


def test_an_executors_own_container_is_no_task(
    engine: RecordedEngine, mesos: Mesos, locator: DockerLocator
) -> None:
    engine.add(container(f"{OLD_NAME}.executor", 101, "host", variable="web.1"))
    engine.add(container(OLD_NAME, 201))
    mesos.tasks[UUID] = "web.1"

    assert locator.find({WEB}) == Located({WEB: identify(201)})


def test_a_container_that_was_started_anew_is_found_where_it_is_now(
    engine: RecordedEngine, locator: DockerLocator
) -> None:
    engine.add(container("t", 201, label="web.1"))
    locator.find({WEB})

    next(iter(engine.containers.values()))["State"]["Pid"] = 301

    assert locator.find({WEB}).namespaces == {WEB: identify(301)}


def test_what_is_known_is_not_asked_again(
    engine: RecordedEngine, mesos: Mesos, locator: DockerLocator
) -> None:
    engine.add(container("other", 301), container(OLD_NAME, 201))
    mesos.tasks[UUID] = "web.1"
    locator.find({WEB})
    engine.asked.clear()

    locator.find({WEB})

    assert mesos.asked == 1
    assert [path for path in engine.asked if path.endswith("01/json")] == []
    assert sum(path.endswith("02/json") for path in engine.asked) == 1


def test_mesos_is_needed_only_where_nothing_else_tells(
    engine: RecordedEngine, mesos: Mesos, locator: DockerLocator
) -> None:
    mesos.status = 503
    engine.add(container(f"mesos-{UUID}", 201, label="web.1"))
    assert locator.find({WEB}).namespaces == {WEB: identify(201)}

    engine.add(container(f"mesos-{UUID.replace('5b', '6b')}", 301))

    with pytest.raises(LocatorUnavailable, match=r"Mesos agent at .* answers 503"):
        locator.find({DB})


def test_a_socket_whose_path_is_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)

    with pytest.raises(LocatorUnavailable, match=f"{path} cannot be used"):
        DockerLocator(DockerEngine(path), MesosAgent(""), identify, ()).find({WEB})


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [
        pytest.param("1.41", "1.12", "v1.24", id="20.10"),
        pytest.param("1.52", "1.44", "v1.44", id="29"),
        pytest.param("1.18", None, "v1.18", id="1.6"),
    ],
)
def test_the_engine_is_spoken_to_in_a_version_that_it_knows(
    engine: RecordedEngine, locator: DockerLocator, newest: str, oldest: str | None, spoken: str
) -> None:
    engine.version = {"ApiVersion": newest} | ({"MinAPIVersion": oldest} if oldest else {})

    locator.find({WEB})

    assert engine.asked == ["/version", f"/{spoken}/containers/json"]


def hang(handler: BaseHTTPRequestHandler) -> None:
    threading.Event().wait(4)


def drip(handler: BaseHTTPRequestHandler) -> None:
    begin_chunks(handler)
    for _ in range(100):
        send_chunk(handler, b" ")
        threading.Event().wait(0.1)


def endless(handler: BaseHTTPRequestHandler) -> None:
    begin_chunks(handler)
    for _ in range(docker_api.LARGEST_ANSWER // 2**20 + 1):
        send_chunk(handler, b" " * 2**20)


def bottomless(handler: BaseHTTPRequestHandler) -> None:
    begin_chunks(handler)
    send_chunk(handler, b'{"Platform":' + b"[" * 100_000)
    send_chunk(handler, b"")


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    begin_chunks(handler)


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"220 mail.example ESMTP\r\n")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(lambda handler: send_json(handler, {}, 404), "answers 404", id="a web server"),
        pytest.param(lambda handler: send_json(handler, []), "nothing that Docker", id="no Docker"),
        pytest.param(
            lambda handler: send_json(handler, {"ApiVersion": "new"}),
            "nothing that",
            id="no version",
        ),
        pytest.param(bottomless, "nothing that Docker", id="a bottomless nest"),
        pytest.param(endless, "without end", id="an endless answer"),
        pytest.param(cut_off, "no whole answer", id="an answer that is cut off"),
        pytest.param(no_http, "no whole answer", id="no HTTP"),
        pytest.param(hang, "does not answer in time", id="a hanging engine"),
        pytest.param(drip, "does not answer in time", id="an answer that drips"),
    ],
)
def test_what_is_no_engine_is_named_in_one_sentence_and_nobody_waits_for_it(
    path: Path,
    locator: DockerLocator,
    answer: Callable[[BaseHTTPRequestHandler], None],
    why: str,
) -> None:
    with serving(path, answer):
        search = locate((locator, Found()), frozenset({WEB}))

    assert search.located.namespaces == {WEB: identify(201)}
    (told,) = search.unavailable
    assert why in told
    assert str(path) in told
    assert "\n" not in told


class Found:
    """A locator that finds everything."""

    name = "found"

    def find(self, tasks: object) -> Located:  # noqa: ARG002 - asked for one task only
        return Located({WEB: identify(201)})


def test_an_engine_that_hangs_is_let_alone_for_a_while(path: Path, locator: DockerLocator) -> None:
    with serving(path, hang):
        with pytest.raises(EngineHangs):
            locator.find({WEB})
        began = time.monotonic()
        with pytest.raises(LocatorUnavailable, match=str(path)):
            locator.find({WEB})

    assert time.monotonic() - began < docker_api.ANSWER_WITHIN / 2


def test_a_container_that_the_engine_cannot_tell_of_stops_no_other(
    engine: RecordedEngine, locator: DockerLocator
) -> None:
    engine.add(container("stuck", 301, label="db.1"), stuck=True)
    for number in range(20, 30):
        engine.add(container(f"t{number}", number * 10, label=f"web.{number}"))
    wanted = {TaskId(f"web.{number}"): identify(number * 10) for number in range(20, 30)}

    began = time.monotonic()
    assert locator.find({DB, *wanted}).namespaces == wanted
    assert time.monotonic() - began < docker_api.INSPECT_WITHIN + 1.0

    # It is not asked about again for a while, and its late answer is nobody else's.
    engine.add(container("new", 401, label="web.1"))
    began = time.monotonic()
    assert locator.find({DB, WEB}) == Located({WEB: identify(401)})
    assert time.monotonic() - began < docker_api.INSPECT_WITHIN


def test_a_known_container_that_hangs_later_stops_no_other(
    engine: RecordedEngine, locator: DockerLocator
) -> None:
    engine.add(container("t", 201, label="web.1"), container("u", 301, label="db.1"))
    assert locator.find({WEB}).namespaces.keys() == {WEB}

    engine.stuck.add(next(iter(engine.containers)))

    assert locator.find({WEB, DB}) == Located({DB: identify(301)})


def test_whoever_waits_for_a_container_that_hangs_is_told(
    engine: RecordedEngine, locator: DockerLocator
) -> None:
    engine.add(container("stuck", 301, label="web.1"), stuck=True)

    with pytest.raises(LocatorUnavailable, match="does not tell of container 000000000000"):
        locator.find({WEB})


def test_many_containers_that_hang_cost_the_others_no_more_than_a_few_searches(
    engine: RecordedEngine, path: Path, mesos: Mesos
) -> None:
    clock = ManualClock()
    locator = DockerLocator(
        DockerEngine(path), MesosAgent(mesos.url), identify, {HOST_INODE}, clock.monotonic
    )
    for number in range(3):
        engine.add(container(f"stuck{number}", 301 + number), stuck=True)
    engine.add(container("t", 201, label="web.1"))

    began = time.monotonic()
    with pytest.raises(EngineHangs):
        locator.find({WEB})
    assert time.monotonic() - began < MOST_HUNG * docker_api.INSPECT_WITHIN + 1.0

    clock.advance(REST)
    assert locator.find({WEB}) == Located({WEB: identify(201)})


def test_an_engine_that_is_slow_with_all_of_them_has_none_passed_over(
    engine: RecordedEngine, path: Path, mesos: Mesos
) -> None:
    clock, tasks = ManualClock(), [TaskId(f"web.{number}") for number in range(6)]
    engine.add(*(container(f"t{each}", 201, label=each) for each in tasks))
    engine.takes = 0.1
    slow = DockerEngine(path, converse_within=0.35)
    locator = DockerLocator(slow, MesosAgent(mesos.url), identify, (), clock.monotonic)

    def found(task: TaskId) -> bool:
        try:
            return task in locator.find({task}).namespaces
        except EngineHangs:
            clock.advance(REST)
            return False

    for _ in range(3):
        found(tasks[0])
    assert [each for each in tasks if not found(each)] == []
    assert clock.monotonic() < HUNG_REST


def test_no_socket_is_named_with_the_remedy(path: Path, locator: DockerLocator) -> None:
    with pytest.raises(LocatorUnavailable, match=f"there is no {path}: .*--docker-socket"):
        locator.find({WEB})


def test_a_socket_that_nobody_listens_at_is_named(path: Path, locator: DockerLocator) -> None:
    path.write_text("no socket")

    with pytest.raises(LocatorUnavailable, match=f"nobody listens at {path}: .*--docker-socket"):
        locator.find({WEB})


def test_no_right_to_the_socket_is_named_with_the_remedy(
    engine: RecordedEngine, path: Path, locator: DockerLocator
) -> None:
    path.chmod(0)
    told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def look() -> None:
        give_up_capabilities()
        try:
            locator.find({WEB})
        except LocatorUnavailable as error:
            told.put(str(error))

    # Capabilities are a thread's own, and this one ends.
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert (
        told.get(timeout=0)
        == f"no right to use {path}: run the agent as root, or in the group docker"
    )


def give_up_capabilities() -> None:
    """Without them root too has only the rights that a file gives it."""
    capset = 126
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    assert ctypes.CDLL(None).syscall(capset, header, (ctypes.c_uint32 * 6)()) == 0


def test_a_listener_is_told_at_once_and_of_every_event(engine: RecordedEngine, path: Path) -> None:
    events = DockerEngine(path).events()

    next(events)
    engine.happen.release()
    next(events)

    (asked,) = (each for each in engine.asked if "events" in each)
    assert asked == "/v1.24/events?filters=%7B%22event%22%3A+%5B%22start%22%2C+%22die%22%5D%7D"


def test_a_lost_stream_is_followed_again(path: Path) -> None:
    engine, stop = RecordedEngine(), threading.Event()
    hints: queue.SimpleQueue[ContainersChanged] = queue.SimpleQueue()
    thread = threading.Thread(
        target=DockerEvents(DockerEngine(path), hints.put).run, args=(stop,), daemon=True
    )
    thread.start()
    try:
        with serving(path, engine.answer):
            hints.get(timeout=PATIENCE)
            engine.over.set()
            hints.get(timeout=PATIENCE)
        again = RecordedEngine()
        with serving(path, again.answer):
            hints.get(timeout=PATIENCE)
            again.happen.release()
            hints.get(timeout=PATIENCE)
            stop.set()
            again.over.set()
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()

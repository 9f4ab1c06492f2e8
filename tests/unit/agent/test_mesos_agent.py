"""What an agent of Mesos is asked for its containers, in the forms of its ages."""

import base64
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from http.server import BaseHTTPRequestHandler

import pytest

from calico.model import ContainerId, TaskId
from reconciler.agent.locators.api import LocatorUnavailable
from reconciler.agent.locators.mesos_agent import MesosAgent
from tests.minimal.http import LoopbackServer, send_json

ONE, OTHER = (ContainerId(f"5baff64c-d028-47ba-864e-a5ee679fc0{n}") for n in (11, 22))
WEB, DB = TaskId("web.1"), TaskId("db.1")

NEWER = [
    {"container_id": ONE, "executor_id": "web.1", "source": "web.1", "status": {}},
    {"container_id": OTHER, "executor_id": "marathon", "source": "db.1"},
    {"executor_id": "without a container"},
    {"container_id": 5, "executor_id": 6},
    "no row",
]
OLDER = {
    "frameworks": [
        {
            "executors": [
                {"id": "web.1", "container": ONE, "source": "web.1", "tasks": [{"id": "web.1"}]},
                {"id": "", "container": OTHER, "tasks": [{"id": "db.1"}, 5, {"id": None}]},
                "no executor",
            ]
        },
        {"executors": None},
    ],
    "completed_frameworks": [{"executors": [{"id": "old.1", "container": "gone"}]}],
}


def answering(answers: Mapping[str, object]) -> LoopbackServer:
    """An agent with these pages and no others."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        known = handler.path in answers
        send_json(handler, answers.get(handler.path), 200 if known else 404)

    return LoopbackServer(answer)


@pytest.mark.parametrize(
    ("answers", "of_other"),
    [
        pytest.param({"/containers": NEWER}, {DB, TaskId("marathon")}, id="1.0 and newer"),
        pytest.param({"/state": OLDER}, {DB}, id="0.28"),
        pytest.param({"/state.json": OLDER}, {DB}, id="0.27 and older"),
    ],
)
def test_a_container_is_that_of_the_task_it_runs(
    answers: Mapping[str, object], of_other: set[TaskId]
) -> None:
    with answering(answers) as server:
        told = MesosAgent(server.url).tasks_by_container()

    assert told == {ONE: {WEB}, OTHER: of_other}


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({}, id="no page"),
        pytest.param({"/containers": {"rows": []}}, id="no list"),
    ],
)
def test_an_agent_that_tells_nothing_is_named(answers: Mapping[str, object]) -> None:
    with answering(answers) as server, pytest.raises(LocatorUnavailable, match=server.url):
        MesosAgent(server.url).tasks_by_container()


def test_an_agent_that_answers_a_bottomless_nest_is_named() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(b"[" * 100_000)

    with LoopbackServer(answer) as server, pytest.raises(LocatorUnavailable, match="JSON"):
        MesosAgent(server.url).tasks_by_container()


def test_a_user_and_a_password_are_sent_and_told_to_nobody_else() -> None:
    given: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        given.append(handler.headers["Authorization"])
        send_json(handler, None, 401)

    with LoopbackServer(answer) as server:
        host = server.url.removeprefix("http://")
        with pytest.raises(LocatorUnavailable) as raised:
            MesosAgent(f"http://ops:secret@{host}").tasks_by_container()

    assert given == ["Basic " + base64.b64encode(b"ops:secret").decode()]
    assert str(raised.value) == (
        f"Mesos agent at {server.url} answers 401:"
        " name a file with USER:PASSWORD by --mesos-credentials"
    )


@pytest.mark.parametrize(
    ("patience", "outcome"),
    [
        pytest.param(0.1, pytest.raises(LocatorUnavailable), id="who is in a hurry does not wait"),
        pytest.param(10.0, nullcontext(), id="who is patient is told"),
    ],
)
def test_an_agent_that_takes_its_time(
    patience: float, outcome: AbstractContextManager[object]
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        threading.Event().wait(0.5)
        send_json(handler, NEWER)

    with LoopbackServer(answer) as server, outcome:
        assert MesosAgent(server.url, patience).tasks_by_container()[ONE] == {WEB}


@pytest.mark.parametrize("state", [{}, [], None, {"frameworks": {}}])
def test_a_state_of_another_shape_tells_of_no_container(state: object) -> None:
    with answering({"/state": state}) as server:
        assert MesosAgent(server.url).tasks_by_container() == {}

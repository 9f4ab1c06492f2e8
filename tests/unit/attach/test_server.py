"""The agent's socket: what it takes, what it answers, and whom it cuts off."""

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reconciler.attach.api import Attacher, AttachUnavailable
from reconciler.attach.listening import SocketTaken, listening
from reconciler.attach.memory import MemoryAttacher
from reconciler.attach.plugin import LARGEST
from reconciler.attach.refusals import LONGEST, MOST, Answered, Refusals
from reconciler.attach.server import AttachServer
from reconciler.runtime.clock import ManualClock

WITHIN = 0.3


def _echo(request: Mapping[str, Any], attacher: Attacher, descriptor: int) -> Answered:
    inode = os.fstat(descriptor).st_ino if descriptor >= 0 else 0
    code, text = request.get("code", 0), f"{request['input']}\nsecond line {inode}\n"
    return Answered(code, text, "refused" if code else "", text if code else "")


def _busy(request: Mapping[str, Any], attacher: Attacher, descriptor: int) -> Answered:
    raise AttachUnavailable("the pool is\nbeing filled")


def _defect(request: Mapping[str, Any], attacher: Attacher, descriptor: int) -> Answered:
    raise RuntimeError("a defect on purpose")


TRANSLATORS = {"echo": _echo, "busy": _busy, "defect": _defect}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "agent.sock"


@pytest.fixture
def attacher() -> MemoryAttacher:
    return MemoryAttacher()


@pytest.fixture
def server(path: Path, attacher: MemoryAttacher) -> Iterator[Path]:
    with AttachServer(path, attacher, TRANSLATORS, threads=2, within=WITHIN):
        yield path


def _connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect(str(path))
    return client


def _exchange(path: Path, content: bytes, descriptors: list[int] | None = None) -> bytes:
    with _connected(path) as client:
        if descriptors:
            socket.send_fds(client, [content], descriptors)
        else:
            client.sendall(content)
        return _rest(client)


def _rest(client: socket.socket) -> bytes:
    found = b""
    while part := client.recv(65536):
        found += part
    return found


def _ask(path: Path, **fields: object) -> dict[str, Any]:
    line = json.dumps({"version": 1, **fields}).encode() + b"\n"
    answer: dict[str, Any] = json.loads(_exchange(path, line))
    return answer


def test_a_container_is_given_its_network_step_by_step(server: Path) -> None:
    given = _ask(server, command="allocate", container="one")
    wired = _ask(server, command="attach", container="one", pid=os.getpid(), device="eth7")
    checked = _ask(server, command="check", container="one")
    gone = _ask(server, command="detach", container="one")

    assert given["error"] is None
    assert given["device"] == ""
    assert wired == {**given, "device": "eth7"}
    assert checked == wired
    assert gone == {"error": None, "found": True}
    assert _ask(server, command="detach", container="one")["found"] is False


def test_the_socket_is_for_its_owner_alone(server: Path) -> None:
    assert stat.S_IMODE(server.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.parent.stat().st_mode) & 0o022 == 0


def test_a_plugin_is_answered_with_its_code_and_its_text_as_is(server: Path) -> None:
    request = json.dumps({"version": 1, "command": "echo", "input": "hällo", "code": 7})

    answer = _exchange(server, request.encode() + b"\n")

    assert answer.decode() == "7\nhällo\nsecond line 0\n"


def test_a_client_that_left_before_its_turn_gets_nothing(
    server: Path, attacher: MemoryAttacher
) -> None:
    busy = [_connected(server) for _ in range(2)]
    with _connected(server) as client:
        client.sendall(b'{"version": 1, "command": "allocate", "container": "left"}\n')
    for each in busy:
        each.close()

    given = _ask(server, command="allocate", container="stayed")

    assert list(attacher.known) == ["stayed"]
    assert given["addresses"] == ["192.168.0.0"]


def test_a_client_that_only_sends_no_more_is_answered(server: Path) -> None:
    with _connected(server) as client:
        client.sendall(b'{"version": 1, "command": "echo", "input": "x"}')
        client.shutdown(socket.SHUT_WR)

        assert _rest(client).startswith(b"0\nx")


def test_a_descriptor_reaches_the_translator_and_is_closed_after_it(server: Path) -> None:
    request = b'{"version": 1, "command": "echo", "input": ""}\n'
    before = len(os.listdir("/proc/self/fd"))

    with open(__file__, "rb") as any_file:
        answer = _exchange(server, request, [any_file.fileno()])

        assert f"second line {os.fstat(any_file.fileno()).st_ino}\n" in answer.decode()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"\n", "the request is empty", id="an empty line"),
        pytest.param(b"nonsense\n", "it is no request", id="no JSON"),
        pytest.param(b"[]\n", "it is no request", id="no object"),
        pytest.param(b"\xff\xfe\n", "it is no request", id="no text"),
        pytest.param(b"[" * 100000 + b"\n", "it is no request", id="nested without end"),
        pytest.param(b'{"command": "check"}\n', "version", id="no version"),
        pytest.param(b'{"version": 2, "command": "check"}\n', "version 2", id="a later version"),
        pytest.param(b'{"version": 1, "command": "dance", "container": "c"}\n', "dance", id="verb"),
        pytest.param(b'{"version": 1, "command": "check"}\n', "container", id="no container"),
        pytest.param(
            b'{"version": 1, "command": "check", "container": "../x"}\n', "../x", id="a path"
        ),
        pytest.param(
            b'{"version": 1, "command": "attach", "container": "c"}\n',
            "network namespace",
            id="attach to nowhere",
        ),
        pytest.param(b"{}\n{}\n", "one line", id="two requests"),
        pytest.param(b"x" * (LARGEST + 2), "256 KiB", id="too large"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(server: Path, content: bytes, says: str) -> None:
    answer = json.loads(_exchange(server, content))

    assert answer["error"]["kind"] == "refused"
    assert says in answer["error"]["message"]
    assert "\n" not in answer["error"]["message"]


def test_a_request_may_end_with_the_clients_half_of_the_connection(server: Path) -> None:
    with _connected(server) as client:
        client.sendall(b'{"version": 1, "command": "check", "container": "c"}')
        client.shutdown(socket.SHUT_WR)

        assert json.loads(_rest(client))["error"]["kind"] == "unknown"


def test_more_than_one_descriptor_is_refused(server: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with open(__file__, "rb") as any_file:
        answer = _exchange(server, b'{"version": 1}\n', [any_file.fileno()] * 9)

    assert "one descriptor" in json.loads(answer)["error"]["message"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_error_of_the_attacher_is_told_by_kind_in_one_line(
    server: Path, attacher: MemoryAttacher
) -> None:
    attacher.unavailable = "the datastore\ndoes not answer"

    answer = _ask(server, command="allocate", container="one")

    assert answer == {"error": {"kind": "unavailable", "message": "the datastore does not answer"}}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        pytest.param("busy", "the pool is being filled", id="an error that left it"),
        pytest.param("defect", "a defect of the agent", id="a defect"),
    ],
)
def test_a_translator_that_fails_is_answered_for(server: Path, command: str, says: str) -> None:
    answer = _ask(server, command=command)

    assert says in answer["error"]["message"]
    assert answer["error"]["kind"] == "unavailable"


def test_silent_clients_are_cut_off_and_others_get_their_turn(server: Path) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(_connected(server)) for _ in range(2)]

        assert _ask(server, command="check", container="one")["error"]["kind"] == "unknown"
        for each in silent:
            assert b"not complete within" in _rest(each)


def test_without_room_for_a_thread_a_client_is_let_go_and_later_ones_are_served(
    server: Path,
) -> None:
    # No machine has such a stack to give.
    before = threading.stack_size(1 << 46)
    try:
        for _ in range(4):
            with _connected(server) as client:
                assert _rest(client) == b""
    finally:
        threading.stack_size(before)

    assert _ask(server, command="check", container="one")["error"]["kind"] == "unknown"


def test_a_client_that_drips_is_cut_off_as_a_silent_one(server: Path) -> None:
    stop = threading.Event()
    with _connected(server) as client:

        def drip() -> None:
            while not stop.wait(WITHIN / 10):
                try:
                    client.sendall(b" ")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert b"not complete within" in _rest(client)
        finally:
            stop.set()
            thread.join()


def test_a_client_that_does_not_read_is_cut_off(server: Path) -> None:
    big = json.dumps({"version": 1, "command": "echo", "input": "x" * (LARGEST - 200)}).encode()
    with ExitStack() as stack:
        for _ in range(2):
            deaf = stack.enter_context(_connected(server))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            deaf.sendall(big + b"\n")

        assert _ask(server, command="check", container="one")["error"]["kind"] == "unknown"


def test_a_dead_agents_socket_is_replaced(path: Path, attacher: MemoryAttacher) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))

    with AttachServer(path, attacher, {}, within=WITHIN):
        assert _ask(path, command="check", container="one")["error"]["kind"] == "unknown"
    assert not path.exists()


def _other_file(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("somebody's")


def _live(path: Path) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(listening(path))
    return stack


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        pytest.param(_live, "another agent listens", id="a live agent's"),
        pytest.param(_other_file, "a file of another kind", id="no socket"),
    ],
)
def test_what_is_not_a_dead_agents_is_left_alone(
    path: Path,
    attacher: MemoryAttacher,
    prepare: Callable[[Path], ExitStack | None],
    says: str,
) -> None:
    with prepare(path) or ExitStack():
        before = path.lstat().st_ino
        with pytest.raises(SocketTaken, match=says), AttachServer(path, attacher, {}):
            pass
        assert path.lstat().st_ino == before


def test_a_path_that_no_socket_can_have_is_named(tmp_path: Path, attacher: MemoryAttacher) -> None:
    path = tmp_path / ("x" * 108)

    with pytest.raises(SocketTaken, match="107 bytes"), AttachServer(path, attacher, {}):
        pass


def test_a_plugin_s_refusal_is_found_in_the_log_and_a_success_is_not(
    server: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = {"version": 1, "command": "echo", "input": "address 10.9.9.9 is in no pool"}

    _exchange(server, json.dumps({**request, "code": 1}).encode() + b"\n")
    _exchange(server, json.dumps({**request, "input": "fine"}).encode() + b"\n")

    (record,) = [each for each in caplog.records if each.message == "call refused"]
    assert vars(record)["plugin"] == "echo"
    assert "address 10.9.9.9 is in no pool" in vars(record)["why"]
    assert not any("fine" in str(vars(each).get("why")) for each in caplog.records)


def test_every_call_that_came_to_nothing_is_counted_and_the_last_few_are_kept(
    path: Path, attacher: MemoryAttacher
) -> None:
    counted: list[tuple[str, str]] = []
    refusals = Refusals(ManualClock(), lambda caller, kind: counted.append((caller, kind)))
    native = {"version": 1, "command": "check", "container": "nobody"}
    plugin = {"version": 1, "command": "echo", "code": 1}

    with AttachServer(path, attacher, TRANSLATORS, within=WITHIN, refused=refusals.note):
        for request in (
            native,
            {**native, "container": "../x"},
            {**plugin, "code": 0, "input": "fine"},
            {**plugin, "command": "busy"},
            *({**plugin, "input": f"no {number}\x1b[31m\n" + "x" * 1000} for number in range(MOST)),
        ):
            _exchange(path, json.dumps(request).encode() + b"\n")

    assert counted == [
        ("native", "unknown"),
        ("native", "refused"),
        ("busy", "unavailable"),
        *[("echo", "refused")] * MOST,
    ]
    assert [each.why[:11] for each in refusals.last()] == [f"no {n}?[31m x" for n in range(MOST)]
    assert all(len(each.why) == LONGEST for each in refusals.last())
    assert {(each.caller, each.kind) for each in refusals.last()} == {("echo", "refused")}

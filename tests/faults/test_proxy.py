"""What each fault of the proxy does to a real server's clients."""

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from demo.embedded.processes import PROJECT
from tests.faults.door import Address, Door, Fault, Noise, parse_address
from tests.faults.proxy import Proxy, proxied
from tests.faults.switching import SwitchRefusedError, switch

ANSWER = b"0123456789" * 10
PATIENCE = 10.0
SILENCE = 0.3


class Server(ThreadingHTTPServer):
    """Answers always the same, and notes what arrived."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.arrived: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was reset is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.arrived.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    do_PUT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with proxied({"door": f"127.0.0.1:{server.server_port}"}) as proxy:
        yield proxy


def speak(channel: http.client.HTTPConnection, member: str) -> bytes:
    """Ask as a member of etcd does, which is found at this URL."""
    channel.request("GET", "/raft", headers={"X-PeerURLs": member})
    return channel.getresponse().read()


@contextmanager
def client(door: Door) -> Iterator[http.client.HTTPConnection]:
    channel = http.client.HTTPConnection(door.listens.host, door.listens.port, timeout=PATIENCE)
    try:
        yield channel
    finally:
        channel.close()


def ask(channel: http.client.HTTPConnection, method: str = "GET", path: str = "/") -> bytes:
    channel.request(method, path, b"x" if method == "PUT" else None)
    return channel.getresponse().read()


def test_without_a_fault_all_passes_on_one_connection(server: Server, proxy: Proxy) -> None:
    with client(proxy.doors["door"]) as channel:
        assert [ask(channel), ask(channel, "PUT", "/key")] == [ANSWER, ANSWER]

    assert server.arrived == ["GET /", "PUT /key"]
    assert proxy.doors["door"].seen == [("GET", "/"), ("PUT", "/key")]


def test_a_delay_holds_up_question_and_answer(proxy: Proxy) -> None:
    proxy.switch("door", Fault.DELAY, 0.15)
    with client(proxy.doors["door"]) as channel:
        began = time.monotonic()

        assert ask(channel) == ANSWER
        assert time.monotonic() - began >= 0.3


def test_a_cut_resets_what_is_open_and_what_comes(server: Server, proxy: Proxy) -> None:
    with client(proxy.doors["door"]) as channel, client(proxy.doors["door"]) as other:
        ask(channel)

        proxy.switch("door", Fault.CUT)

        for each in (channel, other):
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                ask(each)
    assert server.arrived == ["GET /"]


def test_one_member_of_etcd_is_cut_off_and_the_others_are_not(server: Server) -> None:
    upstream = f"127.0.0.1:{server.server_port}"
    with proxied({"one": upstream, "two": upstream, "three": upstream}) as proxy:
        one, two, three = (proxy.doors[name] for name in ("one", "two", "three"))
        with client(one) as cut, client(one) as whole, client(two) as elsewhere:
            speak(cut, two.url)
            speak(whole, three.url)

            proxy.switch("one", Fault.CUT, speaker="two")

            for _ in range(2):
                # What was open, and what comes.
                with pytest.raises((ConnectionError, http.client.HTTPException)):
                    speak(cut, two.url)
                cut.close()
            assert speak(whole, three.url) == ask(whole) == speak(elsewhere, one.url) == ANSWER

            proxy.switch("one", Fault.NONE, speaker="two")
            assert speak(cut, two.url) == ANSWER


def test_what_happens_to_all_happens_to_one_member_too(server: Server) -> None:
    upstream = f"127.0.0.1:{server.server_port}"
    with proxied({"one": upstream, "two": upstream}) as proxy, client(proxy.doors["one"]) as told:
        proxy.switch("one", Fault.BLACK_HOLE, speaker="two")
        proxy.switch("one", Fault.SWALLOW)

        with pytest.raises(http.client.RemoteDisconnected):
            speak(told, proxy.doors["two"].url)


def test_a_swallowed_answer_was_given(server: Server, proxy: Proxy) -> None:
    proxy.switch("door", Fault.SWALLOW)
    with client(proxy.doors["door"]) as channel, pytest.raises(http.client.RemoteDisconnected):
        ask(channel, "PUT", "/key")

    assert server.arrived == ["PUT /key"]


def test_of_a_truncated_answer_only_a_part_comes(proxy: Proxy) -> None:
    proxy.switch("door", Fault.TRUNCATE)
    with socket.create_connection(("127.0.0.1", proxy.doors["door"].listens.port)) as channel:
        channel.settimeout(5)
        channel.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b"".join(iter(lambda: channel.recv(1000), b""))

    assert received.startswith(b"HTTP/1.1 200")
    assert not received.endswith(ANSWER)


def test_garbage_is_no_answer(proxy: Proxy) -> None:
    proxy.switch("door", Fault.GARBAGE)
    with client(proxy.doors["door"]) as channel:
        try:
            received = ask(channel)
        except (http.client.HTTPException, TimeoutError):
            return
        assert received != ANSWER


def test_noise_is_the_same_for_the_same_seed_and_sometimes_keeps_the_head() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + ANSWER
    spoilt = [noise.spoil(answer) for noise in [Noise()] for _ in range(20)]

    assert spoilt == [noise.spoil(answer) for noise in [Noise()] for _ in range(20)]
    assert {len(piece) for piece in spoilt} == {len(answer)}
    assert {piece.startswith(b"HTTP/1.1 200 OK\r\n\r\n") for piece in spoilt} == {True, False}
    assert not any(ANSWER in piece for piece in spoilt)


def test_a_black_hole_accepts_and_keeps_silent_until_it_ends(server: Server, proxy: Proxy) -> None:
    with client(proxy.doors["door"]) as old, client(proxy.doors["door"]) as new:
        ask(old)
        proxy.switch("door", Fault.BLACK_HOLE)
        for channel in (old, new):
            channel.request("GET", "/late")
            channel.sock.settimeout(SILENCE)
            with pytest.raises(TimeoutError):
                channel.sock.recv(1)
        assert server.arrived == ["GET /"]

        proxy.switch("door", Fault.NONE)

        for channel in (old, new):
            channel.sock.settimeout(PATIENCE)
        assert b"200 OK" in old.sock.recv(1000)
        assert b"200 OK" in new.sock.recv(1000)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
def test_after_a_fault_all_passes_again(proxy: Proxy, fault: Fault) -> None:
    proxy.switch("door", fault, 0.01)
    proxy.switch("door", Fault.NONE)

    with client(proxy.doors["door"]) as channel:
        assert ask(channel) == ANSWER


def test_one_door_is_broken_and_the_other_is_not(server: Server) -> None:
    behind = f"http://127.0.0.1:{server.server_port}"
    with proxied({"one": behind, "two": behind}) as proxy:
        proxy.switch("one", Fault.CUT)

        with client(proxy.doors["two"]) as channel:
            assert ask(channel) == ANSWER
        with (
            client(proxy.doors["one"]) as channel,
            pytest.raises((OSError, http.client.HTTPException)),
        ):
            ask(channel)


def test_where_nobody_listens_behind_a_door_a_client_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        proxied({"door": f"127.0.0.1:{port}"}) as proxy,
        client(proxy.doors["door"]) as channel,
        pytest.raises(ConnectionError),
    ):
        ask(channel)


def test_the_answer_to_one_write_is_lost_by_its_number(server: Server, proxy: Proxy) -> None:
    door = proxy.doors["door"]
    door.swallow = 1
    with client(door) as channel:
        assert ask(channel, "PUT", "/first") == ANSWER
        assert ask(channel) == ANSWER
        with pytest.raises(http.client.RemoteDisconnected):
            ask(channel, "PUT", "/second")
        assert ask(channel, "PUT", "/third") == ANSWER

    assert server.arrived == ["PUT /first", "GET /", "PUT /second", "PUT /third"]
    assert door.writes == 3


def test_a_proxy_in_another_process_is_switched_over_its_socket(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "switch"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = (sys.executable, "-m", "tests.faults")
    process = subprocess.Popen(
        (*command, "serve", str(path), f"door=127.0.0.1:{port}=127.0.0.1:{server.server_port}"),
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    door = Door(parse_address("127.0.0.1:1"))
    door.listens = Address("127.0.0.1", port)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        subprocess.run((*command, "switch", str(path), "door", "cut"), cwd=PROJECT, check=True)
        with client(door) as channel, pytest.raises((OSError, http.client.HTTPException)):
            ask(channel)
        switch(path, "door", Fault.NONE)
        with client(door) as channel:
            assert ask(channel) == ANSWER
        with pytest.raises(SwitchRefusedError, match="no door 'window'; there are door"):
            switch(path, "window", Fault.CUT)
    finally:
        process.communicate(timeout=10)
    assert process.returncode == 0

"""Probe and collector as processes, over real HTTP on loopback."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.contract.real_etcd import free_port
from tests.star_world import Got, StarWorld, call, program, serving, star_world, wait_until


@pytest.fixture(scope="module")
def world() -> Iterator[StarWorld]:
    """Four probes whose doors agree with their groups, and facts of them."""
    with star_world() as running:
        running.settle()
        yield running


@pytest.fixture
def collector() -> Iterator[str]:
    """One that asks nothing yet."""
    port = free_port()
    with program("demo.star.collect", f"--port={port}"):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url), "it answers")
        yield url


def _answers(url: str) -> bool:
    try:
        return call(f"{url}/status").status == 200
    except OSError:
        return False


def response(collector: str, name: str) -> object:
    return call(f"{collector}/responses").json["responses"].get(name)


def test_a_probe_tells_what_it_reaches_in_the_original_shape() -> None:
    port, closed = free_port(), free_port()
    urls = f"http://127.0.0.1:{port}/status,127.0.0.1:{closed},http://nobody.invalid:9000/status"
    with program("demo.star.probe", f"--port={port}", f"--urls={urls}"):
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}"), "it answers")
        status = f"http://127.0.0.1:{port}/status"
        wait_until(
            lambda: all(each["age"] is not None for each in call(status).json["status"]["targets"]),
            "each was tried",
        )
        targets = call(status).json["status"]["targets"]
    assert [(each["url"], each["reachable"]) for each in targets] == list(
        zip(urls.split(","), (True, False, False), strict=True)
    )


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(302, id="a redirect, which is not followed"),
        pytest.param(500, id="a failure"),
        pytest.param(404, id="a page that is not there"),
    ],
)
def test_whatever_answers_by_http_is_reached(status: int) -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return status, b"/elsewhere"

    port = free_port()
    with (
        serving(answer, "127.0.0.1", 0) as target,
        program("demo.star.probe", f"--port={port}", f"--urls=http://127.0.0.1:{target}/x"),
    ):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url), "it answers")
        wait_until(
            lambda: call(f"{url}/status").json["status"]["targets"][0]["reachable"], "reached"
        )
    assert set(asked) == {"/x"}


def test_a_bad_url_is_refused_with_a_reason() -> None:
    with program("demo.star.probe", f"--port={free_port()}", "--urls=ftp://x/") as process:
        assert process.wait(10) == 2


def test_resources_come_and_go_over_rest(collector: str) -> None:
    resource = {"id": "A", "url": "http://127.0.0.1:1/status"}
    resources = f"{collector}/resources"
    assert call(resources).json == {"resources": []}
    plain = call(resources, "POST", resource)
    assert (plain.status, plain.json) == (201, resource)
    wrapped = call(resources, "POST", {"resource": {**resource, "id": "B"}})
    assert (wrapped.status, wrapped.json) == (201, {"resource": {**resource, "id": "B"}})
    assert [each["id"] for each in call(resources).json["resources"]] == ["A", "B"]
    assert call(f"{resources}/A").json == {"resource": resource}
    assert call(f"{resources}/A", "DELETE").status == 200
    assert call(f"{resources}/A").status == 404
    assert call(f"{resources}/A", "DELETE").status == 404
    assert call(resources, "PUT", resource).status == 405


def test_responses_have_the_original_shape_and_an_old_probe_is_understood(collector: str) -> None:
    body = b'{"status": {"targets": [{"url": "http://b/status", "reachable": true}]}}'
    with serving(lambda _: (200, body), "127.0.0.1", 0) as probe:
        url = f"http://127.0.0.1:{probe}/status"
        call(f"{collector}/resources", "POST", {"id": "A", "url": url})
        call(f"{collector}/resources", "POST", {"id": "B", "url": "http://127.0.0.1:1/status"})
        wait_until(lambda: response(collector, "A") is not None, "it is asked")
        wanted = {
            "url": url,
            "statusCode": 200,
            "json": {"status": {"targets": [{"url": "http://b/status", "reachable": True}]}},
        }
        assert call(f"{collector}/responses").json == {"responses": {"A": wanted, "B": None}}
        assert call(f"{collector}/responses/A").json == {"response": {"A": wanted}}
        assert call(f"{collector}/responses/C").status == 404


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([], id="no object"),
        pytest.param({"id": "A"}, id="no url"),
        pytest.param({"id": "", "url": "http://x/"}, id="no id"),
        pytest.param({"id": "a" * 65, "url": "http://x/"}, id="a long id"),
        pytest.param({"id": "a\n", "url": "http://x/"}, id="a control character"),
        pytest.param({"id": "A", "url": "file:///etc/passwd"}, id="another scheme"),
        pytest.param({"id": "A", "url": "http://u:p@x/"}, id="a password"),
        pytest.param({"id": "A", "url": "http://x/\r\nX: y"}, id="another header"),
        pytest.param({"id": "A", "url": "http://x:99999/"}, id="no port"),
        pytest.param({"resource": None}, id="nothing in it"),
    ],
)
def test_what_is_no_resource_is_refused_with_a_reason(collector: str, body: object) -> None:
    refused = call(f"{collector}/resources", "POST", body)
    assert refused.status == 400
    assert refused.json["message"]
    assert call(f"{collector}/resources").json == {"resources": []}


def test_bodies_and_the_number_of_resources_have_limits(collector: str) -> None:
    large = call(f"{collector}/resources", "POST", {"id": "A", "url": "x" * 20000})
    assert large.status == 413
    closed = "http://127.0.0.1:1/"
    for number in range(100):
        made = call(f"{collector}/resources", "POST", {"id": f"r{number}", "url": closed})
        assert made.status == 201
    assert call(f"{collector}/resources", "POST", {"id": "one", "url": closed}).status == 409
    assert call(f"{collector}/resources", "POST", {"id": "r7", "url": f"{closed}x"}).status == 201


def post(collector: str, **headers: str) -> Got:
    resource = {"id": "A", "url": "http://127.0.0.1:1/"}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return call(f"{collector}/resources", "POST", resource, names)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Content_Type": "text/plain"}, 415, id="a form of a foreign page"),
        pytest.param({"Origin": "http://evil.example"}, 403, id="a foreign origin"),
        pytest.param({"Origin": "null"}, 403, id="an origin without a name"),
        pytest.param({"Host": "evil.example"}, 403, id="a name that was rebound"),
        pytest.param({"Host": "collect.star.marathon.mesos:9001"}, 201, id="its name in Mesos"),
        pytest.param({"Host": "localhost:9001"}, 201, id="localhost"),
    ],
)
def test_a_foreign_page_cannot_use_a_browser_here(
    collector: str, headers: dict[str, str], status: int
) -> None:
    assert post(collector, **headers).status == status


def test_a_page_may_not_run_what_is_not_its_own(collector: str) -> None:
    page = call(f"{collector}/")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    text = page.body.decode()
    assert "style=" not in text
    assert "<style" not in text
    assert "onclick" not in text
    assert all(part.startswith(' type="module" src="/') for part in text.split("<script")[1:])


@pytest.mark.parametrize(
    "path", ["/../probe.py", "/%2e%2e/probe.py", "/page/star.js", "/etc/passwd", "/star.py"]
)
def test_nothing_but_the_page_is_served_of_the_disk(collector: str, path: str) -> None:
    assert call(f"{collector}{path}").status == 404


def test_who_hangs_drips_or_is_too_large_delays_nobody_else(collector: str) -> None:
    large = b'{"x": "' + b"y" * (1 << 19) + b'"}'
    with ExitStack() as stack:
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        drips = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        over = threading.Event()
        stack.callback(over.set)
        threading.Thread(target=_drip, args=(drips, over), daemon=True).start()
        big = stack.enter_context(serving(lambda _: (200, large), "127.0.0.1", 0))
        count = [0]

        def fine(_: str) -> tuple[int, bytes]:
            count[0] += 1
            return 200, b'{"status": {"targets": []}}'

        good = stack.enter_context(serving(fine, "127.0.0.1", 0))
        ports = {
            **{f"mute-{n}": mute.getsockname()[1] for n in range(10)},
            "drips": drips.getsockname()[1],
            "large": big,
            "good": good,
        }
        for name, port in ports.items():
            url = f"http://127.0.0.1:{port}/status"
            call(f"{collector}/resources", "POST", {"id": name, "url": url})
        began, first = time.monotonic(), count[0]
        wait_until(lambda: count[0] >= first + 6, "it is asked on and on")
        # Six times every half a second, whatever the others do.
        assert time.monotonic() - began < 6
        responses = call(f"{collector}/responses").json["responses"]
        assert responses["good"]["statusCode"] == 200
        assert {name for name, each in responses.items() if each is None} == {*ports} - {"good"}


def _drip(listener: socket.socket, over: threading.Event) -> None:
    held = []
    listener.settimeout(0.2)
    while not over.is_set():
        with suppress(OSError):
            held.append(listener.accept()[0])
        for connection in held:
            try:
                connection.sendall(b"H")
            except OSError:
                continue
    for connection in held:
        connection.close()


def test_resources_of_a_file_are_asked_from_the_start(tmp_path: Path) -> None:
    file = tmp_path / "resources.json"
    file.write_text('[{"id": "A", "url": "http://127.0.0.1:1/status"}]')
    port = free_port()
    with program("demo.star.collect", f"--port={port}", f"--resources-file={file}"):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url), "it answers")
        assert call(f"{url}/responses").json == {"responses": {"A": None}}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"id": "A", "url": "x:y:z"}]', "[" * 100000])
def test_a_bad_file_ends_the_collector_with_a_reason(tmp_path: Path, text: str) -> None:
    file = tmp_path / "resources.json"
    file.write_text(text)
    flags = (f"--port={free_port()}", f"--resources-file={file}")
    with program("demo.star.collect", *flags) as process:
        assert process.wait(20) == 2


def test_events_tell_the_state_at_once_and_then_that_it_lives(world: StarWorld) -> None:
    host, port = world.page.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        received = b""
        while b"event: beat\n" not in received:
            chunk = connection.recv(65536)
            assert chunk
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Type: text/event-stream" in head
    assert body.startswith(b"event: state\ndata: {")


def test_why_is_asked_of_the_product_about_the_tasks_and_the_port(world: StarWorld) -> None:
    told = call(f"{world.page}/why?from=A&to=C").body.decode()
    door = world.door["a", "c"]
    assert f"from=star-iso_probe-a.1&to=star-iso_probe-c.1%3A{door}" in told
    assert "no task" in call(f"{world.page}/why?from=A&to=Z").body.decode()
    assert call(f"{world.page}/why?from=A").status == 400


def test_a_leak_and_a_broken_pair_are_told_and_end(world: StarWorld) -> None:
    world.open("a", "c")
    world.shut("a", "b")
    wait_until(lambda: world.states()["A", "C"] == "LEAK", "the leak is told")
    wait_until(lambda: world.states()["A", "B"] == "BROKEN", "the broken pair is told")
    world.agree("a", "c")
    world.agree("a", "b")
    world.settle()
    kinds = {entry["kind"]: entry for entry in world.state()["timeline"]}
    assert kinds["LEAK"]["settled"] > 0
    assert kinds["BROKEN"]["settled"] > 0


def test_a_change_is_settling_and_never_an_alarm(world: StarWorld) -> None:
    world.regroup("b", ["star-2"], number=2)
    seen: set[str] = set()

    def settled() -> bool:
        states = world.states()
        seen.update(states.values())
        newest = world.state()["timeline"][:2]
        told = any("→" in entry["text"] for entry in newest)
        return told and newest[0]["settled"] is not None

    wait_until(settled, "it has settled")
    assert seen <= {"ok-allowed", "ok-denied", "settling"}
    assert "settling" in seen
    assert world.states()["B", "D"] == "ok-allowed"


def test_facts_that_are_not_told_any_more_are_said_to_be_old(world: StarWorld) -> None:
    world.told.silent = True
    wait_until(lambda: world.state()["problem"] != "", "it says so")
    world.told.silent = False
    wait_until(lambda: world.state()["problem"] == "", "it is over")

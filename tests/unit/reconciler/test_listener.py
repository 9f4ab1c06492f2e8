"""The pages over real HTTP on loopback."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from prometheus_client import CollectorRegistry, Counter

from reconciler.runtime.listener import Ask, ListenAddress, Listener, Page, parse_listen


@pytest.fixture
def url() -> Iterator[str]:
    registry = CollectorRegistry()
    Counter("passes", "Passes.", registry=registry).inc()
    pages = {"/healthz": lambda: Page(True), "/readyz": lambda: Page(False, {"reason": "no list"})}
    with Listener(ListenAddress("127.0.0.1", 0), pages, registry) as listener:
        yield f"http://{listener.address}"


def test_a_healthy_page_is_200_and_one_line_of_json(url: str) -> None:
    answer = requests.get(f"{url}/healthz", timeout=5)

    assert (answer.status_code, answer.text) == (200, '{"ok": true}\n')


def test_a_client_that_hangs_up_on_its_answer_is_not_worth_a_word(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    others = set(threading.enumerate())
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=5) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        client.recv(1)
        served = set(threading.enumerate()) - others
        # Closed with a reset, as a program is that ends before it has read all.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for thread in served:
        thread.join(timeout=5)

    assert served
    assert capfd.readouterr().err == ""


def test_a_page_that_is_not_well_is_503_and_says_why(url: str) -> None:
    answer = requests.get(f"{url}/readyz", timeout=5)

    assert (answer.status_code, answer.json()["reason"]) == (503, "no list")


def test_metrics_are_those_of_the_registry(url: str) -> None:
    assert "passes_total 1.0" in requests.get(f"{url}/metrics", timeout=5).text


def test_an_unknown_page_names_those_there_are(url: str) -> None:
    answer = requests.get(f"{url}/nothing", timeout=5)

    assert answer.status_code == 404
    assert answer.json()["pages"] == ["/healthz", "/metrics", "/readyz"]


def read(ask: Ask) -> Page:
    """A page that says what it was asked."""
    if ask.rest == "secret":
        return Page(False, {"reason": "not for you"}, 403)
    return Page(True, {"peer": str(ask.peer), "rest": ask.rest, "query": dict(ask.query)})


@pytest.fixture
def asked() -> Iterator[str]:
    readers = {"/one": read, "/many/": read}
    registry = CollectorRegistry()
    with Listener(ListenAddress("127.0.0.1", 0), {}, registry, readers) as listener:
        yield f"http://{listener.address}"


@pytest.mark.parametrize(
    ("path", "rest", "query"),
    [
        pytest.param("/one", "", {}, id="the path itself"),
        pytest.param("/one?a=1&b=x%20y", "", {"a": "1", "b": "x y"}, id="a query"),
        pytest.param("/many/web.1", "web.1", {}, id="what lies below"),
        pytest.param("/many/a%2Fb%20c", "a/b c", {}, id="in other letters"),
    ],
)
def test_a_reader_is_told_what_is_asked_and_who_asks(
    asked: str, path: str, rest: str, query: dict[str, str]
) -> None:
    answer = requests.get(f"{asked}{path}", timeout=5)

    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "peer": "127.0.0.1", "rest": rest, "query": query}


def test_a_reader_may_refuse(asked: str) -> None:
    answer = requests.get(f"{asked}/many/secret", timeout=5)

    assert (answer.status_code, answer.json()["reason"]) == (403, "not for you")


@pytest.mark.parametrize("path", ["/", "/many", "/many/", "/many/a/b", "/one/x"])
def test_what_no_reader_is_for_is_unknown(asked: str, path: str) -> None:
    answer = requests.get(f"{asked}{path}", timeout=5)

    assert answer.status_code == 404
    assert answer.json()["pages"] == ["/many/", "/metrics", "/one"]


def test_the_announcement_has_the_real_port() -> None:
    with Listener(ListenAddress("127.0.0.1", 0), {}, CollectorRegistry()) as listener:
        told = json.loads(listener.announcement("agent"))

        assert told["listen"] == str(listener.address)
        assert listener.address.port > 0


def test_a_taken_port_is_an_error_at_the_start() -> None:
    with Listener(ListenAddress("127.0.0.1", 0), {}, CollectorRegistry()) as first:
        second = Listener(first.address, {}, CollectorRegistry())
        with pytest.raises(OSError, match="in use"):
            second.__enter__()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        pytest.param(":9402", ListenAddress("", 9402), id="every address"),
        pytest.param("127.0.0.1:0", ListenAddress("127.0.0.1", 0), id="any port"),
        pytest.param("[::1]:9402", ListenAddress("::1", 9402), id="IPv6 in brackets"),
    ],
)
def test_an_address_to_listen_on_is_parsed(text: str, address: ListenAddress) -> None:
    assert parse_listen(text, usual=9402) == address


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("9402", id="no colon"),
        pytest.param(":", id="no port"),
        pytest.param(":70000", id="port out of range"),
        pytest.param("::1:9402", id="IPv6 without brackets"),
        pytest.param(":²", id="a digit that is none"),
        pytest.param("a/b:9402", id="what no machine is called"),
        pytest.param("10.0.0.999:9402", id="an address that is none"),
    ],
)
def test_what_is_no_address_to_listen_on_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"PORT|brackets"):
        parse_listen(text, usual=9402)

"""What only a real server can do to us: be away, be hung, be something else."""

import gc
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from calico.datastore.api import ABSENT, Key
from calico.datastore.etcd import TIMEOUT, EtcdDatastore
from calico.datastore.members import Failover
from calico.errors import Conflict, DatastoreRefused, DatastoreUnavailable
from reconciler.cli.options import EtcdSettings
from reconciler.controller.adoption.hearing import WAIT
from tests.contract.real_etcd import free_port, running_etcd

KEY = Key("/test/only-etcd/a")


@contextmanager
def hung_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """Takes connections, and never answers; keeps who came."""
    came: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    came.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in came:
                each.close()


@contextmanager
def answering(
    status: int, body: bytes, kind: str = "text/html", location: str = ""
) -> Iterator[str]:
    """A web server that gives everyone the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def calls(datastore: EtcdDatastore) -> dict[str, object]:
    return {
        "get": lambda: datastore.get(KEY),
        "list": lambda: datastore.list(KEY),
        "put": lambda: datastore.put(KEY, "1"),
        "delete": lambda: datastore.delete(KEY),
        "watch": lambda: list(datastore.watch(KEY, ABSENT, 0.2)),
    }


CALLS = ["get", "list", "put", "delete", "watch"]


def call(datastore: EtcdDatastore, name: str) -> None:
    action = calls(datastore)[name]
    assert callable(action)
    action()


@pytest.mark.parametrize("name", CALLS)
def test_nobody_there_is_unavailable_and_names_the_url(name: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(DatastoreUnavailable, match=url) as caught:
        call(EtcdDatastore([url]), name)
    assert "Connection refused" in str(caught.value)
    assert "--etcd" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CALLS)
def test_a_server_without_the_v2_api_is_refused_with_the_remedy(
    etcd_url_without_v2: str, name: str
) -> None:
    with pytest.raises(DatastoreRefused, match=etcd_url_without_v2) as caught:
        call(EtcdDatastore([etcd_url_without_v2]), name)
    assert "--enable-v2" in str(caught.value)
    assert "3.5" in str(caught.value)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        pytest.param(200, b"<html>hello</html>", DatastoreRefused, id="a web page"),
        pytest.param(404, b"404 page not found", DatastoreRefused, id="no such page"),
        pytest.param(401, b'{"message":"Insufficient credentials"}', DatastoreRefused, id="401"),
        pytest.param(301, b"moved", DatastoreRefused, id="a redirect"),
        pytest.param(502, b"<html>bad gateway</html>", DatastoreUnavailable, id="a proxy"),
        pytest.param(500, b'{"errorCode":300,"message":"Raft"}', DatastoreUnavailable, id="raft"),
        pytest.param(
            503, b'{"errorCode":301,"message":"election"}', DatastoreUnavailable, id="election"
        ),
        pytest.param(200, b"", DatastoreUnavailable, id="nothing at all"),
        pytest.param(200, b"[" * 100_000, DatastoreRefused, id="a bottomless nest"),
        pytest.param(500, b"[" * 100_000, DatastoreUnavailable, id="a bottomless nest of an error"),
        pytest.param(400, b'{"errorCode":[]}', DatastoreRefused, id="an error that is no number"),
        pytest.param(
            403, b'{"errorCode":110,"message":"permission"}', DatastoreRefused, id="no permission"
        ),
    ],
)
def test_an_answer_that_is_no_result_is_told_apart(
    name: str, status: int, body: bytes, error: type[Exception]
) -> None:
    with answering(status, body) as url, pytest.raises(error, match=url):
        call(EtcdDatastore([url]), name)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("status", [301, 307])
def test_nobody_is_asked_whom_the_members_name(name: str, status: int) -> None:
    with (
        hung_server() as (elsewhere, came),
        answering(status, b"moved", location=f"{elsewhere}/v2/keys{KEY}") as url,
        pytest.raises(DatastoreRefused, match=url),
    ):
        call(EtcdDatastore([url], timeout=0.5), name)
    assert came == []


def test_an_absence_of_no_known_time_is_no_empty_list() -> None:
    body = b'{"errorCode":100,"message":"Key not found"}'
    with answering(404, body) as url, pytest.raises(DatastoreUnavailable):
        EtcdDatastore([url]).list(KEY)


@pytest.mark.parametrize("name", CALLS)
def test_a_hung_member_costs_one_timeout_and_is_asked_once(name: str) -> None:
    with hung_server() as (url, came):
        start = time.monotonic()
        with pytest.raises(DatastoreUnavailable, match="no answer in time"):
            call(EtcdDatastore([url], timeout=0.5), name)
        assert time.monotonic() - start < 1.5
        assert len(came) == 1


@pytest.mark.parametrize("name", ["get", "list", "put", "delete"])
def test_a_member_that_is_away_hands_over_to_the_next(etcd_url: str, name: str) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    call(EtcdDatastore([away, etcd_url]), name)


def test_a_watch_hands_over_to_the_next_member_without_loss(etcd_url: str) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    datastore = EtcdDatastore([away, etcd_url])
    start = datastore.list(KEY).revision
    EtcdDatastore([etcd_url]).put(KEY, "1")
    restarted = EtcdDatastore([away, etcd_url])
    assert len(list(restarted.watch(KEY, start, 0.2))) == 1


def test_a_write_that_a_hung_member_may_have_taken_is_not_repeated(etcd_url: str) -> None:
    EtcdDatastore([etcd_url]).put(KEY, "before")
    with hung_server() as (url, _):
        datastore = EtcdDatastore([url, etcd_url], timeout=0.5)
        with pytest.raises(DatastoreUnavailable):
            datastore.put(KEY, "after")
        # The next request goes to the other member at once.
        start = time.monotonic()
        found = datastore.get(KEY)
        assert time.monotonic() - start < 0.4
    assert found is not None
    assert found.value == "before"


def test_a_read_passes_a_hung_member_within_one_call(etcd_url: str) -> None:
    EtcdDatastore([etcd_url]).put(KEY, "1")
    with hung_server() as (url, _):
        found = EtcdDatastore([url, etcd_url], timeout=0.5).get(KEY)
    assert found is not None


def test_members_that_say_nothing_cost_one_thread_of_a_process_their_timeouts(
    etcd_url: str,
) -> None:
    # given three members, the first two of which hang, and a thread that was with the first
    timeout, failover = 1.0, Failover()
    with hung_server() as (one, _), hung_server() as (two, _):
        urls = [one, two, etcd_url]
        idle, busy = (EtcdDatastore(urls, timeout=timeout, failover=failover) for _ in range(2))
        with pytest.raises(DatastoreUnavailable):
            idle.put(KEY, "1")

        # when another has found the third
        started = time.monotonic()
        busy.get(KEY)
        assert timeout <= time.monotonic() - started < 2 * timeout

        # then both are there at once, and whoever comes next
        for datastore in (idle, busy, EtcdDatastore(urls, timeout=timeout, failover=failover)):
            started = time.monotonic()
            datastore.put(KEY, "2")
            list(datastore.watch(KEY, datastore.list(KEY).revision, 0.1))
            datastore.get(KEY)
            assert time.monotonic() - started < timeout


def test_the_clients_of_one_process_pass_over_who_failed_one_of_them(etcd_url: str) -> None:
    body = b'{"errorCode":301,"message":"election"}'
    with answering(503, body) as failing:
        settings = EtcdSettings((failing, etcd_url))
        with pytest.raises(DatastoreUnavailable, match="election"):
            settings.open().get(KEY)
        settings.open().get(KEY)


def test_a_host_reaches_the_third_member_before_it_is_taken_for_dead(etcd_url: str) -> None:
    # given two members that hang, and timeouts that are short for this test
    timeout = 1.0
    with hung_server() as (one, _), hung_server() as (two, _):
        started = time.monotonic()
        EtcdDatastore([one, two, etcd_url], timeout=timeout).get(KEY)
        took = (time.monotonic() - started) / timeout

    # then a leader waits for longer than that takes
    assert took >= 2
    assert took * TIMEOUT < WAIT


def test_only_the_given_members_are_asked(etcd_url: str) -> None:
    # The cluster advertises etcd_url, which would answer.
    away = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with pytest.raises(DatastoreUnavailable) as caught:
        EtcdDatastore(away).get(KEY)
    assert all(url in str(caught.value) for url in away)


def test_a_client_that_saw_every_member_down_recovers(tmp_path: Path) -> None:
    port = free_port()
    datastore = EtcdDatastore([f"http://127.0.0.1:{port}"])
    with pytest.raises(DatastoreUnavailable):
        datastore.get(KEY)
    with running_etcd(tmp_path, port=port):
        revision = datastore.put(KEY, "1")
        found = datastore.get(KEY)
    assert found is not None
    assert found.revision == revision
    with pytest.raises(DatastoreUnavailable):
        datastore.get(KEY)


def test_a_password_never_shows_in_an_error() -> None:
    port = free_port()
    with pytest.raises(DatastoreUnavailable) as caught:
        EtcdDatastore([f"http://user:s3cret@127.0.0.1:{port}"]).get(KEY)
    assert "s3cret" not in str(caught.value)


def test_many_threads_compare_and_swap_without_losing_a_write(etcd_url: str) -> None:
    datastore = EtcdDatastore([etcd_url])
    key = Key("/test/only-etcd/counter")
    datastore.put(key, "0")

    def add() -> None:
        for _ in range(25):
            while True:
                found = datastore.get(key)
                assert found is not None
                try:
                    datastore.put(key, str(int(found.value) + 1), expect=found.revision)
                except Conflict:
                    continue
                break

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = datastore.get(key)
    assert found is not None
    assert found.value == "100"


def test_connections_end_with_their_datastore(tmp_path: Path) -> None:
    with running_etcd(tmp_path) as url:
        gc.collect()
        gc.disable()
        try:
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(5):
                EtcdDatastore([url]).put(KEY, "a")
            after = len(os.listdir("/proc/self/fd"))
        finally:
            gc.enable()
    assert after == before

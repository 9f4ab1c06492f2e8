"""Marathon over TLS: whom the client trusts, and how it proves who it is."""

import threading
from collections.abc import Callable

import pytest

from marathon_client.client import MarathonClient
from marathon_client.endpoints import USUAL_TLS, TlsFiles
from marathon_client.errors import MarathonUnavailable
from marathon_client.models import AppId
from marathon_client.scaling import ScalingClient
from marathon_client.stream import Backoff, Connected, Disconnected, EventStream, StreamItem
from tests.contract.certificates import Authority, Pair, serving
from tests.unit.marathon_client.loopback import Loopback, as_json, sse, stream

Asked = Callable[[str, TlsFiles], None]
SOON = 10
ROUTES = {
    "/v2/info": as_json({"version": "1.4.13"}),
    "/v2/apps/web": as_json({"app": {"instances": 1, "deployments": []}}),
    "/v2/leader": as_json({"leader": "127.0.0.1:1"}, "404 Not Found"),
    "/v2/events": stream(sse("event_stream_attached", remoteAddress="10.0.0.9")),
}


@pytest.fixture(scope="module")
def server(ours: Authority) -> Pair:
    return ours.sign("server")


def by_rest(url: str, tls: TlsFiles) -> None:
    """Raises what the client makes of it."""
    assert MarathonClient([url], tls=tls).info().version == "1.4.13"


def by_scaling(url: str, tls: TlsFiles) -> None:
    scale = ScalingClient([url], tls=tls).app(AppId("/web"))
    assert scale is not None


def by_stream(url: str, tls: TlsFiles) -> None:
    source = EventStream([url], tls=tls, backoff=Backoff(least=0.01, most=0.05))
    item: StreamItem = next(iter(source))
    source.stop()
    if isinstance(item, Disconnected):
        raise MarathonUnavailable(item.reason)
    assert isinstance(item, Connected)


WAYS = [
    pytest.param(by_rest, id="rest"),
    pytest.param(by_scaling, id="scaling"),
    pytest.param(by_stream, id="event stream"),
]


@pytest.mark.parametrize("ask", WAYS)
def test_a_server_of_a_known_authority_is_talked_to(
    ask: Asked, ours: Authority, server: Pair
) -> None:
    with Loopback(ROUTES, serving(server)) as marathon:
        ask(marathon.url, TlsFiles(ca=ours.file))
        assert marathon.requests


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("trusting", ["nobody in particular", "another"])
def test_a_server_of_an_unknown_authority_is_told_nothing(
    ask: Asked, trusting: str, server: Pair, foreign: Authority
) -> None:
    tls = TlsFiles(ca=foreign.file) if trusting == "another" else USUAL_TLS

    with Loopback(ROUTES, serving(server)) as marathon:
        with pytest.raises(MarathonUnavailable, match="--marathon-ca") as refused:
            ask(marathon.url, tls)
        assert marathon.requests == []

    said = str(refused.value)
    assert "certificate is refused" in said
    assert marathon.url in said
    assert said.isprintable()


@pytest.mark.parametrize("ask", WAYS)
def test_a_server_of_another_name_is_told_nothing(ask: Asked, ours: Authority) -> None:
    elsewhere = ours.sign("elsewhere", "DNS:elsewhere.example")

    with Loopback(ROUTES, serving(elsewhere)) as marathon:
        with pytest.raises(MarathonUnavailable, match="the name in its certificate") as refused:
            ask(marathon.url, TlsFiles(ca=ours.file))
        assert marathon.requests == []

    assert "127.0.0.1" in str(refused.value)


@pytest.mark.parametrize("ask", WAYS)
def test_a_client_proves_who_it_is_where_that_is_asked_for(
    ask: Asked, ours: Authority, server: Pair
) -> None:
    client = ours.sign("client", "DNS:controller")

    with Loopback(ROUTES, serving(server, clients=ours)) as marathon:
        ask(marathon.url, TlsFiles(ours.file, client.cert, client.key))
        seen = len(marathon.requests)
        with pytest.raises(MarathonUnavailable):
            ask(marathon.url, TlsFiles(ours.file))
        assert len(marathon.requests) == seen > 0


def test_a_reader_of_an_encrypted_stream_is_woken_to_end(ours: Authority, server: Pair) -> None:
    connected = threading.Event()

    def read(source: EventStream) -> None:
        for item in source:
            if isinstance(item, Connected):
                connected.set()

    with Loopback(ROUTES, serving(server)) as marathon:
        source = EventStream([marathon.url], tls=TlsFiles(ours.file))
        reader = threading.Thread(target=read, args=(source,), daemon=True)
        reader.start()
        assert connected.wait(SOON)
        source.stop()
        reader.join(SOON)
        assert not reader.is_alive()

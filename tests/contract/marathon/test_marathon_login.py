"""A service account of DC/OS against a real login over HTTP, willing and not."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from marathon_client.client import MarathonClient
from marathon_client.endpoints import ServiceAccount, parse_service_account
from marathon_client.errors import MarathonError, MarathonRejected, MarathonUnavailable
from marathon_client.login import LIFE, MARGIN, SIGNED_FOR, Login
from marathon_client.stream import Backoff, Connected, EventStream
from marathon_client.transport import Timeouts
from tests.contract.certificates import Authority, serving
from tests.unit.marathon_client.loopback import (
    Loopback,
    Reply,
    as_json,
    in_turn,
    reply,
    silence,
    sse,
    stream,
)

LOGIN = "/acs/api/v1/auth/login"
QUICK = Timeouts(connect=2, read=0.8, total=1.2)
UNAUTHORIZED = reply(b"", "401 Unauthorized")
NO_LEADER = as_json({"message": "There is no leader"}, "404 Not Found")


@dataclass
class Clocks:
    """Both clocks of a login, moved by the test."""

    steady: float = 1000.0
    wall: float = field(default_factory=time.time)

    def login(self) -> Login:
        return Login(lambda: self.steady, lambda: self.wall)

    def after(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def account(key: rsa.RSAPrivateKey) -> Callable[[Loopback], ServiceAccount]:
    return lambda server: ServiceAccount("mc", pem(key), server.url + LOGIN)


def token(life: float = LIFE, *, number: int = 1) -> str:
    """A token as DC/OS gives it, whose key is none of our business."""
    claims = {"exp": int(time.time() + life), "uid": "mc", "n": number}
    return jwt.encode(claims, "a key of the login's own, long enough", algorithm="HS256")


def gives(*tokens: str) -> Reply:
    return in_turn(*(as_json({"token": each}) for each in tokens))


def authorizations(server: Loopback, path: str) -> list[str]:
    return [
        each for sent in server.requests if sent.path == path for each in sent.all("Authorization")
    ]


def test_a_token_is_asked_for_once_and_sent_with_every_request(
    account: Callable[[Loopback], ServiceAccount], key: rsa.RSAPrivateKey
) -> None:
    given = token()
    routes = {LOGIN: gives(given), "/v2/info": as_json({"version": "1"})}
    with Loopback(routes) as server:
        client = MarathonClient([server.url], account(server))
        for _ in range(3):
            assert client.info().version == "1"
        assert server.paths() == [LOGIN, *["/v2/info"] * 3]
        assert authorizations(server, "/v2/info") == [f"token={given}"] * 3
        (asked,) = (each for each in server.requests if each.path == LOGIN)
        said = json.loads(asked.body)
    assert (asked.method, said["uid"]) == ("POST", "mc")
    assert abs(said["exp"] - time.time() - LIFE) < 30
    word = jwt.decode(said["token"], key.public_key(), algorithms=["RS256"])
    assert word["uid"] == "mc"
    assert abs(word["exp"] - time.time() - SIGNED_FOR) < 30


def test_the_stream_and_its_search_for_a_leader_log_in_too(
    account: Callable[[Loopback], ServiceAccount],
) -> None:
    events = stream(sse("event_stream_attached", remoteAddress="10.0.0.9"))
    routes = {LOGIN: gives(token()), "/v2/leader": NO_LEADER, "/v2/events": events}
    with Loopback(routes) as server:
        source = EventStream([server.url], account(server))
        assert isinstance(next(iter(source)), Connected)
        source.stop()
        assert all(authorizations(server, path) for path in ("/v2/leader", "/v2/events"))


def test_f25_a_token_that_is_refused_is_renewed_once(
    account: Callable[[Loopback], ServiceAccount], key: rsa.RSAPrivateKey
) -> None:
    clocks, old, new = Clocks(), token(number=1), token(number=2)
    answers = in_turn(
        as_json({"version": "1"}), UNAUTHORIZED, as_json({"version": "2"}), UNAUTHORIZED
    )
    with Loopback({LOGIN: gives(old, new), "/v2/info": answers}) as server:
        client = MarathonClient([server.url], account(server), login=clocks.login())
        client.info()
        clocks.after(MARGIN)
        assert client.info().version == "2"
        assert authorizations(server, "/v2/info") == [f"token={each}" for each in (old, old, new)]
        # And not again and again: the login is a service of others too.
        for _ in range(5):
            with pytest.raises(MarathonRejected, match="401"):
                client.info()
        assert server.paths().count(LOGIN) == 2


@pytest.mark.parametrize(
    ("life", "lasts"),
    [
        pytest.param(300.0, 300.0 - MARGIN, id="as it says"),
        pytest.param(-7200.0, MARGIN, id="a wall clock that is ahead asks no more often"),
    ],
)
def test_a_token_is_renewed_before_its_end(
    account: Callable[[Loopback], ServiceAccount], life: float, lasts: float
) -> None:
    clocks = Clocks()
    routes = {LOGIN: gives(token(life)), "/v2/info": as_json({"version": "1"})}
    with Loopback(routes) as server:
        client = MarathonClient([server.url], account(server), login=clocks.login())
        client.info()
        clocks.after(lasts - 5)
        client.info()
        assert server.paths().count(LOGIN) == 1
        clocks.after(10)
        client.info()
        assert server.paths().count(LOGIN) == 2


def test_a_login_that_refuses_is_left_alone_for_a_while(
    account: Callable[[Loopback], ServiceAccount],
) -> None:
    clocks = Clocks()
    with Loopback({LOGIN: UNAUTHORIZED, "/v2/info": as_json({"version": "1"})}) as server:
        client = MarathonClient([server.url], account(server), login=clocks.login())
        for _ in range(5):
            with pytest.raises(MarathonRejected, match=r"refuses the service account \(401\)"):
                client.info()
        assert server.paths() == [LOGIN]
        clocks.after(MARGIN)
        server.routes[LOGIN] = gives(token())
        assert client.info().version == "1"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(reply(b"<html>", "503 Busy", "text/html"), "answers 503", id="busy"),
        pytest.param(reply(b"<html>"), "answers no token", id="no JSON"),
        pytest.param(as_json({"token": 5}), "answers no token", id="no text"),
        pytest.param(as_json({"token": "a\r\nX: b"}), "answers no token", id="a header more"),
        pytest.param(reply(b"[" * 100_000), "answers no token", id="a bottomless nest"),
        pytest.param(reply(b"", "302 Found", Location="http://x/"), "answers 302", id="redirect"),
        pytest.param(silence, "no answer in time", id="silence"),
    ],
)
def test_a_login_that_makes_no_sense_is_named_in_one_line(
    account: Callable[[Loopback], ServiceAccount], answer: Reply, says: str
) -> None:
    with Loopback({LOGIN: answer, "/v2/info": as_json({"version": "1"})}) as server:
        with pytest.raises(MarathonUnavailable) as failed:
            MarathonClient([server.url], account(server), QUICK).info()
        assert server.paths() == [LOGIN]
    assert says in str(failed.value)
    assert LOGIN in str(failed.value)
    assert str(failed.value).isprintable()


def test_a_token_follows_no_redirect_and_goes_to_no_unlisted_leader(
    account: Callable[[Loopback], ServiceAccount],
) -> None:
    given = token()
    events = stream(sse("event_stream_attached", remoteAddress="10.0.0.9"))
    with Loopback({"/v2/events": events}) as leader:
        routes = {LOGIN: gives(given), "/v2/leader": as_json({"leader": leader.authority})}
        with Loopback(routes) as server:
            source = EventStream([server.url], account(server), backoff=Backoff(0.01, 0.05))
            assert isinstance(next(iter(source)), Connected)
            source.stop()
        assert authorizations(leader, "/v2/events") == []


def test_the_login_has_to_prove_its_name_as_well(
    account: Callable[[Loopback], ServiceAccount], tmp_path: Path
) -> None:
    certified = Authority(tmp_path).sign("login")
    with Loopback({LOGIN: gives(token())}, serving(certified)) as server:
        with pytest.raises(MarathonUnavailable, match="certificate is refused"):
            MarathonClient([server.url], account(server)).info()
        assert server.requests == []


def test_key_and_token_show_in_no_error(
    account: Callable[[Loopback], ServiceAccount], key: rsa.RSAPrivateKey
) -> None:
    given, texts = token(), list[str]()
    for routes in (
        {LOGIN: gives(given), "/v2/info": UNAUTHORIZED},
        {LOGIN: UNAUTHORIZED},
        {LOGIN: as_json({"token": f"{given}\n"})},
        {LOGIN: gives(given), "/v2/info": reply(given.encode(), "500 Broken", "text/plain")},
    ):
        with Loopback(routes) as server:
            who = account(server)
            texts.append(repr(who))
            with pytest.raises(MarathonError) as failed:
                MarathonClient([server.url], who).info()
            texts += [str(failed.value), repr(failed.value)]
    secret = pem(key).splitlines()[1]
    assert not [text for text in texts if given in text or secret in text]


BROKEN = {"uid": "mc", "private_key": "s3cret", "login_endpoint": "https://m/login"}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("{s3cret", id="no JSON"),
        pytest.param("[" * 100_000, id="a bottomless nest"),
        pytest.param('["s3cret"]', id="no object"),
        *(pytest.param(json.dumps({**BROKEN, name: 5}), id=f"no {name}") for name in BROKEN),
        pytest.param(json.dumps({**BROKEN, "scheme": "HS256"}), id="another scheme"),
        pytest.param(json.dumps({**BROKEN, "login_endpoint": "s3cret"}), id="no URL"),
    ],
)
def test_what_is_no_service_account_is_refused_without_quoting_it(said: str) -> None:
    with pytest.raises(ValueError, match="service account") as refused:
        parse_service_account(said)
    assert "s3cret" not in str(refused.value)

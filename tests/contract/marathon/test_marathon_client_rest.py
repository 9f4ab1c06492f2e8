"""MarathonClient against real HTTP, well-behaved and not."""

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from marathon_client.client import MarathonClient
from marathon_client.endpoints import Credentials
from marathon_client.errors import (
    InvalidApp,
    InvalidUrl,
    MarathonError,
    MarathonRejected,
    MarathonUnavailable,
)
from marathon_client.models import AppId
from marathon_client.transport import Timeouts
from tests.unit.marathon_client.loopback import (
    Loopback,
    Reply,
    as_json,
    drip,
    in_turn,
    not_marathon,
    raw,
    reply,
    silence,
)

QUICK = Timeouts(connect=2, read=0.8, total=1.2)
WEB: dict[str, Any] = {
    "id": "/shop/web",
    "version": "v2",
    "ipAddress": {"groups": ["web"]},
    "tasks": [{"id": "shop_web.1", "host": "h", "state": "TASK_RUNNING"}],
}


def closed_url() -> str:
    """A URL whose port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_the_list_is_asked_for_with_tasks_and_says_who_leads() -> None:
    answer = as_json(
        {"apps": [WEB, {"id": "/bad", "tasks": 5}]}, X_Marathon_Leader="http://m7:8080"
    )
    with Loopback({"/v2/apps": answer}) as server:
        found = MarathonClient([server.url]).apps()
    assert [app.id for app in found.apps] == ["/shop/web"]
    assert [task.id for task in found.apps[0].tasks] == ["shop_web.1"]
    assert [problem.app_id for problem in found.problems] == ["/bad"]
    assert found.leader == "m7:8080"
    assert server.requests[0].query == (("embed", "apps.tasks"),)
    assert server.requests[0].all("Accept") == ["application/json"]
    assert server.requests[0].all("Authorization") == []


def test_the_leader_of_a_list_without_header_is_asked_for() -> None:
    routes = {"/v2/apps": as_json({"apps": []}), "/v2/leader": as_json({"leader": "m7:8080"})}
    with Loopback(routes) as server:
        assert MarathonClient([server.url]).apps().leader == "m7:8080"


def test_a_list_without_any_leader_is_still_a_list() -> None:
    with Loopback({"/v2/apps": as_json({"apps": [WEB]})}) as server:
        found = MarathonClient([server.url]).apps()
    assert found.leader is None
    assert len(found.apps) == 1


def test_one_app_and_one_of_its_versions_are_read() -> None:
    routes = {
        "/v2/apps/shop/web": as_json({"app": WEB}),
        "/v2/apps/shop/web/versions/2016-08-05T12:00:01.250Z": as_json({"id": "/shop/web"}),
    }
    with Loopback(routes) as server:
        client = MarathonClient([server.url + "/"])
        app = client.app(AppId("/shop/web"))
        old = client.app_version(AppId("/shop/web"), "2016-08-05T12:00:01.250Z")
    assert app is not None
    assert app.version == "v2"
    assert old is not None
    assert old.networks == ()


def test_info_and_leader_are_read() -> None:
    info = {"version": "1.4.13", "frameworkId": "f-1", "leader": "m7:8080"}
    routes = {"/v2/info": as_json(info), "/v2/leader": as_json({"leader": "m7:8080"})}
    with Loopback(routes) as server:
        client = MarathonClient([server.url])
        assert client.info().framework_id == "f-1"
        assert client.leader() == "m7:8080"


def test_no_leader_is_an_answer() -> None:
    none = as_json({"message": "There is no leader"}, "404 Not Found")
    with Loopback({"/v2/leader": none}) as server:
        assert MarathonClient([server.url]).leader() is None


def test_marathons_own_404_means_that_there_is_no_such_app() -> None:
    gone = as_json({"message": "App '/shop/web' does not exist"}, "404 Not Found")
    with Loopback({"/v2/apps/shop/web": gone}) as server:
        assert MarathonClient([server.url]).app(AppId("/shop/web")) is None


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(not_marathon(), id="of a web server"),
        pytest.param(
            as_json({"message": "no Route matched with those values"}, "404 Not Found"),
            id="of a gateway, in JSON",
        ),
        pytest.param(as_json({"error": "no"}, "404 Not Found"), id="JSON of another shape"),
        pytest.param(reply(b"", "404 Not Found"), id="empty"),
    ],
)
def test_any_other_404_says_nothing_about_the_app(answer: Reply) -> None:
    with Loopback({"/v2/apps/shop/web": answer}) as server:
        with pytest.raises(MarathonRejected, match=r"/v2/apps/shop/web answers 404") as refused:
            MarathonClient([server.url]).app(AppId("/shop/web"))
        assert server.url in str(refused.value)


@pytest.mark.parametrize("app_id", ["", "/", "/..", "/a/../b", "//", "/a//b"])
def test_what_is_no_app_id_is_not_asked_for(app_id: str) -> None:
    with Loopback({}) as server:
        with pytest.raises(InvalidApp):
            MarathonClient([server.url]).app(AppId(app_id))
        assert server.requests == []


def test_an_app_that_cannot_be_understood_is_neither_missing_nor_transient() -> None:
    answer = as_json({"app": {"id": "/a", "tasks": "many"}})
    with (
        Loopback({"/v2/apps/a": answer}) as server,
        pytest.raises(InvalidApp, match=r"^/a: .*malformed"),
    ):
        MarathonClient([server.url]).app(AppId("/a"))


def cut_list() -> bytes:
    return json.dumps({"apps": [WEB] * 5}).encode()[:-40]


BROKEN = [
    pytest.param(reply(b"<html>", kind="text/html"), "text/html instead of JSON", id="HTML"),
    pytest.param(reply(b"<html>", kind=""), "no list", id="HTML of no type"),
    pytest.param(reply(cut_list()), "no list", id="cut JSON"),
    pytest.param(
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + cut_list()),
        "cannot be used",
        id="shorter than it says",
    ),
    pytest.param(
        raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"app\r\nzz\r\n'),
        "cannot be used",
        id="broken chunks",
    ),
    pytest.param(reply(b""), "no list", id="empty"),
    pytest.param(as_json({"message": "hi"}), "no list", id="no list in it"),
    pytest.param(as_json({"apps": None}), "no list", id="null"),
    pytest.param(as_json([]), "no list", id="bare list"),
    pytest.param(reply(b"[" * 200_000), "no list", id="deep"),
    pytest.param(reply(b'{"apps":' + b"[" * 200_000), "no list", id="deep inside"),
    pytest.param(reply(b"x" * 600_000), "more than 500000 bytes", id="too large"),
    pytest.param(raw(b""), "cannot be used", id="closes at once"),
    pytest.param(raw(b"\x00\xff" * 99 + b"\r\n\r\n"), "cannot be used", id="no HTTP"),
    pytest.param(raw(b"HTTP/1.1 999999 x\r\n\r\n"), "cannot be used", id="impossible status"),
    pytest.param(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n{}"), None, id="two lengths"),
    pytest.param(
        raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nno gzip"),
        "cannot be used",
        id="no gzip",
    ),
    pytest.param(raw(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200), "cannot be used", id="headers"),
    pytest.param(raw(b"HTTP/1.1 200 " + b"x" * 70_000), "cannot be used", id="endless line"),
    pytest.param(silence, "no answer in time", id="never answers"),
    pytest.param(
        drip([b"HTTP/1.1 100 Continue\r\n\r\n"] * 99, 0.1), "within 1.2 s", id="drips headers"
    ),
    pytest.param(
        drip([b"HTTP/1.1 200 OK\r\n\r\n", *[b" "] * 99], 0.1), "within 1.2 s", id="drips a body"
    ),
    pytest.param(reply(b"", "503 Service Unavailable", "text/html"), "503 Service", id="503"),
    pytest.param(as_json({"message": "no leader"}, "502 Bad Gateway"), "no leader", id="502"),
    pytest.param(reply(b"", "429 Too Many Requests"), "check its load", id="429"),
    pytest.param(reply(b"", "599 Odd"), "answers 599", id="599"),
]


@pytest.mark.parametrize(("answer", "said"), BROKEN)
def test_whatever_a_server_sends_becomes_one_line_that_names_the_url(
    answer: Reply, said: str | None
) -> None:
    with Loopback({"/v2/apps": answer}) as server:
        with pytest.raises(MarathonUnavailable) as failed:
            MarathonClient([server.url], timeouts=QUICK, most_bytes=500_000).apps()
        text = str(failed.value)
        assert server.url in text
        assert text.isprintable()
        assert ": check " in text
        assert said is None or said in text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(reply(b"", "401 Unauthorized"), "wants credentials", id="401"),
        pytest.param(as_json({"message": "no\x1bview"}, "403 Forbidden"), "(no view)", id="403"),
        pytest.param(reply(b"", "405 Method Not Allowed", "text/html"), "(405)", id="405"),
        pytest.param(reply(b"", "302 Found", Location="http://evil/"), "redirects", id="302"),
        pytest.param(as_json({"message": "bad"}, "422 Unprocessable"), "422", id="422"),
    ],
)
def test_a_refusal_names_url_status_and_remedy(answer: Reply, said: str) -> None:
    with Loopback({"/v2/apps": answer}) as server:
        with pytest.raises(MarathonRejected) as refused:
            MarathonClient([server.url]).apps()
        assert f"{server.url}/v2/apps" in str(refused.value)
        assert said in str(refused.value)
        assert str(refused.value).isprintable()


def test_a_url_nobody_listens_on_is_named_with_the_reason() -> None:
    url = closed_url()
    with pytest.raises(MarathonUnavailable, match="connection refused") as failed:
        MarathonClient([url]).info()
    assert url in str(failed.value)


def test_a_name_that_does_not_resolve_is_said_so() -> None:
    with pytest.raises(MarathonUnavailable, match="does not resolve"):
        MarathonClient(["http://marathon.invalid:8080"]).info()


def test_no_url_at_all_is_said_so() -> None:
    with pytest.raises(MarathonError, match="list at least one"):
        MarathonClient([]).apps()


def test_a_url_that_can_be_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidUrl):
        MarathonClient(["m1:8080"])


def test_a_media_type_with_parameters_is_json_too() -> None:
    answer = reply(b'{"apps":[]}', kind="Application/JSON; qs=2")
    with Loopback({"/v2/apps": answer}) as server:
        assert MarathonClient([server.url]).apps().apps == ()


def test_the_next_url_is_tried_and_the_one_that_worked_is_kept() -> None:
    good = as_json({"version": "1"})
    with (
        Loopback({"/v2/info": reply(b"", "503 Service Unavailable")}) as bad,
        Loopback({"/v2/info": good}) as fine,
    ):
        client = MarathonClient([closed_url(), bad.url, fine.url])
        for _ in range(3):
            assert client.info().version == "1"
        assert len(bad.requests) == 1
        assert len(fine.requests) == 3


def test_when_every_url_fails_each_is_named_and_a_transient_one_decides() -> None:
    with Loopback({"/v2/info": reply(b"", "401 Unauthorized")}) as refusing:
        url = closed_url()
        with pytest.raises(MarathonUnavailable) as failed:
            MarathonClient([refusing.url, url]).info()
        assert refusing.url in str(failed.value)
        assert url in str(failed.value)


def test_user_and_password_in_a_url_are_sent_but_never_shown() -> None:
    with Loopback({"/v2/info": reply(b"", "401 Unauthorized")}) as server:
        url = f"http://ops:s3cret@{server.authority}"
        with pytest.raises(MarathonRejected, match="refuses the credentials given") as refused:
            MarathonClient([url]).info()
        assert server.requests[0].all("Authorization") == ["Basic b3BzOnMzY3JldA=="]
        assert "s3cret" not in str(refused.value)
        assert "ops" not in str(refused.value)


def test_credentials_follow_no_redirect() -> None:
    with Loopback({}) as other:
        moved = reply(b"", "302 Found", Location=f"{other.url}/v2/info")
        with Loopback({"/v2/info": moved}) as server:
            with pytest.raises(MarathonRejected):
                MarathonClient([server.url], Credentials("ops", "s3cret")).info()
            assert len(server.requests) == 1
        assert other.requests == []


def test_environment_and_netrc_have_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login leak password leak\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", closed_url())
    with Loopback({"/v2/info": as_json({"version": "1"})}) as server:
        assert MarathonClient([server.url]).info().version == "1"
        assert server.requests[0].all("Authorization") == []


def test_a_failed_request_does_not_spoil_the_next() -> None:
    answers = in_turn(silence, raw(b""), as_json({"version": "1"}))
    with Loopback({"/v2/info": answers}) as server:
        client = MarathonClient([server.url], timeouts=QUICK)
        for _ in range(2):
            with pytest.raises(MarathonUnavailable):
                client.info()
        assert client.info().version == "1"


def test_close_ends_a_request_that_waits_in_another_thread() -> None:
    asked, ended = threading.Event(), threading.Event()

    def hold(connection: socket.socket, server: Loopback) -> None:
        asked.set()
        silence(connection, server)

    def ask(client: MarathonClient) -> None:
        with pytest.raises(MarathonUnavailable):
            client.info()
        ended.set()

    with Loopback({"/v2/info": hold}) as server:
        client = MarathonClient([server.url])
        thread = threading.Thread(target=ask, args=(client,))
        thread.start()
        assert asked.wait(5)
        client.close()
        assert ended.wait(2)
        thread.join()


def test_after_close_every_request_fails_as_it_begins() -> None:
    with Loopback({"/v2/info": silence}) as server:
        client = MarathonClient([server.url])
        client.close()
        began = time.monotonic()
        with pytest.raises(MarathonUnavailable):
            client.info()
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda client: client.app(AppId("/a")), id="app"),
        pytest.param(lambda client: client.app_version(AppId("/a"), "v"), id="version"),
        pytest.param(lambda client: client.info(), id="info"),
        pytest.param(lambda client: client.leader(), id="leader"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"[" * 99_999, b"\xff", b"5"])
def test_every_call_survives_every_body(
    call: Callable[[MarathonClient], object], body: bytes
) -> None:
    paths = ["/v2/apps/a", "/v2/apps/a/versions/v", "/v2/info", "/v2/leader"]
    routes = dict.fromkeys(paths, reply(body))
    with Loopback(routes) as server, pytest.raises(MarathonUnavailable):
        call(MarathonClient([server.url]))


CACHE_ID = AppId("/shop/cache")
CACHE: dict[str, Any] = {
    "id": CACHE_ID,
    "spec": {"id": CACHE_ID, "version": "v1", "networks": [{"name": "calico"}]},
    "instances": [{"id": "shop_cache.instance-1", "status": "STABLE", "agentHostname": "h"}],
}
NO_APP = as_json({"message": f"App '{CACHE_ID}' does not exist"}, "404 Not Found")
NO_POD = as_json({"message": f"Pod '{CACHE_ID}' does not exist"}, "404 Not Found")
LEADS = {"X_Marathon_Leader": "http://m7:8080"}


def pods_routes(**more: Reply) -> dict[str, Reply]:
    """A Marathon with pods: one app, one pod."""
    return {
        "/v2/apps": as_json({"apps": [WEB]}, **LEADS),
        "/v2/pods": reply(b""),
        "/v2/pods/::status": as_json([CACHE], **LEADS),
        "/v2/apps/shop/cache": NO_APP,
        "/v2/pods/shop/cache::status": as_json(CACHE),
        **more,
    }


def test_a_list_holds_pods_beside_apps() -> None:
    with Loopback(pods_routes()) as server:
        client = MarathonClient([server.url])
        found = client.apps()
        client.apps()
    assert [(each.id, each.pod) for each in found.apps] == [
        ("/shop/web", False),
        ("/shop/cache", True),
    ]
    assert found.leader == "m7:8080"
    # Whether there are pods is asked by HEAD, until it is known that there are.
    asked = [(each.method, each.path) for each in server.requests]
    assert asked == [
        ("GET", "/v2/apps"),
        ("HEAD", "/v2/pods"),
        ("GET", "/v2/pods/::status"),
        ("GET", "/v2/apps"),
        ("GET", "/v2/pods/::status"),
    ]


HEAD_REFUSED = ["405 Method Not Allowed", "501 Unsupported"]
NO_PODS = as_json({"message": "HTTP 404 Not Found"}, "404 Not Found")


@pytest.mark.parametrize("status", ["404 Not Found", *HEAD_REFUSED])
def test_an_older_marathon_has_no_pods_and_is_asked_again(status: str) -> None:
    older = reply(b"<html>", status, "text/html")
    routes = pods_routes() | {"/v2/pods": in_turn(older, reply(b""))}
    if status in HEAD_REFUSED:
        routes["/v2/pods/::status"] = in_turn(NO_PODS, routes["/v2/pods/::status"])
    with Loopback(routes) as server:
        client = MarathonClient([server.url])
        before, after = client.apps(), client.apps()
    assert [each.id for each in before.apps] == ["/shop/web"]
    assert [each.id for each in after.apps] == ["/shop/web", "/shop/cache"]


@pytest.mark.parametrize("status", HEAD_REFUSED)
def test_a_proxy_that_refuses_head_hides_no_pods(status: str) -> None:
    routes = pods_routes() | {"/v2/pods": reply(b"<html>", status, "text/html")}
    with Loopback(routes) as server:
        listed = MarathonClient([server.url]).apps()
        alone = MarathonClient([server.url]).app(CACHE_ID)
    assert [each.id for each in listed.apps] == ["/shop/web", "/shop/cache"]
    assert alone is not None
    assert alone.pod


@pytest.mark.parametrize(
    ("path", "broken"),
    [
        pytest.param("/v2/pods", reply(b"", "503 Unavailable"), id="no word on pods"),
        pytest.param("/v2/pods", reply(b"", "403 Forbidden"), id="not allowed"),
        pytest.param("/v2/pods/::status", reply(b"", "500 Error"), id="no list of pods"),
        pytest.param("/v2/pods/::status", as_json({"pods": []}), id="no list at all"),
        pytest.param("/v2/pods/::status", not_marathon(), id="gone meanwhile"),
    ],
)
def test_half_a_list_is_no_list(path: str, broken: Reply) -> None:
    with Loopback(pods_routes() | {path: broken}) as server, pytest.raises(MarathonError):
        MarathonClient([server.url]).apps()


@pytest.mark.parametrize("status", HEAD_REFUSED)
@pytest.mark.parametrize(
    "listed",
    [
        pytest.param(reply(b"", "405 Method Not Allowed"), id="get refused too"),
        pytest.param(not_marathon(), id="not marathon's own 404"),
    ],
)
def test_who_refuses_head_and_lists_no_pods_has_not_said_that_there_are_none(
    status: str, listed: Reply
) -> None:
    routes = pods_routes() | {"/v2/pods": reply(b"", status), "/v2/pods/::status": listed}
    with Loopback(routes) as server, pytest.raises(MarathonError):
        MarathonClient([server.url]).apps()


def test_two_halves_of_two_leaders_are_nobodys_list() -> None:
    other = as_json([CACHE], X_Marathon_Leader="http://m8:8080")
    with Loopback(pods_routes() | {"/v2/pods/::status": other}) as server:
        found = MarathonClient([server.url]).apps()
    assert len(found.apps) == 2
    assert found.leader is None


def test_a_pod_is_found_behind_an_app_that_is_none_and_asked_for_first_from_then_on() -> None:
    with Loopback(pods_routes()) as server:
        client = MarathonClient([server.url])
        first, second = client.app(CACHE_ID), client.app(CACHE_ID)
    assert first == second
    assert first is not None
    assert (first.pod, [task.id for task in first.tasks]) == (True, ["shop_cache.instance-1"])
    assert server.paths() == [
        "/v2/apps/shop/cache",
        "/v2/pods",
        "/v2/pods/shop/cache::status",
        "/v2/pods/shop/cache::status",
    ]


def test_what_is_neither_app_nor_pod_does_not_exist() -> None:
    routes = pods_routes() | {"/v2/pods/shop/cache::status": NO_POD}
    with Loopback(routes) as server:
        client = MarathonClient([server.url])
        assert client.app(CACHE_ID) is None
        client.apps()
        before = len(server.requests)
        assert client.app(CACHE_ID) is None
    # Once each, the pod that it was first.
    asked = server.paths()[before:]
    assert asked == ["/v2/pods/shop/cache::status", "/v2/apps/shop/cache"]


def test_a_pod_that_became_an_app_is_found() -> None:
    became = as_json({"app": WEB | {"id": CACHE_ID}})
    routes = pods_routes() | {
        "/v2/apps/shop/cache": became,
        "/v2/pods/shop/cache::status": NO_POD,
    }
    with Loopback(routes) as server:
        client = MarathonClient([server.url])
        client.apps()
        found = client.app(CACHE_ID)
    assert found is not None
    assert not found.pod


def test_a_version_of_a_pod_is_read() -> None:
    old = CACHE["spec"] | {"version": "2017-08-05T12:00:01.250Z"}
    path = "/v2/pods/shop/cache::versions/2017-08-05T12:00:01.250Z"
    with Loopback(pods_routes() | {path: as_json(old)}) as server:
        client = MarathonClient([server.url])
        client.apps()
        found = client.app_version(CACHE_ID, "2017-08-05T12:00:01.250Z")
    assert found is not None
    assert (found.version, found.tasks) == ("2017-08-05T12:00:01.250Z", ())


def test_a_pod_that_cannot_be_understood_is_a_problem_of_the_list() -> None:
    broken = as_json([CACHE | {"instances": None}], **LEADS)
    with Loopback(pods_routes() | {"/v2/pods/::status": broken}) as server:
        found = MarathonClient([server.url]).apps()
    assert [problem.app_id for problem in found.problems] == [CACHE_ID]

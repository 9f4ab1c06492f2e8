"""Marathon's REST API, read only, over any of several URLs; pods are read as apps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import requests

from marathon_client.decode import (
    parse_app_reply,
    parse_apps,
    parse_info,
    parse_leader,
    parse_message,
)
from marathon_client.endpoints import USUAL_TLS, Endpoint, Identity, TlsFiles, parse_endpoint
from marathon_client.errors import (
    InvalidApp,
    MarathonError,
    MarathonUnavailable,
    all_failed,
    one_line,
)
from marathon_client.login import Login
from marathon_client.models import App, AppId, AppList, Info
from marathon_client.pods import parse_pod, parse_pod_version, parse_pods
from marathon_client.transport import (
    HTTP_ERRORS,
    Method,
    Timeouts,
    Transport,
    media_type,
    refusal,
    unreachable,
)
from marathon_client.wire import DECODE_ERRORS

MOST_BYTES = 64 * 1024 * 1024
_MOST_ERROR_BYTES = 64 * 1024
_CHUNK = 256 * 1024

Params = tuple[tuple[str, str], ...]
#: What a HEAD tells by: there is such a resource, or this server knows of none.
_TELLING = frozenset({HTTPStatus.OK, HTTPStatus.NOT_FOUND})
#: It tells nothing: an old server answers so, and so does a proxy before a new one.
_HEAD_REFUSED = frozenset({HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})


@dataclass(frozen=True, slots=True)
class _Reply:
    endpoint: Endpoint
    path: str
    status: int
    body: bytes
    leader: str | None

    def unusable(self, what: str) -> MarathonUnavailable:
        return MarathonUnavailable(
            f"{self.endpoint.url}{self.path} answers {what}:"
            " check that the URL is that of a Marathon, and what stands in between"
        )


class MarathonClient:
    """Reads apps and tasks; for one thread at a time.

    A URL that fails is followed by the next one; the one that worked is asked
    first from then on. Every error is a MarathonError of one line.
    """

    def __init__(
        self,
        urls: Sequence[str],
        credentials: Identity | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - a frozen value
        *,
        tls: TlsFiles = USUAL_TLS,
        login: Login | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._endpoints = tuple(parse_endpoint(url, credentials) for url in urls)
        self._timeouts = timeouts
        self._most_bytes = most_bytes
        self._transport = Transport(tls, login)
        self._first = 0
        self._pods = False
        self._pod_ids: frozenset[AppId] = frozenset()

    def app(self, app_id: AppId) -> App | None:
        """The app or pod with its tasks; None if Marathon says there is neither."""
        return self._one(app_id, "", "::status", parse_pod)

    def app_version(self, app_id: AppId, version: str) -> App | None:
        """The app or pod as it was defined by that version, without tasks."""
        named = quote(version, safe=":")
        return self._one(app_id, f"/versions/{named}", f"::versions/{named}", parse_pod_version)

    def apps(self) -> AppList:
        """Every app and pod with its tasks, each kind in one reply."""
        reply = self._get("/v2/apps", (("embed", "apps.tasks"),))
        try:
            apps, problems = parse_apps(reply.body)
        except DECODE_ERRORS as error:
            raise reply.unusable(f"no list of apps ({one_line(str(error))})") from error
        leader = reply.leader or self._leader_if_known()
        if not self._has_pods():
            return AppList(apps, problems, leader)
        reply = self._get("/v2/pods/::status")
        try:
            pods, unclear = parse_pods(reply.body)
        except DECODE_ERRORS as error:
            raise reply.unusable(f"no list of pods ({one_line(str(error))})") from error
        self._pod_ids = frozenset(pod.id for pod in pods)
        if reply.leader not in (None, leader):
            # The two halves are of two leaders: nothing may rest on what they lack.
            leader = None
        return AppList((*apps, *pods), (*problems, *unclear), leader)

    def info(self) -> Info:
        """Version, framework and leader."""
        reply = self._get("/v2/info")
        try:
            return parse_info(reply.body)
        except DECODE_ERRORS as error:
            raise reply.unusable(f"no info ({one_line(str(error))})") from error

    def leader(self) -> str | None:
        """`host:port` of the leader; None while there is none."""
        named = self.named_leader()
        return named[0] if named else None

    def named_leader(self) -> tuple[str, Endpoint] | None:
        """The leader and the listed endpoint that named it."""
        reply = self._get("/v2/leader", may_be_absent=True)
        if reply.status == 404:
            return None
        try:
            leader = parse_leader(reply.body)
        except DECODE_ERRORS as error:
            raise reply.unusable(f"no leader ({one_line(str(error))})") from error
        return (one_line(leader), reply.endpoint) if leader else None

    def close(self) -> None:
        """From any thread: the request in flight and all later ones fail."""
        self._transport.close()

    def _leader_if_known(self) -> str | None:
        # Every Marathon names its leader in a header; some proxies drop it.
        try:
            return self.leader()
        except MarathonError:
            return None

    def _one(
        self, app_id: AppId, of_app: str, of_pod: str, parse: Callable[[bytes], App]
    ) -> App | None:
        """An app or pod of that id; a pod, once known, is asked for first."""
        segments = app_id.strip("/").split("/")
        if any(segment in {"", ".", ".."} for segment in segments):
            raise InvalidApp(f"{one_line(app_id)!r} is no app id")
        path = "/".join(quote(segment, safe="") for segment in segments)
        if app_id in self._pod_ids:
            pod = self._one_at(app_id, f"/v2/pods/{path}{of_pod}", parse)
            if pod is not None:
                return pod
        app = self._one_at(app_id, f"/v2/apps/{path}{of_app}", parse_app_reply)
        if app is not None or app_id in self._pod_ids or not self._has_pods():
            return app
        pod = self._one_at(app_id, f"/v2/pods/{path}{of_pod}", parse)
        if pod is not None:
            self._pod_ids |= {app_id}
        return pod

    def _one_at(self, app_id: AppId, path: str, parse: Callable[[bytes], App]) -> App | None:
        reply = self._get(path, may_be_absent=True)
        if reply.status == 404:
            # Proxies too answer 404 in JSON; Marathon's own names the app.
            if f"/{app_id.strip('/')}" in (parse_message(reply.body) or ""):
                return None
            raise refusal(reply.endpoint, path, reply.status, reply.body)
        try:
            return parse(reply.body)
        except InvalidApp as error:
            raise InvalidApp(f"{one_line(app_id)}: {error}") from error
        except DECODE_ERRORS as error:
            raise reply.unusable(f"no app ({one_line(str(error))})") from error

    def _has_pods(self) -> bool:
        """Whether this Marathon has pods, as 1.4 and later do.

        Asked until it says yes: it may be upgraded while we run.
        """
        if not self._pods:
            status = self._get("/v2/pods", method="HEAD").status
            if status in _HEAD_REFUSED:
                status = self._get("/v2/pods/::status", may_be_absent=True).status
            self._pods = status == HTTPStatus.OK
        return self._pods

    def _get(
        self,
        path: str,
        params: Params = (),
        *,
        may_be_absent: bool = False,
        method: Method = "GET",
    ) -> _Reply:
        errors: list[MarathonError] = []
        for step in range(len(self._endpoints)):
            index = (self._first + step) % len(self._endpoints)
            try:
                reply = self._ask(
                    self._endpoints[index], path, params, may_be_absent=may_be_absent, method=method
                )
            except MarathonError as error:
                errors.append(error)
            else:
                self._first = index
                return reply
        raise all_failed(errors)

    def _ask(
        self,
        endpoint: Endpoint,
        path: str,
        params: Params,
        *,
        may_be_absent: bool,
        method: Method,
    ) -> _Reply:
        try:
            with (
                self._transport.deadline(self._timeouts.total),
                self._transport.ask(
                    endpoint,
                    path,
                    params,
                    {"Accept": "application/json"},
                    self._timeouts,
                    method=method,
                ) as response,
            ):
                if method == "HEAD":
                    reply = self._read_head(endpoint, path, response)
                else:
                    reply = self._read(endpoint, path, response, may_be_absent=may_be_absent)
        except HTTP_ERRORS as error:
            if not self._transport.expired:
                raise unreachable(endpoint, error) from error
        else:
            # To a body without length the cut looks like its end.
            if not self._transport.expired:
                return reply
        raise MarathonUnavailable(
            f"{endpoint.url}{path} gave no whole answer within {self._timeouts.total:g} s:"
            " check the load of that Marathon"
        )

    def _read_head(self, endpoint: Endpoint, path: str, response: requests.Response) -> _Reply:
        status = response.status_code
        if status not in _TELLING | _HEAD_REFUSED:
            raise refusal(endpoint, path, status, b"")
        return _Reply(
            endpoint=endpoint, path=path, status=status, body=b"", leader=_leader_in(response)
        )

    def _read(
        self, endpoint: Endpoint, path: str, response: requests.Response, *, may_be_absent: bool
    ) -> _Reply:
        status = response.status_code
        is_json = media_type(response) in {"application/json", ""}
        absent = may_be_absent and status == 404 and is_json
        if status != 200 and not absent:
            raise refusal(endpoint, path, status, _start_of(response))
        reply = _Reply(
            endpoint=endpoint, path=path, status=status, body=b"", leader=_leader_in(response)
        )
        if not is_json:
            raise reply.unusable(f"{one_line(media_type(response))} instead of JSON")
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > self._most_bytes:
                raise reply.unusable(f"more than {self._most_bytes} bytes")
        return _Reply(
            endpoint=endpoint, path=path, status=status, body=bytes(body), leader=reply.leader
        )


def _start_of(response: requests.Response) -> bytes:
    for chunk in response.iter_content(_MOST_ERROR_BYTES):
        return bytes(chunk)
    return b""


def _leader_in(response: requests.Response) -> str | None:
    url = response.headers.get("X-Marathon-Leader")
    if not url:
        return None
    try:
        return one_line(urlsplit(url).netloc) or None
    except ValueError:
        return None

"""How many instances an app has, how many Mesos agents there are, and a change of the former.

The only place that changes anything in Marathon.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote, urljoin

import msgspec

from marathon_client import wire
from marathon_client.endpoints import USUAL_TLS, Endpoint, Identity, TlsFiles, parse_endpoint
from marathon_client.errors import (
    InvalidUrl,
    MarathonError,
    MarathonRejected,
    MarathonUnavailable,
    all_failed,
    one_line,
)
from marathon_client.models import AppId
from marathon_client.transport import (
    HTTP_ERRORS,
    Method,
    Timeouts,
    Transport,
    refusal,
    unreachable,
)

T = TypeVar("T")

#: Nothing waits for these answers, and none of them is large but a list of agents.
TIMEOUTS = Timeouts(connect=3.05, read=10.0, total=20.0)
MOST_BYTES = 64 * 1024 * 1024
#: Where a master tells its agents: the first since 0.28, the others before.
_AGENTS = ("/slaves", "/state", "/state.json")
_JSON = {"Accept": "application/json"}


@dataclass(frozen=True, slots=True)
class AppScale:
    """An app's number of instances, and whether a deployment of it is under way."""

    instances: int
    deploying: bool


class _Deployment(wire.Wire):
    id: str | None = None


class _App(wire.Wire):
    instances: int
    deployments: list[_Deployment]


class _AppReply(wire.Wire):
    app: _App


class _MarathonConfig(msgspec.Struct):
    mesos_leader_ui_url: str | None = None


class _Info(msgspec.Struct):
    marathon_config: _MarathonConfig | None = None


class _Agent(msgspec.Struct):
    hostname: str


class _Agents(msgspec.Struct):
    slaves: list[_Agent]
    # Known to a new master, which still waits to hear from them.
    recovered_slaves: list[_Agent] = []


class ScalingClient:
    """Asks Marathon and the Mesos master; for one thread at a time.

    Without `masters` the leading one is asked that Marathon names. Every error
    is a MarathonError of one line.
    """

    def __init__(
        self,
        urls: Sequence[str],
        masters: Sequence[str] = (),
        timeouts: Timeouts = TIMEOUTS,
        *,
        credentials: Identity | None = None,
        masters_credentials: Identity | None = None,
        tls: TlsFiles = USUAL_TLS,
    ) -> None:
        self._marathons = tuple(parse_endpoint(url, credentials) for url in urls)
        self._masters = tuple(parse_endpoint(url, masters_credentials) for url in masters)
        self._timeouts = timeouts
        self._transport = Transport(tls)

    def app(self, app_id: AppId) -> AppScale | None:
        """The app's scale; None if Marathon says there is no such app."""
        path = _path_of(app_id)
        endpoint, status, body = self._first(self._marathons, path, absent_is_answer=True)
        if status == HTTPStatus.NOT_FOUND:
            return None
        app = _decoded(_AppReply, body, endpoint, path).app
        return AppScale(app.instances, bool(app.deployments))

    def agents(self) -> int:
        """How many hosts have a Mesos agent that the leading master knows.

        0 if no master knows any, as one that does not lead.
        """
        errors: list[MarathonError] = []
        for master in self._masters or (self._leading_master(),):
            try:
                hosts = self._hosts_of(master)
            except MarathonError as error:
                errors.append(error)
            else:
                if hosts:
                    return len(hosts)
        if errors:
            raise all_failed(errors)
        return 0

    def scale(self, app_id: AppId, instances: int) -> bool:
        """Ask for that many instances; False if a deployment is in the way."""
        path = _path_of(app_id)
        body = msgspec.json.encode({"instances": instances})
        _, status, _ = self._first(self._marathons, path, method="PUT", body=body)
        return status != HTTPStatus.CONFLICT

    def close(self) -> None:
        """From any thread: the request in flight and all later ones fail."""
        self._transport.close()

    def _leading_master(self) -> Endpoint:
        endpoint, _, body = self._first(self._marathons, "/v2/info")
        config = _decoded(_Info, body, endpoint, "/v2/info").marathon_config
        told = config.mesos_leader_ui_url if config else None
        try:
            return parse_endpoint(told or "")
        except InvalidUrl as error:
            raise MarathonRejected(
                f"Marathon at {endpoint.url} does not tell where the Mesos master is:"
                " give --mesos-master"
            ) from error

    def _hosts_of(self, master: Endpoint) -> frozenset[str]:
        for path in _AGENTS:
            status, body, location = self._ask(master, path)
            if status == HTTPStatus.TEMPORARY_REDIRECT and location:
                master = _redirected(master, path, location)
                status, body, _ = self._ask(master, path)
            if status == HTTPStatus.OK:
                told = _decoded(_Agents, body, master, path)
                return frozenset(each.hostname for each in (*told.slaves, *told.recovered_slaves))
            if status != HTTPStatus.NOT_FOUND:
                raise refusal(master, path, status, body, flag="--mesos-credentials")
        raise MarathonRejected(f"{master.url} is no Mesos master: check --mesos-master")

    def _first(
        self,
        endpoints: Sequence[Endpoint],
        path: str,
        *,
        method: Method = "GET",
        body: bytes | None = None,
        absent_is_answer: bool = False,
    ) -> tuple[Endpoint, int, bytes]:
        """The first usable answer; a URL that fails is followed by the next one."""
        usable = {HTTPStatus.OK, HTTPStatus.CREATED}
        if method == "PUT":
            usable.add(HTTPStatus.CONFLICT)
        errors: list[MarathonError] = []
        for endpoint in endpoints:
            try:
                status, content, _ = self._ask(endpoint, path, method, body)
                gone = absent_is_answer and status == HTTPStatus.NOT_FOUND
                # Proxies too answer 404; Marathon's own names the app.
                if status in usable or (gone and _names_app(content, path)):
                    return endpoint, status, content
                errors.append(refusal(endpoint, path, status, content))
            except MarathonError as error:
                errors.append(error)
        raise all_failed(errors)

    def _ask(
        self, endpoint: Endpoint, path: str, method: Method = "GET", body: bytes | None = None
    ) -> tuple[int, bytes, str | None]:
        headers = _JSON if body is None else {**_JSON, "Content-Type": "application/json"}
        content = bytearray()
        try:
            with (
                self._transport.deadline(self._timeouts.total),
                self._transport.ask(
                    endpoint, path, (), headers, self._timeouts, method=method, body=body
                ) as response,
            ):
                for chunk in response.iter_content(256 * 1024):
                    content += chunk
                    if len(content) > MOST_BYTES:
                        raise MarathonUnavailable(f"{endpoint.url}{path} answers far too much")
        except HTTP_ERRORS as error:
            raise unreachable(endpoint, error) from error
        if self._transport.expired:
            raise MarathonUnavailable(
                f"{endpoint.url}{path} gave no whole answer within {self._timeouts.total:g} s"
            )
        return response.status_code, bytes(content), response.headers.get("Location")


def _path_of(app_id: AppId) -> str:
    return "/v2/apps/" + quote(app_id.strip("/"), safe="/")


def _names_app(body: bytes, path: str) -> bool:
    return path.removeprefix("/v2/apps").encode() in body


def _decoded(kind: type[T], body: bytes, endpoint: Endpoint, path: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except wire.DECODE_ERRORS as error:
        raise MarathonUnavailable(
            f"{endpoint.url}{path} answers something else ({one_line(str(error))}):"
            " check that the URL is right"
        ) from error


def _redirected(master: Endpoint, path: str, location: str) -> Endpoint:
    """The master that another one names, as `//host:port/slaves`; without credentials."""
    target = urljoin(master.url + path, location).removesuffix(path)
    try:
        return parse_endpoint(target)
    except InvalidUrl as error:
        raise MarathonUnavailable(
            f"{master.url} leads to {one_line(location)!r}, which is no URL"
        ) from error

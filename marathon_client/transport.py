"""The one door to requests: conversations that another thread can cut.

A reader parked in recv() does not notice close() from another thread; only
shutting its socket down wakes it. So every connection tells this module which
socket it is about to read from, also before the headers have come, where no
response object exists yet.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, assert_never

import requests
import urllib3
from requests.adapters import HTTPAdapter

from marathon_client.decode import parse_message
from marathon_client.endpoints import (
    USUAL_TLS,
    Credentials,
    Endpoint,
    ServiceAccount,
    TlsFiles,
)
from marathon_client.errors import MarathonError, MarathonRejected, MarathonUnavailable, one_line
from marathon_client.login import REMEDY as LOGIN_REMEDY
from marathon_client.login import Login

Method = Literal["GET", "HEAD", "PUT"]

# What a conversation with a broken or hostile server may raise.
HTTP_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)

# A peer that lost power is noticed by the kernel too, not only by our timeout.
_KEEPALIVE = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, between two reads (0: any), and for a whole reply."""

    connect: float = 3.05
    read: float = 46.0
    total: float = 60.0


class Transport:
    """One session for one thread at a time; any thread may cut or close it.

    Every https server has to prove its name, whatever the files are.
    """

    def __init__(self, tls: TlsFiles = USUAL_TLS, login: Login | None = None) -> None:
        self._tls = tls
        self._login = login or Login()
        self._session: requests.Session | None = None
        self._socket: socket.socket | None = None
        self._closed = False
        self._expired = False

    def ask(
        self,
        endpoint: Endpoint,
        path: str,
        params: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        timeouts: Timeouts,
        *,
        method: Method = "GET",
        body: bytes | None = None,
    ) -> requests.Response:
        """The reply once its headers are here; redirects are not followed.

        A service account logs in before, and once more where its token is
        refused; that may raise a MarathonError.
        """
        if self._session is None:
            self._session = _session(self, self._tls)
        session = self._session
        sent = {"Accept-Encoding": "identity", **headers}
        account = endpoint.credentials

        def send() -> requests.Response:
            match account:
                case Credentials():
                    sent["Authorization"] = account.authorization
                case ServiceAccount():
                    sent["Authorization"] = self._authorization(account, session, timeouts)
                case None:
                    pass
                case _:
                    assert_never(account)
            return session.request(
                method,
                endpoint.url + path,
                params=list(params),
                data=body,
                headers=sent,
                timeout=(timeouts.connect, timeouts.read or None),
                allow_redirects=False,
                stream=True,
            )

        response = send()
        refused = response.status_code == HTTPStatus.UNAUTHORIZED
        if refused and isinstance(account, ServiceAccount) and self._login.forget():
            response.close()
            response = send()
        return response

    def _authorization(
        self, account: ServiceAccount, session: requests.Session, timeouts: Timeouts
    ) -> str:
        def post(url: str, body: bytes) -> requests.Response:
            return session.post(
                url,
                data=body,
                headers={"Accept-Encoding": "identity", "Content-Type": "application/json"},
                timeout=(timeouts.connect, timeouts.read or None),
                allow_redirects=False,
                stream=True,
            )

        try:
            return self._login.authorization(account, post)
        except HTTP_ERRORS as error:
            raise MarathonUnavailable(
                f"the login at {account.login_url} cannot be used ({reason_of(error)}):"
                f" {LOGIN_REMEDY}"
            ) from error

    @contextlib.contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Cuts what goes on inside after that time, however busily bytes drip."""
        self._expired = False
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @property
    def expired(self) -> bool:
        """True if the last deadline has struck."""
        return self._expired

    def cut(self) -> None:
        """Ends the conversation in flight; later ones work."""
        current = self._socket
        if current is not None:
            # Not SSLSocket.shutdown: it would pull the TLS state from under the reader.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(current, socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the conversation in flight, and every later one as it begins."""
        self._closed = True
        self.cut()

    def reading_from(self, current: socket.socket | None) -> None:
        """Called by a connection before it reads."""
        self._socket = current
        # Noted first and looked up second, as close() does it the other way
        # round: one of the two threads sees the other's step.
        if self._closed:
            self.cut()

    def _expire(self) -> None:
        self._expired = True
        self.cut()


def _session(transport: Transport, tls: TlsFiles) -> requests.Session:
    session = requests.Session()
    # No proxy, no ~/.netrc: credentials come from the operator's flags only.
    session.trust_env = False
    session.verify = tls.ca or True
    session.cert = (tls.cert, tls.key) if tls.cert else None
    adapter = _Adapter(transport)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _Adapter(HTTPAdapter):
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=_KEEPALIVE, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._transport)


def _pool_classes(transport: Transport) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    class PlainConnection(urllib3.connection.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            transport.reading_from(self.sock)

        def getresponse(  # type: ignore[override]  # as in urllib3 itself
            self,
        ) -> urllib3.HTTPResponse:
            transport.reading_from(self.sock)
            return super().getresponse()

    class TlsConnection(urllib3.connection.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            transport.reading_from(self.sock)

        def getresponse(  # type: ignore[override]  # as in urllib3 itself
            self,
        ) -> urllib3.HTTPResponse:
            transport.reading_from(self.sock)
            return super().getresponse()

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": PlainPool, "https": TlsPool}


def media_type(response: requests.Response) -> str:
    """The type alone: Marathon up to 1.4 says `application/json; qs=2`."""
    header = response.headers.get("Content-Type") or ""
    return header.partition(";")[0].strip().lower()


def unreachable(endpoint: Endpoint, error: BaseException) -> MarathonUnavailable:
    """The error of a conversation that broke off."""
    remedy = "check that it runs and that the URL is right"
    if isinstance(_root(error), ssl.SSLCertVerificationError):
        remedy = "check --marathon-ca, and that the URL has the name in its certificate"
    return MarathonUnavailable(
        f"Marathon at {endpoint.url} cannot be used ({reason_of(error)}): {remedy}"
    )


def refusal(
    endpoint: Endpoint,
    path: str,
    status: int,
    body: bytes,
    *,
    flag: str = "--marathon-credentials",
) -> MarathonError:
    """The error that a status other than 200 stands for; `flag` gives credentials."""
    where = f"{endpoint.url}{path}"
    said = parse_message(body)
    quote = f" ({one_line(said)})" if said else ""
    match status:
        case 401:
            given = "refuses the credentials given" if endpoint.credentials else "wants credentials"
            return MarathonRejected(
                f"{where} {given} (401): name a file that tells who you are by {flag}"
            )
        case 403:
            return MarathonRejected(
                f"{where} forbids this (403){quote}: give the user the right to view apps"
            )
        case 405:
            return MarathonRejected(
                f"{where} does not allow GET (405): check that the URL is that of a Marathon,"
                " and that no proxy changes the Accept header"
            )
        case _ if 300 <= status < 400:
            return MarathonRejected(
                f"{where} redirects elsewhere ({status}): give the URL that it leads to"
            )
        case 408 | 425 | 429:
            return MarathonUnavailable(f"{where} answers {_phrase(status)}{quote}: check its load")
        case _ if 400 <= status < 500:
            return MarathonRejected(
                f"{where} answers {_phrase(status)}{quote}:"
                " check that the URL is that of a Marathon"
            )
        case _:
            return MarathonUnavailable(
                f"{where} answers {_phrase(status)}{quote}: check that Marathon has a leader"
            )


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def reason_of(error: BaseException) -> str:
    """The root of a chain of library errors in a few words."""
    match error:
        case requests.exceptions.ConnectTimeout():
            return "no answer while connecting"
        case requests.exceptions.ReadTimeout() | urllib3.exceptions.ReadTimeoutError():
            return "no answer in time"
    root = _root(error)
    match root:
        case ssl.SSLCertVerificationError(verify_message=str(text)):
            return f"its certificate is refused: {one_line(text)}"
        case urllib3.exceptions.ReadTimeoutError() | TimeoutError():
            return "no answer in time"
        case ssl.SSLError():
            return f"TLS failed: {one_line(str(root))}"
        case socket.gaierror():
            return "its name does not resolve"
        case OSError(strerror=str(text)) if text:
            return text.lower()
    return one_line(str(root)) or type(root).__name__


def _root(error: BaseException) -> BaseException:
    """The innermost error: libraries nest it as argument, `reason` or context."""
    for _ in range(10):
        nested = [getattr(error, "reason", None), *error.args, error.__cause__, error.__context__]
        inner = next((e for e in nested if isinstance(e, BaseException)), None)
        if inner is None:
            break
        error = inner
    return error

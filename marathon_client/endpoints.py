"""Where Marathon is and who may see the credentials; pure."""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from marathon_client.errors import InvalidUrl, one_line

_DEFAULT_PORTS = {"http": 80, "https": 443}

_LONGEST_URL = 1000

Origin = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password for HTTP basic; the password never shows in a repr."""

    user: str
    password: str = field(repr=False)

    @property
    def authorization(self) -> str:
        """The value of the Authorization header."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A client of DC/OS, which logs in by a key; the key never shows in a repr."""

    uid: str
    private_key: str = field(repr=False)
    login_url: str


Identity = Credentials | ServiceAccount


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; empty for none. Without `ca` the usual authorities are trusted."""

    ca: str = ""
    cert: str = ""
    key: str = ""


#: Servers are checked against the usual authorities, and not told who asks.
USUAL_TLS = TlsFiles()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Marathon address; its URL carries neither user nor password."""

    url: str
    origin: Origin
    credentials: Identity | None = None

    @property
    def authority(self) -> str:
        """`host:port`, as Marathon names its leader."""
        _, host, port = self.origin
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_service_account(text: str) -> ServiceAccount:
    """The JSON that DC/OS keeps about one; raises ValueError, which quotes nothing of it."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("a service account is a JSON object, as DC/OS writes it") from None
    uid, private_key, login_url = (
        _text_of(said, name) for name in ("uid", "private_key", "login_endpoint")
    )
    if said.get("scheme", "RS256") != "RS256":
        raise ValueError("a service account's scheme has to be RS256")
    try:
        parts = _split(login_url)
    except InvalidUrl:
        raise ValueError("the service account's login_endpoint is no URL") from None
    return ServiceAccount(uid, private_key, _masked(parts) + parts.path)


def _text_of(said: Any, name: str) -> str:
    value = said.get(name) if isinstance(said, dict) else None
    if not isinstance(value, str) or not value:
        raise ValueError(f"a service account needs {name!r}")
    return value


def parse_endpoint(url: str, credentials: Identity | None = None) -> Endpoint:
    """Splits user and password off; those in the URL win over the given ones."""
    parts = _split(url)
    if parts.query or parts.fragment:
        raise InvalidUrl(f"{_masked(parts)}: a Marathon URL has neither query nor fragment")
    if parts.username is not None:
        credentials = Credentials(unquote(parts.username), unquote(parts.password or ""))
    return Endpoint(_masked(parts) + parts.path.rstrip("/"), _origin(parts), credentials)


def leader_endpoint(leader: str, named_by: Endpoint, listed: Iterable[Endpoint]) -> Endpoint | None:
    """The listed endpoint of that leader, or one without credentials; None if no address."""
    scheme = named_by.origin[0]
    try:
        named = parse_endpoint(f"{scheme}://{leader}")
    except InvalidUrl:
        return None
    if named.url.count("/") > 2:
        return None
    by_authority = {endpoint.authority: endpoint for endpoint in reversed(list(listed))}
    return by_authority.get(named.authority, named)


def redirect_target(location: str, base: Endpoint, listed: Iterable[Endpoint]) -> Endpoint | None:
    """Where a redirect of the event stream leads; None if to no event stream.

    Credentials go along only to an origin that the operator has listed.
    """
    try:
        parts = _split(urljoin(f"{base.url}/v2/events", location))
    except (InvalidUrl, ValueError):
        return None
    if not parts.path.endswith("/v2/events"):
        return None
    origin = _origin(parts)
    known = {endpoint.origin: endpoint.credentials for endpoint in reversed(list(listed))}
    url = _masked(parts) + parts.path.removesuffix("/v2/events")
    return Endpoint(url, origin, known.get(origin))


def _split(url: str) -> SplitResult:
    if not url.strip().isprintable() or " " in url.strip() or len(url) > _LONGEST_URL:
        raise InvalidUrl("a Marathon URL is malformed: write http://HOST:PORT")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        # The text may hold a password, hence it is not quoted.
        raise InvalidUrl("a Marathon URL is malformed: write http://HOST:PORT") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == 0:
        raise InvalidUrl("a Marathon URL needs scheme and host: write http://HOST:PORT")
    return parts


def _origin(parts: SplitResult) -> Origin:
    host = parts.hostname or ""
    return parts.scheme, host, parts.port or _DEFAULT_PORTS[parts.scheme]


def _masked(parts: SplitResult) -> str:
    host = parts.hostname or ""
    netloc = f"[{host}]" if ":" in host else host
    return one_line(f"{parts.scheme}://{netloc}" + (f":{parts.port}" if parts.port else ""))

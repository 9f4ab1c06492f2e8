"""Where etcd's servers are and how they know us."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

#: Where etcd serves unless it is told otherwise.
ETCD_PORT = 2379


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; empty for none. Without `ca` the system's roots are trusted."""

    ca: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """One server that we were told of; `url` is for people, without credentials."""

    url: str
    scheme: str
    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)


def parse_member(url: str) -> Member:
    """A URL of which only scheme, credentials, host and port count."""
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if ":" in host:
        host = f"[{host}]"
    port = parts.port or ETCD_PORT
    return Member(
        url=f"{parts.scheme}://{host}:{port}",
        scheme=parts.scheme,
        host=host,
        port=port,
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )

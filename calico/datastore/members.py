"""Where etcd's servers are, how they know us, and which of them is asked."""

import threading
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


class Failover:
    """Which of several members is asked; what asks the same ones shares it.

    So those that are away cost one of a process's threads a timeout, not each
    of them one after another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first = 0
        #: Positions of members that have failed, and not answered since.
        self._failed: frozenset[int] = frozenset()

    def choose(self, position: int | None = None) -> int:
        """Whom to ask who asked this one last, which stays so unless it failed anybody."""
        return self._first if position is None or position in self._failed else position

    def answered(self, position: int) -> None:
        """The member at a position is there."""
        if position in self._failed:
            with self._lock:
                self._failed -= {position}

    def failed(self, position: int, count: int) -> int:
        """It is not: whom of so many to ask instead."""
        with self._lock:
            failed = self._failed | {position}
            self._failed = failed if len(failed) < count else frozenset({position})
            self._first = self.next(position, count)
            return self._first

    def next(self, position: int, count: int) -> int:
        """The next of so many that has failed nobody."""
        others = ((position + step) % count for step in range(1, count + 1))
        return next((each for each in others if each not in self._failed), position)

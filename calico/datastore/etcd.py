"""etcd's v2 API, through python-etcd.

The library is kept on a short rein: it asks one member once. Which member
comes next, what a failure means and whether to ask again is decided here, in
the open, because a repeated write that had landed looks like a lost race.
"""

import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeVar

import etcd
import urllib3

from calico.datastore.api import (
    ABSENT,
    Fence,
    Key,
    Listing,
    Put,
    Removed,
    Revision,
    Stored,
    Watch,
    WatchEvent,
    unfenced,
)
from calico.datastore.client import Client, NotServed
from calico.datastore.connections import asking_pools, never_sent, unanswered, weak_fence
from calico.datastore.members import Failover, Member, TlsFiles, parse_member
from calico.errors import Conflict, DatastoreRefused, DatastoreUnavailable, HistoryLost
from calico.keys import check_key

T = TypeVar("T")

TIMEOUT = 5.0
#: urllib3 has no notion of not waiting at all.
_SHORTEST_WAIT = 0.05
_REMOVALS = ("delete", "expire", "compareAndDelete")
_CONFLICTS = (
    etcd.EtcdCompareFailed,
    etcd.EtcdAlreadyExist,
    etcd.EtcdNotFile,
    etcd.EtcdNotDir,
    etcd.EtcdDirNotEmpty,
    etcd.EtcdRootReadOnly,
)
_NEEDS_V2 = "start it with --enable-v2=true, which etcd has up to version 3.5"


class _OtherCluster(DatastoreUnavailable):
    """The member belongs to another cluster than a moment ago."""


@dataclass(slots=True)
class _Connection:
    """What one thread talks through, and whether it is about to write."""

    position: int
    client: Any = None
    writes: bool = False


class EtcdDatastore:
    """Text values in etcd; usable from any number of threads.

    Each thread has a client of its own, made when first needed and thrown away
    after a failure, since one that has seen every member down never recovers.
    Only the given members are asked, never those that the cluster advertises.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TlsFiles | None = None,
        timeout: float = TIMEOUT,
        fence: Fence = unfenced,
        failover: Failover | None = None,
    ) -> None:
        """`fence` is called just before each attempt of a write, and may raise."""
        self._fence = fence
        self._failover = failover or Failover()
        self._members = tuple(map(parse_member, endpoints))
        self._tls = tls or TlsFiles()
        self._timeout = timeout
        self._thread = threading.local()

    def get(self, key: Key) -> Stored | None:
        """The newest value, by quorum; None if the key does not exist."""
        check_key(key)
        try:
            found = self._ask(lambda client: client.read(key, quorum=True), repeatable=True)
        except etcd.EtcdKeyNotFound:
            return None
        return None if found.dir else _stored(found)

    def list(self, prefix: Key) -> Listing:
        """Every key below a prefix, by quorum; an absent prefix is empty."""
        check_key(prefix)
        try:
            found = self._ask(
                lambda client: client.read(prefix, quorum=True, recursive=True), repeatable=True
            )
        except etcd.EtcdKeyNotFound as error:
            index = error.payload.get("index")
            if index is None:
                raise DatastoreUnavailable(
                    f"etcd says that {prefix} is absent, not when"
                ) from error
            return Listing(Revision(index), ())
        # An empty directory is told as a leaf of itself.
        leaves = (leaf for leaf in found.leaves if not leaf.dir and leaf.key != prefix)
        entries = sorted(map(_stored, leaves), key=lambda each: each.key)
        return Listing(Revision(found.etcd_index), tuple(entries))

    def put(
        self,
        key: Key,
        value: str,
        *,
        expect: Revision | None = None,
        ttl: int | None = None,
    ) -> Revision:
        """Write a value and tell its revision; Conflict if `expect` does not hold.

        Compares by index alone: old servers ignore it beside prevExist, and
        prevValue cannot express an empty value.
        """
        check_key(key)
        condition: dict[str, object] = {}
        if expect == ABSENT:
            condition["prevExist"] = False
        elif expect is not None:
            condition["prevIndex"] = expect
        try:
            written = self._ask(lambda client: client.write(key, value, ttl=ttl, **condition))
        except etcd.EtcdKeyNotFound as error:
            raise Conflict(f"{key} does not exist, expected revision {expect}") from error
        return Revision(written.modifiedIndex)

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        """Remove a key, or a directory that is empty."""
        check_key(key)
        condition = {} if expect is None else {"prevIndex": expect}
        try:
            self._ask(lambda client: client.delete(key, **condition), conflict=etcd.EtcdNotFile)
        except etcd.EtcdKeyNotFound:
            return
        except etcd.EtcdNotFile as error:
            if expect is not None:
                raise Conflict(f"{key} is a directory") from error
            with suppress(etcd.EtcdKeyNotFound):
                self._ask(lambda client: client.delete(key, dir=True))

    def make_directory(self, key: Key) -> None:
        """Have an empty directory, or whatever is there already."""
        check_key(key)
        with suppress(Conflict):
            self._ask(lambda client: client.write(key, None, dir=True, prevExist=False))

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        """Events at or below a prefix after a revision, until none came for `timeout`."""
        check_key(prefix)
        # One limit for connecting, another for the event: a member that does
        # not even answer the request is unavailable, not quiet.
        patience = urllib3.Timeout(connect=self._timeout, read=max(timeout, _SHORTEST_WAIT))
        index = after + 1
        while True:
            ask = partial(_watch, prefix=prefix, index=index, timeout=patience)
            try:
                found = self._ask(ask, repeatable=True)
            except _OtherCluster as error:
                raise HistoryLost(str(error)) from error
            except etcd.EtcdWatchTimedOut:
                reached = Revision(max(index - 1, self._connection().client.index))
                # A member cut off from the others is quiet too.
                self._turn_to(self._failover.next(self._connection().position, len(self._members)))
                return reached
            index = found.modifiedIndex + 1
            event = _event(found, prefix)
            if event is not None:
                yield event

    def _connection(self) -> _Connection:
        try:
            connection: _Connection = self._thread.connection
        except AttributeError:
            connection = self._thread.connection = _Connection(self._failover.choose())
        return connection

    def _turn_to(self, position: int) -> None:
        """Forget this thread's client; another member's turn."""
        connection = self._connection()
        connection.client, connection.position = None, position

    def _ask_fence(self) -> None:
        if self._connection().writes:
            self._fence()

    def _open(self, member: Member) -> Any:
        # Each failure is told once, by the error that we raise.
        logging.getLogger("etcd").setLevel(logging.CRITICAL)
        tls = self._tls
        client = Client(
            host=member.host,
            port=member.port,
            protocol=member.scheme,
            username=member.username,
            password=member.password,
            ca_cert=tls.ca or None,
            cert=(tls.cert, tls.key) if tls.cert and tls.key else tls.cert or None,
            read_timeout=self._timeout,
            # A key with a path step in it would be redirected to another one.
            allow_redirect=False,
            allow_reconnect=False,
        )
        # Also without an authority of our own: then the usual ones count.
        client.http.connection_pool_kw["cert_reqs"] = ssl.CERT_REQUIRED
        # urllib3 would repeat requests, writes included, and quadruple timeouts.
        client.http.connection_pool_kw["retries"] = urllib3.Retry(total=0, redirect=0)
        client.http.pool_classes_by_scheme = asking_pools(weak_fence(self._ask_fence))
        return client

    def _ask(
        self,
        request: Callable[[Any], Any],
        *,
        repeatable: bool = False,
        conflict: type[Exception] | None = None,
    ) -> Any:
        """Ask the members in turn, a write only until one may have taken it."""
        failures = []
        for _ in self._members:
            connection = self._connection()
            connection.writes = not repeatable
            if (position := self._failover.choose(connection.position)) != connection.position:
                self._turn_to(position)
            # Members that are away have cost seconds; a connection that stands is
            # used as it is, one that is made asks again.
            self._ask_fence()
            member = self._members[connection.position]
            if connection.client is None:
                connection.client = self._open(member)
            try:
                found = request(connection.client)
            except (etcd.EtcdKeyNotFound, etcd.EtcdWatchTimedOut):
                raise
            except etcd.EtcdConnectionFailed as error:
                self._turn_to(self._failover.failed(connection.position, len(self._members)))
                failures.append((member.url, error.cause))
                if not repeatable and not never_sent(error.cause):
                    break
            except _CONFLICTS as error:
                if conflict is not None and isinstance(error, conflict):
                    raise
                raise Conflict(str(error)) from error
            except (NotServed, etcd.EtcdException) as error:
                self._turn_to(self._failover.failed(connection.position, len(self._members)))
                _refuse(member, error)
            else:
                self._failover.answered(connection.position)
                return found
        raise DatastoreUnavailable(unanswered(failures))


def _watch(client: Any, prefix: Key, index: int, timeout: urllib3.Timeout) -> Any:
    # It may not even begin to answer in time.
    client.index, client.least = 0, index - 1
    try:
        return client.watch(prefix, index=index, timeout=timeout, recursive=True)
    finally:
        client.least = 0


def _refuse(member: Member, error: Exception) -> NoReturn:
    """Raise our word for an answer that is no result."""
    match error:
        case etcd.EtcdEventIndexCleared():
            raise HistoryLost(f"etcd at {member.url}: {error}") from error
        case etcd.EtcdClusterIdChanged():
            raise _OtherCluster(f"etcd at {member.url}: {error}") from error
        case etcd.EtcdInsufficientPermissions() | NotServed(status=401 | 403):
            raise DatastoreRefused(
                f"etcd at {member.url} refuses these credentials: "
                "check --etcd-credentials, or --etcd-cert and --etcd-key"
            ) from error
        case etcd.EtcdValueError():
            raise DatastoreRefused(f"etcd at {member.url} refuses a request: {error}") from error
        case NotServed(status=404):
            raise DatastoreRefused(
                f"{member.url} does not serve etcd's v2 API: {_NEEDS_V2}"
            ) from error
        case NotServed(status=status, empty=empty) if status < 500 and not empty:
            raise DatastoreRefused(
                f"{member.url} answers, but not as etcd's v2 API does (HTTP {status}): "
                "is --etcd right?"
            ) from error
        case _:
            raise DatastoreUnavailable(f"etcd at {member.url} cannot answer: {error}") from error


def _stored(result: Any) -> Stored:
    # In its last second what is left to live is 0, and not told.
    expires = result.expiration is not None
    return Stored(Key(result.key), result.value or "", Revision(result.modifiedIndex), expires)


def _event(result: Any, prefix: Key) -> WatchEvent | None:
    if result.action in _REMOVALS:
        # etcd also tells of removed neighbours whose name begins alike.
        key = Key(result.key)
        related = f"{key}/".startswith(f"{prefix}/") or f"{prefix}/".startswith(f"{key}/")
        return Removed(key, Revision(result.modifiedIndex)) if related else None
    return None if result.dir else Put(_stored(result))

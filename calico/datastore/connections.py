"""What connections to etcd do on their way: ask once more, and fail."""

import json
import ssl
import weakref
from collections.abc import Sequence

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
)
from urllib3.exceptions import (
    SSLError as TlsFailed,
)
from urllib3.exceptions import (
    TimeoutError as NoAnswerInTime,
)

from calico.datastore.api import Fence


def asking_pools(ask: Fence) -> dict[str, type[HTTPConnectionPool]]:
    """Pools, by scheme, of connections that call `ask` before they send anything.

    What it raises ends the request; nothing of it was sent then.
    """

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            ask()

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            ask()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def weak_fence(ask: Fence) -> Fence:
    """A method, for connections: they keep nothing alive, as with that they are closed."""
    asked = weakref.WeakMethod(ask)

    def asking() -> None:
        method = asked()
        if method is not None:
            method()

    return asking


def never_sent(cause: object) -> bool:
    """Whether the request surely reached nobody."""
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def unanswered(failures: Sequence[tuple[str, object]]) -> str:
    """Who did not answer, why not, and what to look at; failures are told by their URL."""
    roots = [_root(cause) for _, cause in failures]
    asked = ", ".join(
        f"{url} ({_reason(root)})" for (url, _), root in zip(failures, roots, strict=True)
    )
    remedy = "is it running, and is --etcd right?"
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in roots):
        remedy = "check --etcd-ca, and that --etcd has the name in its certificate"
    elif any(isinstance(each, ssl.SSLError) for each in roots):
        remedy = "check --etcd-cert and --etcd-key, and that etcd serves https"
    return f"etcd does not answer at {asked}: {remedy}"


def _reason(root: object) -> str:
    match root:
        case ssl.SSLCertVerificationError(verify_message=str(text)):
            return f"its certificate is refused: {text}"
        case ssl.SSLError(reason=str(text)):
            return f"TLS failed: {text.replace('_', ' ').lower()}"
        case NoAnswerInTime():
            return "no answer in time"
        case _:
            return getattr(root, "strerror", None) or str(root)


def is_refusal(body: bytes) -> bool:
    """Whether etcd itself says no, and not what stands before it."""
    try:
        said = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        return False
    return (
        isinstance(said, dict)
        and isinstance(said.get("errorCode"), int)
        and isinstance(said.get("index", 0), int)
    )


def _root(cause: object) -> object:
    """What urllib3's errors are about."""
    error = cause.reason if isinstance(cause, MaxRetryError) else cause
    if isinstance(error, NewConnectionError):
        return error.__cause__ or error
    if isinstance(error, TlsFailed | ProtocolError) and error.args:
        # They carry the one that they stand for last.
        return error.args[-1]
    return error

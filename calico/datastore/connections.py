"""What connections to etcd do on their way: ask once more, and fail."""

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NewConnectionError,
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


def never_sent(cause: object) -> bool:
    """Whether the request surely reached nobody."""
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def reason_of(cause: object) -> str:
    """Why there was no answer, in few words."""
    error = cause.reason if isinstance(cause, MaxRetryError) else cause
    if isinstance(error, NewConnectionError):
        error = error.__cause__ or error
    elif isinstance(error, NoAnswerInTime):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error)

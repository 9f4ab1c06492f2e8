"""What the controller is told by its flags."""

import re
from dataclasses import dataclass, field
from typing import Protocol

from netaddr import IPNetwork

from calico.datastore.api import DirectoryStore, Fence, unfenced
from calico.errors import InvalidValue
from calico.iptext import parse_network
from calico.model import Pool
from marathon_client.endpoints import USUAL_TLS, Identity, TlsFiles
from marathon_client.models import AppId
from reconciler.core.tasks.profiles import NETWORK
from reconciler.runtime.listener import ListenAddress

MARATHON = "http://127.0.0.1:8080"
LISTEN = ListenAddress("", 9401)

_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_APP_ID = re.compile(rf"(/{_LABEL}(\.{_LABEL})*)+")


class OpenDatastore(Protocol):
    """Gives a client of its own to whoever asks."""

    def __call__(self, fence: Fence = unfenced) -> DirectoryStore:
        """`fence` is called just before each attempt of a write, and may raise."""
        ...


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Everything one controller needs to know; times are in seconds.

    The URLs may hold user and password, hence no repr shows them.
    """

    open_datastore: OpenDatastore
    marathon: tuple[str, ...] = field(repr=False)
    marathon_credentials: Identity | None = None
    marathon_tls: TlsFiles = USUAL_TLS
    pools: tuple[Pool, ...] = ()
    ports_declared: bool = True
    allow_from: tuple[IPNetwork, ...] | None = None
    networks: frozenset[str] = frozenset({NETWORK})
    resync: float = 60.0
    listen: ListenAddress = LISTEN
    scale_agents: AppId | None = None
    mesos_masters: tuple[str, ...] = field(default=(), repr=False)
    mesos_credentials: Identity | None = None


def parse_pool(text: str) -> Pool:
    """A pool from the command line, masqueraded.

    Raises ValueError with a sentence if it is no network, has host bits set or
    is smaller than one block of 64 addresses.
    """
    try:
        network = parse_network(text)
    except InvalidValue as error:
        raise ValueError(f"{text!r} is no network such as 192.168.0.0/16") from error
    if IPNetwork(text).ip != network.ip:
        raise ValueError(f"{text!r} has host bits set; write {network}")
    smallest = 26 if network.version == 4 else 122
    if network.prefixlen > smallest:
        raise ValueError(f"{text!r} is smaller than one block, a /{smallest}: name a larger one")
    return Pool(network, masquerade=network.version == 4)


def parse_app_id(text: str) -> AppId:
    """An absolute app id from the command line; raises ValueError with a sentence."""
    if not _APP_ID.fullmatch(text):
        raise ValueError(f"{text!r} is no app id such as /marathon-calico/agent")
    return AppId(text)

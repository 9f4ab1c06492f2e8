"""Who may reach every task's openings: where Marathon's health checks come from.

These sources are part of every app's profile. So they are pinned in the
datastore: a name that resolves to something else for a moment must not rewrite
every profile of the cluster. What is new is added, nothing is taken away.
"""

import logging
import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from urllib.parse import urlsplit

from netaddr import IPAddress, IPNetwork

from calico.codec import encode_cluster
from calico.datastore.api import Datastore
from calico.keys import CLUSTER
from reconciler.controller.pinned import read_pinned

log = logging.getLogger(__name__)


class AllowFrom:
    """The sources of one controller: those of its flag, else those pinned and learnt."""

    def __init__(
        self,
        datastore: Datastore,
        asked: Collection[IPNetwork] | None,
        urls: Iterable[str],
        resolve: Callable[[str], tuple[IPNetwork, ...]] | None = None,
    ) -> None:
        self._datastore = datastore
        self._asked = asked
        self._urls = tuple(urls)
        self._resolve = resolve or address_of
        self._leader = ""
        self._sources: tuple[IPNetwork, ...] = ()
        self._told = False

    def load(self) -> tuple[IPNetwork, ...]:
        """The sources at a start; raises InvalidValue if what is pinned cannot be read."""
        return self._pin(self._urls)

    def learn(self, leader: str) -> tuple[IPNetwork, ...]:
        """The sources once Marathon's leader, as `host:port`, is among them.

        Its name is asked for once: one that does not resolve from here may take
        many seconds to say so.
        """
        if leader == self._leader:
            return self._sources
        sources = self._pin((f"http://{leader}",))
        self._leader = leader
        return sources

    def _pin(self, urls: Iterable[str]) -> tuple[IPNetwork, ...]:
        kept = read_pinned(self._datastore)
        if kept is None:
            # Whoever took it away ends this leader too: the lease lies beside it.
            return self._sources
        record = kept.value
        pinned = list(record.allow_from)
        if self._asked is not None:
            wanted = list(dict.fromkeys(self._asked))
        else:
            found = (network for url in urls for network in self._resolve(url))
            # What is pinned may have been lost since.
            wanted = list(dict.fromkeys((*pinned, *self._sources, *found)))
        if wanted != pinned:
            value = encode_cluster(replace(record, allow_from=tuple(wanted)))
            self._datastore.put(CLUSTER, value, expect=kept.revision)
            log.info("health checks are let in", extra={"from": " ".join(map(str, wanted))})
        if not wanted and not self._told:
            self._told = True
            log.warning(
                "no address of Marathon is known yet, so its health checks reach no task; "
                "name one with --allow-from"
            )
        self._sources = tuple(wanted)
        return self._sources


def address_of(url: str) -> tuple[IPNetwork, ...]:
    """The addresses of a URL's host.

    A loopback address says nothing about the underlay and is left out, as is a
    name that does not resolve now.
    """
    try:
        host = urlsplit(url if "://" in url else f"http://{url}").hostname
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError):
        return ()
    texts = (str(sockaddr[0]).partition("%")[0] for *_, sockaddr in answers)
    addresses = dict.fromkeys(map(IPAddress, texts))
    return tuple(IPNetwork(each) for each in addresses if not each.is_loopback())

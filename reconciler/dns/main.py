"""Puts one name server together, runs it and takes it down."""

import json
import logging
import random
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from netaddr import IPAddress

from reconciler.dns.answers import Answers
from reconciler.dns.believed import BelievedDatastore
from reconciler.dns.metrics import DnsMetrics
from reconciler.dns.names import Address
from reconciler.dns.serving.access import Access
from reconciler.dns.serving.server import NameServer
from reconciler.dns.serving.sockets import CannotListen, Channel, open_channels
from reconciler.dns.settings import DnsSettings, is_own, resolvers_of
from reconciler.dns.world import PREFIXES, World
from reconciler.dns.zone import Zone
from reconciler.runtime.clock import SYSTEM_CLOCK
from reconciler.runtime.listener import ListenAddress, Listener
from reconciler.runtime.signals import stopped_by_signals
from reconciler.runtime.watchfeed import WatchFeed

log = logging.getLogger(__name__)

NOT_FIT = 2
RESOLV_CONF = Path("/etc/resolv.conf")


def run_dns(settings: DnsSettings) -> int:
    """Serve until a signal; tells the exit code.

    What is wrong with an address is one line on standard error and exit code 2.
    """
    try:
        channels = open_channels(settings.listen_dns)
    except CannotListen as error:
        return _refuse(str(error))
    with ExitStack() as stack:
        for channel in channels:
            stack.callback(channel.close)
        resolvers = _resolvers(settings, channels)
        if isinstance(resolvers, str):
            return _refuse(resolvers)
        metrics = DnsMetrics()
        server = _server(settings, channels, resolvers, metrics)
        pages = {"/healthz": server.health, "/readyz": server.readiness}
        listener = Listener(settings.listen, pages, metrics.registry)
        try:
            stack.enter_context(listener)
        except OSError as error:
            return _refuse(f"cannot listen on {settings.listen}: {error.strerror}")
        stop = threading.Event()

        def end() -> None:
            stop.set()
            server.wake()

        stack.enter_context(stopped_by_signals(end))
        stack.callback(stop.set)
        for prefix in PREFIXES:
            WatchFeed(
                prefix, lambda: BelievedDatastore(settings.open_datastore()), server.post, stop
            ).start()
        _announce(listener, channels, resolvers)
        server.run(channels, stop)
        log.info("name server stopped")
    return 0


def _server(
    settings: DnsSettings,
    channels: Sequence[Channel],
    resolvers: tuple[ListenAddress, ...],
    metrics: DnsMetrics,
) -> NameServer:
    own = [IPAddress(each.address.host) for each in channels if settings.listen_dns.host]
    zone = Zone(settings.domain, settings.framework, list(map(Address, own)))
    answers = Answers(zone, int(SYSTEM_CLOCK.wall().timestamp()), random.Random())
    access = Access(settings.allow, own)
    return NameServer(
        zone,
        World(zone),
        answers,
        access,
        resolvers,
        metrics,
        SYSTEM_CLOCK,
        settings.forwards,
    )


def _resolvers(
    settings: DnsSettings, channels: Sequence[Channel]
) -> tuple[ListenAddress, ...] | str:
    """Who is asked about other names; or what is wrong with those who are asked."""
    own = is_own(ListenAddress(settings.listen_dns.host, channels[0].address.port))
    for each in settings.forwards:
        if own(each):
            return f"--forward {each} is this name server itself"
    if settings.resolvers is None:
        try:
            lines = RESOLV_CONF.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        found = resolvers_of(lines, own)
        if not found:
            log.warning("no resolver: only names of tasks are answered")
        return found
    for each in settings.resolvers:
        if own(each):
            return f"--resolver {each} is this name server itself"
    return settings.resolvers


def _announce(
    listener: Listener, channels: Sequence[Channel], resolvers: Sequence[ListenAddress]
) -> None:
    """One line of JSON for whoever started us, so that port 0 can be found."""
    addresses = [str(each.address) for each in channels]
    told = {"command": "dns", "dns": addresses, "listen": str(listener.address)}
    print(json.dumps(told), flush=True)
    log.info(
        "name server started",
        extra={"dns": ",".join(addresses), "resolvers": ",".join(map(str, resolvers))},
    )


def _refuse(sentence: str) -> int:
    print(f"marathon-calico dns: {sentence}", file=sys.stderr)
    return NOT_FIT

"""What is in a bundle: etcd's keys, the judgements on them, agents' pages, this host's kernel."""

import os
import platform
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from calico.dataplane.inventory import INVENTORY
from calico.datastore.api import Datastore, Key, Listing, Stored
from reconciler.cli.commands.diff import hosts_concerned, judge_diff
from reconciler.cli.commands.get import list_hosts
from reconciler.cli.commands.status import judge_status
from reconciler.cli.diags.bundle import Bundle
from reconciler.cli.diags.redaction import Redaction
from reconciler.cli.judging.addresses import judge_check
from reconciler.cli.judging.held import hold_data
from reconciler.cli.reading.cluster import CALICO_ROOT, OWN_ROOT, Cluster, decode_cluster
from reconciler.cli.reading.kernels import NotTold, Question, ask_agents, ask_hosts
from reconciler.cli.reading.usage import findings_of, usage_of

#: Pages of each agent.
PAGES = ("/healthz", "/readyz", "/metrics", "/kernel")
LIBRARIES = ("click", "msgspec", "pyroute2", "python-etcd", "requests", "urllib3", "PyJWT")


def collect(bundle: Bundle, datastore: Datastore, redaction: Redaction, now: datetime) -> None:
    """All parts, in the order in which they explain each other."""
    own = _keys(bundle, datastore, redaction, OWN_ROOT)
    calico = _keys(bundle, datastore, redaction, CALICO_ROOT)
    if own is not None and calico is not None:
        cluster = decode_cluster(own.entries, calico.entries, calico.revision)
        _judgements(bundle, cluster, now)
        _pages(bundle, cluster)
    for name, read in INVENTORY.items():
        bundle.take(f"this-host/{name}.json", read)


def about(now: datetime, servers: str) -> dict[str, object]:
    """Who made the bundle, of what."""
    return {
        "time": now.isoformat(timespec="seconds"),
        "etcd": servers,
        "host": platform.node(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": sys.version,
        "user": os.geteuid(),
        "versions": {name: _version(name) for name in ("marathon-calico", *LIBRARIES)},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _keys(bundle: Bundle, datastore: Datastore, redaction: Redaction, root: Key) -> Listing | None:
    found: list[Listing] = []

    def read() -> object:
        listing = datastore.list(root)
        found.append(listing)
        return {
            "revision": listing.revision,
            "keys": [_shown(each, redaction) for each in listing.entries],
        }

    bundle.take(f"etcd{root}.json", read)
    return found[0] if found else None


def _shown(stored: Stored, redaction: Redaction) -> dict[str, object]:
    return {
        "key": stored.key,
        "revision": stored.revision,
        # Under this name a mask of the key's own is not looked for again.
        "value": redaction.stored(stored.key, stored.value),
    }


def _judgements(bundle: Bundle, cluster: Cluster, now: datetime) -> None:
    def addresses() -> object:
        usage = usage_of(cluster)
        return judge_check(cluster, usage, findings_of(cluster, usage)).data

    def differences() -> object:
        kernels = ask_hosts(cluster, hosts_concerned(cluster, None))
        return judge_diff(cluster, None, kernels).data

    parts: Iterable[tuple[str, Callable[[], object]]] = (
        ("status", lambda: judge_status(cluster, now).data),
        ("hosts", lambda: list_hosts(cluster, now, None).data),
        ("holds", lambda: [hold_data(each) for each in cluster.holds]),
        ("ipam-check", addresses),
        ("diff", differences),
    )
    for name, make in parts:
        bundle.take(f"{name}.json", make)


def _pages(bundle: Bundle, cluster: Cluster) -> None:
    hosts = hosts_concerned(cluster, None)
    asked = [Question(host, path) for host in hosts for path in PAGES]
    # All at once, so that those who do not answer cost their time together.
    for question, answer in ask_agents(cluster, asked).items():
        part = f"agents/{question.host}{question.path}"
        if isinstance(answer, NotTold):
            bundle.note(part, str(answer))
        else:
            bundle.take(part, partial(answer.decode, errors="replace"))

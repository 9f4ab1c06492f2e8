"""The tree of iptables chains that Felix made of the same policy, as a peer.

A packet goes through a tree over the first two letters of its interface's name
to the chain of its endpoint, where connection tracking is asked, and then one
ipset after the other. Ports are left out, which makes it a little cheaper.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench.clusters import Cluster
from tests.bench.hosts import run
from tests.bench.report import Unavailable

ACCEPTED = "0x10000/0x10000"
#: From so many endpoints on the tree has two levels.
TREE_FROM = 100
Rules = list[str]


def load(cluster: Cluster, kind: str, directory: Path) -> None:
    """Program it into the calling thread's namespace; `kind` is legacy or nft."""
    for tool in ("ipset", f"iptables-{kind}-restore"):
        if shutil.which(tool, path="/usr/sbin:/sbin:/usr/bin") is None:
            raise Unavailable(f"no {tool}: install iptables and ipset")
    try:
        run(["/usr/sbin/ipset", "restore"], _sets(cluster))
        lock = str(directory / "xtables.lock")
        run([f"/usr/sbin/iptables-{kind}-restore"], _rules(cluster), XTABLES_LOCKFILE=lock)
    except RuntimeError as error:
        raise Unavailable(str(error)) from error


def _sets(cluster: Cluster) -> str:
    names = sorted({group for groups in cluster.groups for group in groups})
    lines = [f"create g{name} hash:ip family inet hashsize 64" for name in names]
    lines += [
        f"add g{group} {address}"
        for spec, groups in zip(cluster.specs, cluster.groups, strict=True)
        for group in groups
        for address in spec.addresses
    ]
    return "\n".join([*lines, ""])


def _rules(cluster: Cluster) -> str:
    chains: dict[str, Rules] = {"felix": [], "from": [], "to": []}
    chains["felix"] = [
        "-i cali+ -j from",
        "-o cali+ -j to",
        f"-m mark --mark {ACCEPTED} -j ACCEPT",
    ]
    leaves: dict[str, str] = {}
    for spec, groups in zip(cluster.specs, cluster.groups, strict=True):
        leaf = spec.interface.removeprefix("cali")
        leaves[spec.interface] = leaf
        chains[f"fw-{leaf}"] = [*_head(), _mark()]
        chains[f"tw-{leaf}"] = [*_head(), *_lookups(groups), "-j DROP"]
    for direction, option in (("from", "-i"), ("to", "-o")):
        chains |= dict(_tree(direction, option, leaves))
    heads = [f":{name} - [0:0]" for name in chains]
    rules = [f"-A {name} {rule}" for name, listed in chains.items() for rule in listed]
    base = [":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    return "\n".join(["*filter", *base, *heads, "-A FORWARD -j felix", *rules, "COMMIT", ""])


def _head() -> Rules:
    return [
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-m conntrack --ctstate INVALID -j DROP",
        "-j MARK --set-xmark 0x0/0x10000",
    ]


def _mark() -> str:
    return f"-j MARK --set-xmark {ACCEPTED}"


def _lookups(groups: Sequence[int]) -> Iterator[str]:
    for group in groups:
        yield f"-m set --match-set g{group} src {_mark()}"
        yield f"-m mark --mark {ACCEPTED} -j RETURN"


def _tree(direction: str, option: str, leaves: Mapping[str, str]) -> Iterator[tuple[str, Rules]]:
    """The chains that lead to those of the endpoints."""
    to_leaf = "fw" if direction == "from" else "tw"

    def leads(names: Iterable[str]) -> Rules:
        return [f"{option} {name} -g {to_leaf}-{leaves[name]}" for name in names]

    if len(leaves) <= TREE_FROM:
        yield direction, leads(leaves)
        return
    by_two: dict[str, list[str]] = {}
    for name, leaf in leaves.items():
        by_two.setdefault(leaf[:2], []).append(name)
    ones = sorted({two[0] for two in by_two})
    yield direction, [f"{option} cali{one}+ -g {direction}-{one}" for one in ones]
    for one in ones:
        twos = sorted(two for two in by_two if two[0] == one)
        yield f"{direction}-{one}", [f"{option} cali{two}+ -g {direction}-{two}" for two in twos]
    for two, names in by_two.items():
        yield f"{direction}-{two}", leads(names)

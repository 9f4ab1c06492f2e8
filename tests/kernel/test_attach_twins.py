"""Containers of one id on two hosts, each with a real agent, are two containers."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from calico.addressing.ledger import Ledger
from calico.model import ContainerId, HostName
from tests.kernel.attaching import Runtime, addresses, opened
from tests.kernel.cluster import ONE, TWO, Cluster, running_cluster
from tests.kernel.namespaces import Namespace
from tests.minimal.machine import COMMAND

BOX = ContainerId("box-1")


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace, known=True) as made:
        made.settle()
        yield made


def told(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command says of the cluster."""
    argv = (COMMAND, *words, "--etcd", cluster.etcd, "-o", "json")
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def hosts_holding(cluster: Cluster) -> list[HostName]:
    """Which hosts gave addresses to containers."""
    return sorted(
        each.host
        for block, _ in Ledger(cluster.store).blocks()
        for each in block.allocations
        if each is not None and each.host is not None
    )


def test_neither_host_gets_or_gives_back_what_the_other_gave(
    cluster: Cluster, namespace: Callable[[], Namespace]
) -> None:
    runtimes = {name: Runtime(cluster.socket(name)) for name in (ONE, TWO)}
    given = {}
    for name, runtime in runtimes.items():
        with opened(namespace()) as descriptor:
            given[name] = addresses(runtime.add(BOX, descriptor))
    assert not set(given[ONE]) & set(given[TWO])
    assert hosts_holding(cluster) == [ONE, TWO]

    taken = runtimes[TWO].ask("allocate", container="other", fixed=[str(given[ONE][0])])
    assert taken["error"]["kind"] == "refused"
    assert runtimes[TWO].delete(BOX)["found"] is True
    assert hosts_holding(cluster) == [ONE]
    assert addresses(runtimes[ONE].ask("check", container=BOX)) == given[ONE]

    assert runtimes[ONE].delete(BOX)["found"] is True
    assert hosts_holding(cluster) == []
    checked = told(cluster, "ipam", "check")
    assert (checked.returncode, json.loads(checked.stdout)["findings"]) == (0, [])

    # Whoever looks after the hosts finds what the runtime was refused.
    def refused() -> bool:
        rows = json.loads(told(cluster, "status").stdout)["refused"]
        return [(row["host"], row["caller"], row["kind"]) for row in rows] == [
            (TWO, "native", "refused")
        ]

    cluster.wait_for("the refusal to be told", refused)

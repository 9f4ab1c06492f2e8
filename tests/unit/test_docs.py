"""The page on etcd's keys knows every key and every field that we write."""

import json
import re
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico import codec
from calico.addressing import ipam
from calico.datastore.api import Key
from calico.model import (
    AppliedRecord,
    Attachment,
    BootId,
    ContainerId,
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    HandleId,
    HostFlags,
    HostName,
    HostRecord,
    Refusal,
    TaskId,
    TaskRecord,
)
from calico.names import endpoint_of_task, interface_of
from reconciler.controller.bootstrap import DEFAULT_POOL, DIRECTORIES
from reconciler.core.removal.quarantine import REST
from reconciler.core.tasks.profiles import NetworkPolicy, profiles_of
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, network, task

PAGE = (Path(__file__).parents[2] / "docs/etcd-keys.md").read_text()
#: What in a key stands for one of many.
PLACES = (
    (r"^/calico/v1/config/(?!ClusterGUID|InterfacePrefix).*", "/calico/v1/config/<Parameter>"),
    (r"/(host|applied)/h[12](?=/|$)", r"/\1/H"),
    (r"/config/(?!<|ClusterGUID|InterfacePrefix)\w+$", "/config/<Parameter>"),
    (r"/task/.*", "/task/T"),
    (r"/workload/mesos/[^/]+/endpoint/.*", "/workload/mesos/T/endpoint/E"),
    (r"/profile/[^/]+/", "/profile/P/"),
    (r"/pool/.*", "/pool/<range>"),
    (r"/block/.*", "/block/<range>"),
    (r"/handle/.*", "/handle/<handle>"),
)


def general(key: str) -> str:
    for pattern, place in PLACES:
        key = re.sub(pattern, place, key)
    return key


def test_every_key_that_the_controller_writes_is_on_the_page() -> None:
    cluster = Cluster()
    made = app(task("t0"), task("t1", host="h2"), net=network("g"))
    cluster.connect()
    cluster.run(made)
    cluster.after(5)
    cluster.kill(made, made.tasks[0])
    cluster.applied()
    cluster.after(REST + 10)
    written = {
        general(each.key)
        for root in ("/calico", "/marathon-calico")
        for each in cluster.store.list(Key(root)).entries
    }
    # The page names keys of one directory together.
    missing = {key for key in written if f"`{key}`" not in PAGE}
    assert missing <= {"/calico/bgp/v1/global/node_mesh", "/calico/bgp/v1/host/H/ip_addr_v6"}
    assert all(f"`{key.rpartition('/')[2]}`" in PAGE for key in missing)
    assert len(written) > 15


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_every_directory_is_on_the_page(directory: Key) -> None:
    assert f"`{directory}`" in PAGE


HOST = HostRecord(
    HostName("h"),
    IPAddress("10.0.0.1"),
    BootId("b"),
    "m",
    "1",
    forgotten=True,
    listen=":9402",
    flags=HostFlags(),
    locators=("mesos",),
)
ID = endpoint_of_task(HOST.name, TaskId("t"))
RECORD = TaskRecord(TaskId("t"), "/a", "v", HOST.name, ("g",), container="box", pod=True)
APPLIED = AppliedRecord(
    HOST.name,
    HOST.boot_id,
    1,
    attachments=(Attachment(ContainerId("box"), ()),),
    refusals=(Refusal("cni", "refused", "a reason"),),
)
BLOCK = ipam.new_block(ipam.block_of(IPAddress("192.168.0.1")), HOST.name)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            codec.encode_endpoint(EndpointSpec(ID, interface_of(ID), None, ())), id="endpoint"
        ),
        pytest.param(
            codec.encode_rules(profiles_of(RECORD, HOST, NetworkPolicy(ipv6=True))[-1]), id="rules"
        ),
        pytest.param(codec.encode_pool(DEFAULT_POOL), id="pool"),
        pytest.param(codec.encode_block(BLOCK), id="block"),
        pytest.param(codec.encode_handle(HandleId("t"), {BLOCK.cidr: 1}, "w"), id="handle"),
        pytest.param(codec.encode_status(EndpointStatus(EndpointState.UP, 1)), id="status"),
        pytest.param(codec.encode_task(RECORD), id="task"),
        pytest.param(codec.encode_host(HOST), id="host"),
        pytest.param(codec.encode_applied(APPLIED), id="applied"),
        pytest.param(
            json.dumps(json.loads(codec.encode_applied(APPLIED))["attachments"][0]),
            id="an attachment",
        ),
        pytest.param(
            json.dumps(json.loads(codec.encode_applied(APPLIED))["refusals"][0]), id="a refusal"
        ),
    ],
)
def test_every_field_that_we_write_is_on_the_page(text: str) -> None:
    missing = [name for name in json.loads(text) if f"`{name}`" not in PAGE]
    assert missing == []

"""Our own records: read back whole, tolerant of other versions of ourselves."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.errors import InvalidValue
from calico.model import (
    AppliedRecord,
    Attachment,
    BootId,
    ContainerId,
    HostFlags,
    HostName,
    HostRecord,
    PortOpening,
    PortRange,
    Protected,
    Refusal,
    TaskId,
    TaskRecord,
    TaskVerdict,
)

TASK = TaskRecord(
    task=TaskId("web.1"),
    app="/shop/web",
    app_version="2016-08-05T12:00:01.250Z",
    host=HostName("h"),
    groups=("web", "public"),
    ports=(PortOpening("tcp", 80, "http"), PortOpening("udp", 53)),
    ports_declared=False,
    verdict=TaskVerdict.PENDING,
    reason="no agent registered as h",
    since="2016-08-05T12:00:02Z",
    container="box-1",
    pod=True,
)
HOST = HostRecord(
    HostName("h"),
    IPAddress("172.31.0.1"),
    BootId("b"),
    "m",
    "0.1.0",
    (IPAddress("172.17.0.1"),),
    listen=":9402",
    flags=HostFlags(
        (PortRange(53, 53), PortRange(31000, 32000)),
        (Protected(IPNetwork("10.0.0.5/32"), 2379), Protected(IPNetwork("fd00::/8"))),
    ),
    locators=("mesos", "docker"),
)
APPLIED = AppliedRecord(
    HostName("h"),
    BootId("b"),
    42,
    (TaskId("web.1"),),
    ("a pool overlaps",),
    (
        Attachment(
            ContainerId("c-1"),
            (IPAddress("192.168.0.9"), IPAddress("fd80::9")),
            "web.2",
            "2016-08-05T12:00:02Z",
        ),
        Attachment(ContainerId("c-2"), (IPAddress("192.168.0.10"),)),
    ),
    (Refusal("cni", "refused", "no address is free", "2016-08-05T12:00:02Z"),),
    guid="6f2c",
    takeover=7,
    doubt="etcd went back",
)


def test_records_are_read_back() -> None:
    assert codec.decode_task(TASK.task, codec.encode_task(TASK)) == TASK
    assert codec.decode_host(HOST.name, codec.encode_host(HOST)) == HOST
    assert codec.decode_applied(APPLIED.host, codec.encode_applied(APPLIED)) == APPLIED


def test_fields_of_a_newer_version_are_passed_over() -> None:
    text = json.dumps(json.loads(codec.encode_host(HOST)) | {"rack": 7})
    assert codec.decode_host(HOST.name, text) == HOST


def test_fields_that_an_older_version_did_not_write_have_defaults() -> None:
    text = '{"app": "/a", "app_version": "v", "host": "h"}'
    assert codec.decode_task(TaskId("a.1"), text) == TaskRecord(
        TaskId("a.1"), "/a", "v", HostName("h")
    )
    assert codec.decode_applied(HostName("h"), '{"boot_id": "b", "revision": 1}') == AppliedRecord(
        HostName("h"), BootId("b"), 1, guid=None
    )


def test_a_host_of_an_older_version_tells_neither_its_pages_nor_its_flags_nor_locators() -> None:
    record = codec.decode_host(HOST.name, '{"address": "10.0.0.1", "boot_id": "b"}')
    assert (record.listen, record.flags, record.locators) == ("", None, None)


def test_a_host_without_any_locator_is_told_from_one_that_does_not_tell() -> None:
    record = replace(HOST, locators=())
    assert codec.decode_host(HOST.name, codec.encode_host(record)).locators == ()


def test_a_host_that_opens_and_protects_nothing_says_so() -> None:
    record = replace(HOST, flags=HostFlags())
    assert codec.decode_host(HOST.name, codec.encode_host(record)).flags == HostFlags()


@pytest.mark.parametrize(
    ("decode", "text"),
    [
        pytest.param(codec.decode_task, "{}", id="task without app"),
        pytest.param(
            codec.decode_task,
            '{"app": "/a", "app_version": "v", "host": "h", "verdict": "maybe"}',
            id="unknown verdict",
        ),
        pytest.param(
            codec.decode_task,
            '{"app":"/a","app_version":"v","host":"h","ports":[{"protocol":"tcp","number":0}]}',
            id="port 0",
        ),
        pytest.param(codec.decode_host, '{"boot_id": "b"}', id="host without address"),
        pytest.param(codec.decode_host, '{"address": "x", "boot_id": "b"}', id="host's address"),
        pytest.param(
            codec.decode_host,
            '{"address":"10.0.0.1","boot_id":"b","host_ports":[[9,8]],"protected":[]}',
            id="ports that end before they begin",
        ),
        pytest.param(
            codec.decode_host,
            '{"address":"10.0.0.1","boot_id":"b","host_ports":[],"protected":[{"network":"x"}]}',
            id="a protected network that is none",
        ),
        pytest.param(codec.decode_applied, '{"boot_id": "b"}', id="applied without revision"),
        pytest.param(
            codec.decode_applied, '{"boot_id": "b", "revision": 1.5}', id="half a revision"
        ),
        pytest.param(
            codec.decode_applied,
            '{"boot_id":"b","revision":1,"attachments":[{"addresses":["10.0.0.1"]}]}',
            id="an attachment without its container",
        ),
        pytest.param(
            codec.decode_applied,
            '{"boot_id":"b","revision":1,"attachments":[{"container":"c","addresses":["x"]}]}',
            id="an attachment whose address is none",
        ),
    ],
)
def test_an_invalid_record_is_refused(decode: Callable[[str, str], object], text: str) -> None:
    with pytest.raises(InvalidValue):
        decode("x", text)

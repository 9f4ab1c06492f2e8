"""Which names a task has."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress

from calico.model import PortOpening, TaskId
from reconciler.dns.names import (
    LONGEST_NAME,
    Address,
    Entry,
    NamedTask,
    Pointer,
    Service,
    label_of,
    names_of,
    parse_domain,
    reverse_name,
    suffixes_of,
    text_name,
)

SUFFIXES = suffixes_of("mesos", "marathon")
V4, V6 = IPAddress("192.168.0.1"), IPAddress("fd80::1")
TASK_ID = "star_probe-a.2f8a1c44-5b1e-11e6-8d2b-0242ac110002"
OWN = "probe-a-star-5nbtfypzn3.marathon.mesos."
LABEL = re.compile(r"_?[a-z0-9]([a-z0-9-]*[a-z0-9])?")

ports = st.builds(
    PortOpening,
    st.sampled_from(["tcp", "udp"]),
    st.integers(1, 65535),
    st.one_of(st.text(max_size=70), st.from_regex(r"[a-z0-9-]{1,70}", fullmatch=True)),
)
apps = st.one_of(
    st.text(max_size=300), st.from_regex(r"(/[a-zA-Z0-9.-]{1,80}){1,6}", fullmatch=True)
)
named_tasks = st.builds(
    NamedTask,
    st.from_regex(r"[a-zA-Z0-9.$-][a-zA-Z0-9_.$-]{0,199}", fullmatch=True).map(TaskId),
    apps,
    st.lists(st.sampled_from([V4, V6]), unique=True).map(tuple),
    st.lists(ports, max_size=4).map(tuple),
    st.lists(st.just(IPAddress("10.0.0.1")), max_size=2).map(tuple),
)


def shown(entry: Entry) -> str:
    name, record = entry
    match record:
        case Address(address):
            return f"{text_name(name)} {address}"
        case Service(port, target):
            return f"{text_name(name)} {port} {text_name(target)}"
        case Pointer(target):
            return f"{text_name(name)} -> {text_name(target)}"
    raise AssertionError(record)


def test_a_task_in_a_group_has_the_forms_of_mesos_dns() -> None:
    port = PortOpening("tcp", 9000, "status")
    task = NamedTask(TaskId(TASK_ID), "/star/probe-a", (V4,), (port,), (IPAddress("10.0.0.1"),))

    assert {shown(each) for each in names_of(task, SUFFIXES)} == {
        "probe-a.star.marathon.mesos. 192.168.0.1",
        "probe-a-star.marathon.mesos. 192.168.0.1",
        f"{OWN} 192.168.0.1",
        "star-probe-a-2f8a1c44-5b1e-11e6-8d2b-0242ac110002.marathon.mesos. 192.168.0.1",
        "probe-a.star.marathon.slave.mesos. 10.0.0.1",
        "probe-a-star.marathon.slave.mesos. 10.0.0.1",
        f"_probe-a.star._tcp.marathon.mesos. 9000 {OWN}",
        f"_probe-a-star._tcp.marathon.mesos. 9000 {OWN}",
        f"_status._probe-a.star._tcp.marathon.mesos. 9000 {OWN}",
        f"_status._probe-a-star._tcp.marathon.mesos. 9000 {OWN}",
        f"_status._tcp.probe-a.star.marathon.mesos. 9000 {OWN}",
        f"_status._tcp.probe-a-star.marathon.mesos. 9000 {OWN}",
        f"1.0.168.192.in-addr.arpa. -> {OWN}",
    }


@pytest.mark.parametrize(
    ("app", "forms"),
    [
        pytest.param("/web", {"web"}, id="no group: both forms are one"),
        pytest.param("/a/b/c", {"c.b.a", "c-b-a"}, id="backwards, with dots and with hyphens"),
        pytest.param("/v1.2/web", {"web.v1.2", "web-v1-2"}, id="dots of a path are dots"),
        pytest.param("/Shop/WEB", {"web.shop", "web-shop"}, id="small letters"),
        pytest.param("/a_b", {"a-b"}, id="an underscore is a hyphen"),
        pytest.param("/" + "x" * 70, {"x" * 63}, id="cut to what a label may be"),
    ],
)
def test_an_app_has_forms(app: str, forms: set[str]) -> None:
    entries = names_of(NamedTask(TaskId("t.1"), app, (V4,)), SUFFIXES)
    ends = {text_name(name).removesuffix(".marathon.mesos.") for name, _ in entries}
    whole = {
        each for each in ends if not each.endswith((".arpa.", "t-1")) and "-" + OWN not in each
    }
    assert forms <= whole


def test_a_task_has_the_addresses_of_both_families_and_both_backwards() -> None:
    entries = set(names_of(NamedTask(TaskId("web.1"), "/web", (V4, V6)), SUFFIXES))
    (own,) = {record.target for _, record in entries if isinstance(record, Pointer)}
    assert (own, Address(V4)) in entries
    assert (own, Address(V6)) in entries
    assert (reverse_name(V6), Pointer(own)) in entries
    assert text_name(reverse_name(V6)).startswith("1.0.0.0.")


def test_a_port_without_a_name_is_a_service_of_its_app_alone() -> None:
    task = NamedTask(TaskId("web.1"), "/web", (V4,), (PortOpening("udp", 53),))
    services = [name for name, record in names_of(task, SUFFIXES) if isinstance(record, Service)]
    assert list(map(text_name, services)) == ["_web._udp.marathon.mesos."]


def test_an_underscore_takes_a_letter_of_a_label_that_is_full() -> None:
    port = PortOpening("tcp", 80, "p" * 63)
    task = NamedTask(TaskId("t.1"), "/" + "a" * 63, (V4,), (port,))
    services = {text_name(name) for name, r in names_of(task, SUFFIXES) if isinstance(r, Service)}
    assert services == {
        f"_{'a' * 62}._tcp.marathon.mesos.",
        f"_{'p' * 62}._{'a' * 62}._tcp.marathon.mesos.",
        f"_{'p' * 62}._tcp.{'a' * 63}.marathon.mesos.",
    }


def test_a_task_id_too_long_for_a_label_ends_in_a_hash() -> None:
    one, other = (NamedTask(TaskId("x" * 80 + end), "/web", (V4,)) for end in "ab")
    assert {name for name, _ in names_of(one, SUFFIXES)} & {
        name for name, _ in names_of(other, SUFFIXES)
    } == {name for name, _ in names_of(one, SUFFIXES) if text_name(name).startswith("web.")} | {
        reverse_name(V4)
    }


@given(named_tasks)
def test_every_name_is_one_that_the_dns_allows(task: NamedTask) -> None:
    for name, record in names_of(task, SUFFIXES):
        assert len(name) <= LONGEST_NAME
        labels = text_name(name).rstrip(".").split(".")
        for label in labels:
            assert 1 <= len(label) <= 63
            assert LABEL.fullmatch(label)
            assert not label.startswith("_") or isinstance(record, Service)


@given(named_tasks)
def test_no_entry_comes_twice(task: NamedTask) -> None:
    entries = list(names_of(task, SUFFIXES))
    assert len(entries) == len(set(entries))


@given(named_tasks)
def test_every_address_has_a_name_and_every_service_an_address(task: NamedTask) -> None:
    entries = set(names_of(task, SUFFIXES))
    for address in task.addresses:
        (own,) = {r.target for n, r in entries if n == reverse_name(address)}
        assert (own, Address(address)) in entries
        for _, record in entries:
            if isinstance(record, Service):
                assert (record.target, Address(address)) in entries


@given(named_tasks, named_tasks)
def test_two_tasks_never_share_the_name_that_services_point_to(
    one: NamedTask, other: NamedTask
) -> None:
    def targets(task: NamedTask) -> set[bytes]:
        return {r.target for _, r in names_of(task, SUFFIXES) if isinstance(r, Service | Pointer)}

    assert one.task == other.task or not targets(one) & targets(other)


@given(st.text())
def test_a_label_is_valid_or_empty(text: str) -> None:
    label = label_of(text)
    assert not label or (LABEL.fullmatch(label) and len(label) <= 63)
    assert label_of(label) == label


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", "-a", "a_b", "mesos!", "x" * 64, "a." * 60 + "a"]
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no domain"):
        parse_domain(text)


def test_a_domain_may_end_in_a_dot_and_have_capitals() -> None:
    assert parse_domain("Tasks.Example.ORG.") == "tasks.example.org"


def test_suffixes_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        suffixes_of("mesos", ".".join(["f" * 60] * 3))

"""Records of the cluster as a whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from calico.cluster import (
    ClusterRecord,
    HoldKind,
    HoldRecord,
    LeaderRecord,
    ObjectionRecord,
    Standing,
    Takeover,
)
from calico.codec import (
    decode_chain,
    decode_cluster,
    decode_hold,
    decode_leader,
    decode_objection,
    encode_chain,
    encode_cluster,
    encode_hold,
    encode_leader,
    encode_objection,
)
from calico.datastore.api import Key
from calico.errors import InvalidValue
from calico.model import BootId, HostName

takeovers = st.builds(
    Takeover,
    st.integers(0, 10**9),
    st.text(),
    st.lists(st.text()).map(tuple),
    st.lists(st.text().map(HostName)).map(tuple),
    st.integers(0, 10**9),
)
clusters = st.builds(
    ClusterRecord,
    uuid=st.text(),
    framework=st.text(),
    marathon=st.text(),
    allow_from=st.lists(st.sampled_from((IPNetwork("10.0.0.0/8"), IPNetwork("fd00::1/128")))).map(
        tuple
    ),
    chain=st.lists(takeovers).map(tuple),
    schema=st.just(1),
)
holds = st.builds(
    HoldRecord,
    kind=st.sampled_from(HoldKind),
    plan=st.text(),
    reason=st.text(),
    subjects=st.lists(st.text()).map(tuple),
    since=st.text(),
    approved=st.text(),
)
leaders = st.builds(
    LeaderRecord,
    holder=st.text(),
    since=st.text(),
    standing=st.none() | st.builds(Standing, opened=st.text(), waits=st.text()),
)
held = st.builds(
    ObjectionRecord,
    host=st.just(HostName("host-1")),
    boot_id=st.text().map(BootId),
    guid=st.text(),
    takeover=st.integers(0, 10**9),
    entries=st.lists(st.tuples(st.text().map(Key), st.text())).map(tuple),
    hosts=st.lists(st.text().map(HostName)).map(tuple),
)


@given(clusters)
def test_a_cluster_record_is_read_as_it_was_written(record: ClusterRecord) -> None:
    assert decode_cluster(encode_cluster(record)) == record


@given(st.lists(takeovers).map(tuple))
def test_a_chain_is_read_as_it_was_published(chain: tuple[Takeover, ...]) -> None:
    assert decode_chain(encode_chain(chain)) == chain


@given(holds)
def test_a_hold_is_read_as_it_was_written(record: HoldRecord) -> None:
    assert decode_hold(record.kind, encode_hold(record)) == record


@given(held)
def test_what_a_host_holds_is_read_as_it_was_written(record: ObjectionRecord) -> None:
    assert decode_objection(record.host, encode_objection(record)) == record


@given(leaders)
def test_who_leads_is_read_as_it_was_told(record: LeaderRecord) -> None:
    assert decode_leader(encode_leader(record)) == record


def test_a_cluster_record_of_an_unknown_schema_is_refused_with_a_remedy() -> None:
    with pytest.raises(InvalidValue, match=r"schema 2 is not known .* or a newer one"):
        decode_cluster('{"schema": 2, "uuid": "u"}')


def test_fields_that_an_older_version_did_not_write_have_defaults() -> None:
    assert decode_cluster('{"schema": 1, "uuid": "u"}') == ClusterRecord("u")
    assert decode_hold(HoldKind.TASKS, '{"plan": "p"}') == HoldRecord(HoldKind.TASKS, "p", "")
    assert decode_leader('{"holder": "c"}') == LeaderRecord("c")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[]", id="no object"),
        pytest.param('{"uuid": "u"}', id="no schema"),
        pytest.param('{"schema": 1, "uuid": "u", "chain": [{}]}', id="a takeover without number"),
        pytest.param('{"schema": 1, "uuid": "u", "allow_from": ["x"]}', id="no network"),
    ],
)
def test_a_cluster_record_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        decode_cluster(text)


def test_an_entry_of_three_parts_is_refused() -> None:
    with pytest.raises(InvalidValue, match="a key and its value"):
        decode_objection(
            HostName("h"), '{"boot_id": "", "guid": "", "link": 0, "entries": [["a", "b", "c"]]}'
        )

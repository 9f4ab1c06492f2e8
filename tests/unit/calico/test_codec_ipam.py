"""Pools, blocks and handles, byte for byte what both allocators accept."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from calico import codec, keys
from calico.addressing import ipam
from calico.addressing.blocks import Allocation, IpamConfig
from calico.datastore.api import Key
from calico.errors import InvalidValue
from calico.model import HandleId, Pool
from tests.unit.calico.samples import sample

CIDR = IPNetwork("192.168.1.0/26")


@pytest.mark.parametrize("writer", ["python", "go"])
def test_a_block_of_either_writer_is_read_and_kept_for_both(writer: str) -> None:
    given_block = sample(f"ipam-block-{writer}")
    assert keys.parse_block_key(Key(given_block["key"])) == CIDR
    block = codec.decode_block(CIDR, json.dumps(given_block["value"]))
    assert block.affinity == "calico-host-01"
    assert block.allocations[0] == block.allocations[1]
    assert block.allocations[2] == Allocation(None, (("rack", "01"),))
    assert block.unallocated == tuple(range(3, 64))
    written = json.loads(codec.encode_block(block))
    assert written == given_block["value"] | {"strict_affinity": False, "strictAffinity": False}


def block_value() -> dict[str, Any]:
    value: dict[str, Any] = sample("ipam-block-python")["value"]
    return value


def test_fields_of_other_writers_survive_an_allocation() -> None:
    theirs = {"hostAffinity": "host:calico-host-01", "deleted": False, "later": {"a": [1, None]}}
    block = codec.decode_block(CIDR, json.dumps(block_value() | theirs))
    after, _ = ipam.allocate(block, HandleId("t"))
    written = json.loads(codec.encode_block(after))
    assert theirs.items() <= written.items()
    assert written["attributes"][-1]["handle_id"] == "t"


@pytest.mark.parametrize("flag", ["strict_affinity", "strictAffinity"])
def test_the_strict_flag_is_read_in_both_spellings_and_written_in_both(flag: str) -> None:
    value = block_value()
    del value["strict_affinity"]
    block = codec.decode_block(CIDR, json.dumps(value | {flag: True}))
    assert block.strict
    written = json.loads(codec.encode_block(block))
    assert written["strict_affinity"] is written["strictAffinity"] is True


@pytest.mark.parametrize(
    ("change", "check"),
    [
        pytest.param({"affinity": ""}, lambda block: block.affinity is None, id="empty affinity"),
        pytest.param({"affinity": None}, lambda block: block.affinity is None, id="null affinity"),
        pytest.param(
            {"unallocated": None},
            lambda block: block.unallocated == tuple(range(3, 64)),
            id="the queue is made anew",
        ),
        pytest.param(
            {"unallocated": [*range(63, 2, -1)]},
            lambda block: block.unallocated[0] == 63,
            id="the queue's order is kept",
        ),
        pytest.param(
            {"attributes": [{"handle_id": "a", "secondary": None}, {"handle_id": "b"}]},
            lambda block: block.allocations[2] == Allocation(HandleId("b")),
            id="null secondary",
        ),
        pytest.param(
            {"affinity": None, "hostAffinity": "h9"},
            lambda block: block.affinity == "h9" and block.unknown == (("hostAffinity", '"h9"'),),
            id="affinity of Go's first versions",
        ),
        pytest.param(
            {"allocations": [None] * 64, "unallocated": [*range(64)], "attributes": None},
            lambda block: not any(block.allocations),
            id="no owners of nothing",
        ),
    ],
)
def test_a_tolerable_block_is_read(change: dict[str, Any], check: Any) -> None:
    assert check(codec.decode_block(CIDR, json.dumps(block_value() | change)))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"cidr": "192.168.1.64/26"}, id="another block"),
        pytest.param({"cidr": None}, id="no cidr"),
        pytest.param({"affinity": "calico-host-01"}, id="affinity without host:"),
        pytest.param({"affinity": "host:"}, id="affinity to nobody"),
        pytest.param({"allocations": [0, 0, 1] + [None] * 60}, id="63 entries"),
        pytest.param({"allocations": [0, 0, 2] + [None] * 61}, id="an owner that is not listed"),
        pytest.param({"allocations": [0, 0, 0] + [None] * 61}, id="an owner of nothing"),
        pytest.param({"allocations": [0, 0, True] + [None] * 61}, id="a truth as an index"),
        pytest.param({"allocations": [0, 1, -1] + [None] * 61}, id="a negative index"),
        pytest.param({"unallocated": [*range(4, 64)]}, id="a free one is missing"),
        pytest.param({"unallocated": [3, *range(3, 64)]}, id="a free one twice"),
        pytest.param({"unallocated": [*range(2, 64)]}, id="a taken one as free"),
        pytest.param({"attributes": None}, id="no owners"),
        pytest.param(
            {"attributes": [{"handle_id": 1}, {"handle_id": "b"}]}, id="a number as a handle"
        ),
        pytest.param(
            {"attributes": [{"handle_id": "a", "secondary": {"x": 1}}, {"handle_id": "b"}]},
            id="a number that Go cannot read",
        ),
    ],
)
def test_a_block_that_calico_would_choke_on_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        codec.decode_block(CIDR, json.dumps(block_value() | change))


def test_a_block_has_64_addresses() -> None:
    value = block_value() | {"cidr": "192.168.1.0/24"}
    with pytest.raises(InvalidValue, match="64"):
        codec.decode_block(IPNetwork("192.168.1.0/24"), json.dumps(value))


def test_pools_of_either_writer_are_read() -> None:
    found = {}
    for key, value in sample("v1-pools")["keys"].items():
        cidr = keys.parse_pool_key(Key(key))
        assert cidr is not None
        found[str(cidr)] = codec.decode_pool(cidr, json.dumps(value))
    assert found == {
        "192.168.0.0/16": Pool(IPNetwork("192.168.0.0/16")),
        "172.25.0.0/16": Pool(IPNetwork("172.25.0.0/16"), masquerade=True),
        "10.0.0.0/8": Pool(IPNetwork("10.0.0.0/8")),
        "fd80:24e2:f998:72d6::/64": Pool(IPNetwork("fd80:24e2:f998:72d6::/64")),
    }


@given(st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["10.0.0.0/8", "fd80::/64"]))
def test_a_pool_is_read_back_and_spells_every_flag(
    masquerade: bool, disabled: bool, ipam: bool, cidr: str
) -> None:
    pool = Pool(IPNetwork(cidr), masquerade, disabled, ipam)
    written = codec.encode_pool(pool)
    assert codec.decode_pool(pool.cidr, written) == pool
    assert json.loads(written).keys() == {"cidr", "masquerade", "disabled", "ipam"}


@pytest.mark.parametrize(
    "text",
    ["{}", '{"cidr": "10.0.0.0/9"}', '{"cidr": "10.0.0.0/8", "masquerade": "yes"}', "[]"],
)
def test_an_invalid_pool_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        codec.decode_pool(IPNetwork("10.0.0.0/8"), text)


def test_a_handle_is_read_and_written_to_the_letter() -> None:
    samples = sample("ipam-other")["keys"]
    [(key, value)] = [
        (key, value) for key, value in samples.items() if keys.parse_handle_key(Key(key))
    ]
    handle = keys.parse_handle_key(Key(key))
    assert handle is not None
    counts = codec.decode_handle(handle, json.dumps(value))
    assert counts == {CIDR: 2}
    assert json.loads(codec.encode_handle(handle, counts)) == value


def test_go_s_handle_without_id_is_read_and_python_s_need_is_met() -> None:
    counts = codec.decode_handle(HandleId("a"), '{"block": {"192.168.1.0/26": 1}}')
    assert json.loads(codec.encode_handle(HandleId("a"), counts))["id"] == "a"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"id": "b", "block": {}}',
        '{"id": "a", "block": {"x": 1}}',
        '{"id": "a", "block": {"192.168.1.0/26": 0}}',
    ],
)
def test_an_invalid_handle_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        codec.decode_handle(HandleId("a"), text)


def test_the_choice_for_affinity_is_written_in_full_and_read_with_gaps() -> None:
    assert codec.decode_ipam_config("{}") == IpamConfig(False, False)
    written = codec.encode_ipam_config(IpamConfig())
    assert json.loads(written) == sample("ipam-other")["keys"]["/calico/ipam/v2/config"]
    assert codec.decode_ipam_config(written) == IpamConfig()

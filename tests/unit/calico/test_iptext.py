"""Addresses have one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from calico import iptext
from calico.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("10.0.0.0/8", IPNetwork("10.0.0.0/8"), id="IPv4"),
        pytest.param("10.1.2.3/8", IPNetwork("10.0.0.0/8"), id="host bits are cleared"),
        pytest.param("10.1.2.3", IPNetwork("10.1.2.3/32"), id="an address alone"),
        pytest.param("fd80::/64", IPNetwork("fd80::/64"), id="IPv6"),
        pytest.param("::/0", IPNetwork("::/0"), id="everything"),
    ],
)
def test_a_network_is_read(text: str, expected: IPNetwork) -> None:
    assert iptext.parse_network(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "10.1", "010.0.0.1", "10.0.0.1\n", "1.2.3", "0x0a000001", "10", "::ffff:10.0.0.1"],
)
def test_another_spelling_of_an_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        iptext.parse_address(text)


@pytest.mark.parametrize(
    "text",
    ["10.0.0.0/", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "10.0.0.0/-1", "::/129", "1.1.1.1/8/8"],
)
def test_another_form_of_a_network_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        iptext.parse_network(text)


@pytest.mark.parametrize("text", ["1", "aabbccddeeff", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:fg"])
def test_another_form_of_a_mac_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        iptext.parse_mac(text)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_an_address_prints_is_read_back(address: object) -> None:
    value = IPAddress(str(address))
    if value.version == 6 and value.is_ipv4_mapped():
        return
    assert iptext.parse_address(str(value)) == value


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for parse in (iptext.parse_address, iptext.parse_network, iptext.parse_mac):
        try:
            parse(text)
        except InvalidValue:
            continue

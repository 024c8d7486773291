"""Where strangers may send us: public addresses alone, whatever notation or version they come in."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.addresses import is_global_unicast

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]

NOT_PUBLIC = {
    "this network": ["0.0.0.0", "0.1.2.3"],  # noqa: S104
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "link-local": ["169.254.0.1", "169.254.169.254", "fe80::1", "fe80::1%eth0", "febf::1"],
    "protocols": ["192.0.0.1", "192.0.0.170", "2001::1", "2001:10::1", "2001:1ff::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "::", "100::1", "4000::1"],
    "unique local": ["fc00::1", "fd12:3456::1", "fd00:ec2::254"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:7f00:1", "::127.0.0.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1"],
    "6to4": ["2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "a zone": ["2606:4700::1%eth0"],
    "no address": [
        "",
        "localhost",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "1.1.1.1/24",
        "[::1]",
        " 1.1.1.1",
    ],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_open(address: str) -> None:
    assert is_global_unicast(address)


@pytest.mark.parametrize("kind", NOT_PUBLIC)
def test_nothing_else_is(kind: str) -> None:
    assert [address for address in NOT_PUBLIC[kind] if is_global_unicast(address)] == []


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_admitted(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    special = address.is_private or address.is_multicast or address.is_reserved or address.is_link_local
    assert not (special and is_global_unicast(str(address)))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_another_one_is_never_admitted(address: ipaddress.IPv4Address) -> None:
    number = f"{int(address):08x}"
    inside = re.sub(r"(.{4})(.{4})", r"\1:\2", number)
    for wrapped in (f"::ffff:{address}", f"::{address}", f"64:ff9b::{inside}", f"2002:{inside}::1"):
        assert not is_global_unicast(wrapped)

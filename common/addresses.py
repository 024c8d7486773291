"""Which addresses on the internet a server of ours may be sent to by a stranger: global unicast ones; pure.

The tables are ours, as what `ipaddress` calls global differs between versions of Python.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

# IANA's registry of special-purpose addresses, and multicast and what is reserved behind it.
_SPECIAL_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared, behind a provider's NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, where clouds keep their metadata
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)

# All that is global unicast. Outside of it are loopback, IPv4 in IPv6 (::ffff:0:0/96), NAT64 (64:ff9b::/96 and
# 64:ff9b:1::/48), unique local, link-local and multicast addresses.
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_SPECIAL_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols, Teredo among them
            "2001:db8::/32",
            "2002::/16",  # 6to4: an IPv4 address inside
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)


def is_global_unicast(address: str) -> bool:
    """Tell whether a numeric address, as a resolver answers it, is one of the public internet; a zone makes it not."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _SPECIAL_V4)
    return _is_global_v6(parsed)


def _is_global_v6(address: IPv6Address) -> bool:
    if address.scope_id is not None or address not in _GLOBAL_V6:
        return False
    return not any(address in network for network in _SPECIAL_V6)

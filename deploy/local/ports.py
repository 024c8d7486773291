"""Ports on the loopback interface: free ones for our children, and whether the public one is taken."""

import random
import socket

from deploy.local.errors import PortTaken

LOOPBACK = "127.0.0.1"

# Below the ephemeral ranges of Linux (32768 up) and macOS (49152 up): while a child restarts, no outgoing connection
# of any program can be given its port.
_RANGE = range(20_000, 30_000)

_checked: set[int] = set()
"""Ports that something of this process is going to listen on, later than what has its port chosen."""


def choose_ports(count: int, among: range | None = None) -> list[int]:
    """Return `count` different ports nobody uses now, chosen anew at every call; none that `check_port` was asked for.

    `among`: where to look, if not where children of ours have theirs.

    Raises:
        PortTaken: there are not that many.
    """
    chosen: list[int] = []
    among = among or _RANGE
    for port in random.sample(among, len(among)):
        if port not in _checked and _can_bind(port, reuse=False):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise PortTaken(f"no {count} free ports between {among.start} and {among.stop - 1} on {LOOPBACK}")


def check_port(port: int) -> None:
    """Make sure that a server can listen on `port`; from then on, `choose_ports` leaves it alone.

    Raises:
        PortTaken: it can't; the message says what to do.
    """
    # With SO_REUSEADDR as servers have it: connections of the last run that linger in TIME_WAIT don't count.
    if not _can_bind(port, reuse=True):
        raise PortTaken(
            f"port {port} on {LOOPBACK} is taken by another program (or may not be used by you): "
            f"stop it, or choose another port, e.g. PORT={port + 1 if port < 65_535 else 8001} make run"
        )
    _checked.add(port)


def _can_bind(port: int, *, reuse: bool) -> bool:
    with socket.socket() as probe:
        if reuse:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True

import socket

import pytest

from deploy.local.errors import PortTaken
from deploy.local.ports import LOOPBACK, check_port, choose_ports


def test_ports_are_different_and_can_be_listened_on() -> None:
    ports = choose_ports(20)

    assert len(set(ports)) == 20
    for port in ports:
        with socket.create_server((LOOPBACK, port)):
            pass


def test_no_port_in_use_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("deploy.local.ports._RANGE", range(port, port + 1))
        with pytest.raises(PortTaken):
            choose_ports(1)
    assert choose_ports(1) == [port]


def test_exactly_as_many_ports_as_there_are_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = choose_ports(1)
    monkeypatch.setattr("deploy.local.ports._RANGE", range(port, port + 1))

    assert choose_ports(1) == [port]


def test_the_public_port_is_not_chosen_for_a_child_that_listens_before(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = choose_ports(1)
    monkeypatch.setattr("deploy.local.ports._RANGE", range(port, port + 1))
    check_port(port)
    with pytest.raises(PortTaken):
        choose_ports(1)


def test_a_taken_port_is_refused_with_advice_and_a_free_one_is_not() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} .* PORT="):
            check_port(port)
    check_port(port)


def test_a_port_taken_on_all_addresses_is_refused() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken, pytest.raises(PortTaken):  # noqa: S104
        check_port(taken.getsockname()[1])

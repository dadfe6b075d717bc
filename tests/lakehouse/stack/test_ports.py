from __future__ import annotations

import socket

import pytest

from lakehouse.errors import StackError, TidemillError
from lakehouse.stack import ports


def test_a_port_is_free_until_somebody_listens() -> None:
    port = ports.choose(set())
    assert ports.is_free(port)
    assert not ports.answers(port)
    with socket.create_server((ports.LOOPBACK, port)):
        assert not ports.is_free(port)
        assert ports.answers(port)
    assert ports.is_free(port)


def test_a_port_that_is_taken_everywhere_is_not_free() -> None:
    with socket.create_server(("", 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_remembered_ports_are_not_chosen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.choose(set())
    monkeypatch.setattr(ports, "_RANGE", range(first, first + 1))
    with pytest.raises(StackError, match="No free port"):
        ports.choose({first})


def test_a_service_keeps_its_port_unless_another_one_has_it() -> None:
    port = ports.choose(set())
    assert ports.keep(0, port, "IT") == port
    assert ports.keep(0, port, "IT", [port]) != port
    with pytest.raises(TidemillError, match="set IT"):
        ports.keep(port, None, "IT", [port])

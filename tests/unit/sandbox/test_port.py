# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A port of the sandbox, seen by a client of plain TCP."""

from __future__ import annotations

import socket
import urllib.parse
from collections.abc import Iterator

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.port import Port, PortState

HANGS_SECONDS = 0.3


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.close()


def outcome(port: Port) -> str:
    try:
        socket.create_connection((port.address, port.number), HANGS_SECONDS).close()
    except ConnectionRefusedError:
        return "refused"
    except socket.timeout:
        return "hung"
    return "connected"


OUTCOMES = {
    PortState.LISTENING: "connected",
    PortState.REFUSING: "refused",
    PortState.SWALLOWING: "hung",
}


@pytest.mark.parametrize("before", list(PortState), ids=lambda state: state.value)
@pytest.mark.parametrize("after", list(PortState), ids=lambda state: state.value)
def test_a_port_turns_from_any_state_to_any_other(
    port: Port, before: PortState, after: PortState
) -> None:
    number = port.number
    port.turn(before)
    port.turn(after)
    assert outcome(port) == OUTCOMES[after]
    assert port.number == number


def test_a_connection_that_hangs_is_accepted_once_the_port_listens(port: Port) -> None:
    port.turn(PortState.SWALLOWING)
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex((port.address, port.number))
        port.turn(PortState.LISTENING)
        # The kernel sends the first segment again after one second.
        client.settimeout(5)
        port.socket.settimeout(5)
        accepted, _unused = port.socket.accept()
        accepted.close()


def test_a_port_that_refuses_is_nobody_elses(port: Port) -> None:
    with socket.socket() as other:
        with pytest.raises(OSError, match="Address already in use"):
            other.bind((port.address, port.number))


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "localhost", ""])
def test_an_address_that_is_not_on_loopback_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is not on loopback, and the sandbox stays there"):
        Port(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_the_url_is_where_it_listens(address: str) -> None:
    port = Port(address)
    try:
        port.turn(PortState.LISTENING)
        parts = urllib.parse.urlsplit(port.url)
        assert parts.scheme == "https"
        socket.create_connection((parts.hostname, parts.port or 0), 1).close()
    finally:
        port.close()

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TCP port on loopback that listens, refuses, or lets connections hang for ever."""

from __future__ import annotations

import enum
import ipaddress
import socket

from .._errors import (
    ConfigError,
    DayZeroError,
)

_BACKLOG = 256
# The handshake over loopback is done inside connect(): what has not happened by then will not.
_FILL_SECONDS = 0.02
_FILL_LIMIT = 16


class SandboxError(DayZeroError):
    """The sandbox cannot do here what was asked of it."""


class PortState(enum.Enum):
    """What a client that connects meets."""

    LISTENING = "listening"
    REFUSING = "refusing"
    SWALLOWING = "swallowing"


class Port:
    """One port, held from the beginning to the end, so that its URL never changes hands.

    It begins as REFUSING. Raises ConfigError for an address that is not on loopback: what the
    sandbox holds is guarded by keys that lie in a directory, so it is never offered to a network.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = _loopback(address)
        self.state = PortState.REFUSING
        self._family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.socket = self._bind(0)
        self.number: int = self.socket.getsockname()[1]
        self._fillers: list[socket.socket] = []

    @property
    def url(self) -> str:
        host = f"[{self.address}]" if self._family == socket.AF_INET6 else self.address
        return f"https://{host}:{self.number}"

    def turn(self, state: PortState) -> None:
        """Become ``state``; connections that were accepted before are not touched."""
        if state is self.state:
            return
        if self.state is not PortState.REFUSING:
            self.close()
            self.socket = self._bind(self.number)
        self.state = state
        if state is PortState.LISTENING:
            self.socket.listen(_BACKLOG)
        elif state is PortState.SWALLOWING:
            self.socket.listen(0)
            self._fill()

    def close(self) -> None:
        self.socket.close()
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()

    def _bind(self, number: int) -> socket.socket:
        # Bound and not listening, it refuses, and nobody else is given the port.
        listener = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            # Connections of this port that are still open must not be in the way of binding it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((self.address, number))
        except BaseException:
            listener.close()
            raise
        return listener

    def _fill(self) -> None:
        # Linux drops a SYN while the accept queue is full (tcp_conn_request), which is what a
        # firewall that drops looks like from outside. Nobody accepts here, so it stays full.
        for _filler in range(_FILL_LIMIT):
            filler = socket.socket(self._family, socket.SOCK_STREAM)
            filler.settimeout(_FILL_SECONDS)
            # Kept even if it seems to be in vain: one that was only slow has a place in the queue.
            self._fillers.append(filler)
            try:
                filler.connect((self.address, self.number))
            except socket.timeout:
                return
        raise SandboxError("this system completes connections that nobody accepts: no blackhole")


def _loopback(address: str) -> str:
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError("address", f"{address} is not on loopback, and the sandbox stays there")
    return address


__all__ = ["Port", "PortState", "SandboxError"]

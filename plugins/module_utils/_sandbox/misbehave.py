# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bad answers: what a server under a fault on requests sends.

After ``status``, ``redirect``, ``accept_empty`` and ``other_key`` the request has had no effect.
In all the others it was acted upon, and only the answer is bad: the worst case for a client.
"""

from __future__ import annotations

from collections.abc import Callable

from .connection import Connection
from .faults import Fault, Kind
from .http import Response

# More than any client waits for, in a number that every client can read.
_ENDLESS = 10**12
_CHUNK = b"x" * 65536


def misbehave(fault: Fault, connection: Connection, answer: Callable[[], Response]) -> bool:
    """Answer one request badly; ``answer`` acts upon it and gives the right response.

    Returns whether the connection can serve another request. Raises OSError.
    """
    response = _instead(fault)
    if response is None:
        response = answer()
    if fault.delay and not connection.pause(fault.delay):
        return False
    if fault.kind is Kind.CLOSE:
        return False
    if fault.kind is Kind.GARBAGE:
        connection.send(b"\x16\x00this is not HTTP\r\n\r\n")
        return False
    if fault.kind is Kind.DRIP:
        return _drip(connection, response, fault.number)
    if fault.kind is Kind.HUGE_BODY:
        return _pour(connection, response)
    if fault.kind is Kind.BAD_JSON:
        response = Response(200, b"<html>this is not JSON</html>")
    connection.send(response.encode())
    return True


def _instead(fault: Fault) -> Response | None:
    if fault.kind is Kind.STATUS:
        return Response.json(int(fault.number), {"err": "sandbox_fault"})
    if fault.kind is Kind.REDIRECT:
        # 307 is the one that would send a shard along.
        return Response(307, b"", {"Location": fault.text})
    if fault.kind is Kind.ACCEPT_EMPTY:
        return Response.json(200, {})
    if fault.kind is Kind.OTHER_KEY:
        # Byte for byte what a Nexus answers that holds another key.
        return Response.json(500, {"hash": "", "err": "api_internal_error"})
    return None


def _drip(connection: Connection, response: Response, seconds: float) -> bool:
    for number in response.head(length=_ENDLESS):
        connection.send(bytes([number]))
        if not connection.pause(seconds):
            return False
    while connection.pause(seconds):
        connection.send(b" ")
    return False


def _pour(connection: Connection, response: Response) -> bool:
    connection.send(response.head(length=_ENDLESS) + b'{"err":"')
    while connection.pause(0):
        connection.send(_CHUNK)
    return False


__all__ = ["misbehave"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who answers at a port of this host: the SPIFFE ID that its certificate names.

This is a look at a service that was just started, from its own host. It trusts nobody and sends
nothing. Who is believed is decided by the bundle of the trust domain, in a run.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

from .._spiffe.spiffe_id import SpiffeId
from . import certificate

_LOOPBACK = ("127.0.0.1", "::1")


class NoAnswer(Exception):
    """Nobody answers there as a part of SPIKE would; the text says what was seen."""


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of an address as SPIKE has it, such as ``:8443``; else ValueError."""
    host, colon, port = address.strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not an address such as :8443 or 10.0.0.1:8443")
    return host.strip("[]"), int(port)


def who_answers(address: str, seconds: float) -> SpiffeId:
    """The SPIFFE ID of the service that listens at ``address``; raises NoAnswer."""
    host, port = split_address(address)
    hosts = (host,) if host not in ("", "0.0.0.0", "::") else _LOOPBACK  # noqa: S104
    seen: NoAnswer | None = None
    for one in hosts:
        try:
            return _who_answers(one, port, seconds)
        except NoAnswer as answer:
            # A service may listen on one of them only.
            seen = seen or answer
    raise seen or NoAnswer("nothing was asked")


def _who_answers(host: str, port: int, seconds: float) -> SpiffeId:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        with socket.create_connection((host, port), timeout=seconds) as plain:
            secured = context.wrap_socket(plain)
            with contextlib.closing(secured):
                shown = secured.getpeercert(binary_form=True)
    except ConnectionRefusedError:
        raise NoAnswer("connection refused") from None
    except TimeoutError:
        raise NoAnswer(f"no answer within {seconds:g}s") from None
    except ssl.SSLError as error:
        reason = (error.reason or "handshake failed").lower().replace("_", " ")
        raise NoAnswer(f"it does not speak TLS as SPIKE does: {reason}") from None
    except OSError as error:
        raise NoAnswer((error.strerror or "no connection").lower()) from None
    return _named_by(shown or b"")


def _named_by(shown: bytes) -> SpiffeId:
    try:
        found = certificate.uris(shown)
        if len(found) != 1:
            raise ValueError(f"it names {len(found)} URIs")
        return SpiffeId.parse(found[0])
    except ValueError as error:
        raise NoAnswer(f"its certificate is no SVID: {error}") from None


__all__ = ["NoAnswer", "split_address", "who_answers"]

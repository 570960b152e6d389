# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server's side of SPIFFE mutual TLS, right or wrong on request."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from .authority import (
    Authority,
    IssuedSvid,
)
from .faults import Fault, Kind


class ServerIdentity:
    """Who a server is, and whose clients it trusts.

    ``authority`` issues its SVID, for ``spiffe_id``; ``clients`` is the authority of the clients'
    trust domain. ``scratch`` is a private directory for keys on their way into OpenSSL.
    """

    def __init__(
        self,
        authority: Authority,
        spiffe_id: str,
        clients: Authority,
        scratch: Path,
        lifetime_seconds: float,
    ) -> None:
        self._authority = authority
        self._spiffe_id = spiffe_id
        self._clients = clients
        self._scratch = scratch
        self._lifetime = lifetime_seconds
        self.right = self._context(self._issue(authority), clients)

    def for_fault(self, fault: Fault | None) -> ssl.SSLContext:
        """Return the context with which a server under ``fault`` speaks."""
        kind = fault.kind if fault is not None else None
        if fault is not None and kind is Kind.WRONG_IDENTITY:
            return self._context(self._issue(self._authority, spiffe_id=fault.text), self._clients)
        if kind is Kind.EXPIRED:
            expired = self._authority.issue(self._spiffe_id, lifetime_seconds=-60)
            return self._context(expired, self._clients)
        if kind is Kind.UNTRUSTED:
            impostor = Authority(self._authority.trust_domain)
            return self._context(self._issue(impostor), self._clients)
        if kind is Kind.REFUSE_IDENTITY:
            # OpenSSL itself then sends the alert, which Python cannot be made to send.
            stranger = Authority(self._clients.trust_domain)
            return self._context(self._issue(self._authority), stranger)
        return self.right

    def _issue(self, authority: Authority, spiffe_id: str | None = None) -> IssuedSvid:
        return authority.issue(spiffe_id or self._spiffe_id, lifetime_seconds=self._lifetime)

    def _context(self, svid: IssuedSvid, clients: Authority) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.bundle_pem().decode("ascii"))
        # Python's ssl takes a key from a file only; it is gone again at once.
        with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
            certificate, key = self._authority.write(directory, "server", svid)
            context.load_cert_chain(certificate, key)
        return context


def peer_id(connection: ssl.SSLSocket) -> str | None:
    """Return the SPIFFE ID in the peer's certificate, or None unless it has exactly one URI."""
    certificate = connection.getpeercert() or {}
    names = certificate.get("subjectAltName", ())
    uris = [name[1] for name in names if name[0] == "URI"]
    return str(uris[0]) if len(uris) == 1 else None


__all__ = ["ServerIdentity", "peer_id"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of nothing but ``ssl`` and ``http.client``: what it sees owes nothing to the product."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.parse
from dataclasses import dataclass
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
    Authority,
    IssuedSvid,
)
from ansible_collections.dayzero.spike.tests.support.directories import memory_directory

_SECONDS = 10

CONTRIBUTE = "/v1/store/contribute"
VERIFY = "/v1/bootstrap/verify"
RECOVER = "/v1/operator/recover"
RESTORE = "/v1/operator/restore"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, its body decoded from JSON."""

    status: int
    body: Any


class PlainClient:
    """Trusts the authority's bundle and shows ``svid``, or nothing for None.

    It does not look at the server's SPIFFE ID; `server_uris` tells it.
    """

    def __init__(self, authority: Authority, svid: IssuedSvid | None) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.load_verify_locations(cadata=authority.bundle_pem().decode())
        if svid is not None:
            with memory_directory() as directory:
                self.context.load_cert_chain(*authority.write(directory, "client", svid))

    def request(self, url: str, path: str, body: bytes, method: str = "POST") -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPSConnection(
            *_address(url), timeout=_SECONDS, context=self.context
        )
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        finally:
            connection.close()

    def contribute(self, url: str, shard: bytes) -> Answer:
        """Send a keeper its shard."""
        return self.request(url, CONTRIBUTE, json.dumps({"shard": list(shard)}).encode())

    def restore(self, url: str, index: int, shard: bytes) -> Answer:
        """Give Nexus a shard, of any length, under any index."""
        return self.request(url, RESTORE, json.dumps({"id": index, "shard": list(shard)}).encode())

    def listen(self, url: str) -> bytes:
        """Connect, send nothing, and return what the server says; b"" if it hangs up politely."""
        # Without a request no reset can overtake an alert.
        with socket.create_connection(_address(url), _SECONDS) as connection:
            with self.context.wrap_socket(connection) as encrypted:
                return encrypted.recv(1)

    def server_uris(self, url: str) -> list[str]:
        """Return the URIs in the server's certificate."""
        with socket.create_connection(_address(url), _SECONDS) as connection:
            with self.context.wrap_socket(connection) as encrypted:
                certificate: Any = encrypted.getpeercert()
        return [name for kind, name in certificate["subjectAltName"] if kind == "URI"]


def _address(url: str) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


__all__ = ["CONTRIBUTE", "RECOVER", "RESTORE", "VERIFY", "Answer", "PlainClient"]

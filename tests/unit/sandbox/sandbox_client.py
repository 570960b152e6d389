# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client made of ``ssl`` and ``http.client`` alone: what it sees owes nothing to the product."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import urllib.parse
from collections.abc import Iterator
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
    IssuedSvid,
)
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox

CONTRIBUTE = "/v1/store/contribute"
VERIFY = "/v1/bootstrap/verify"
RECOVER = "/v1/operator/recover"
RESTORE = "/v1/operator/restore"
SECONDS = 5.0


def shard_body(octet: int) -> dict[str, Any]:
    return {"shard": [octet] * 32}


class SandboxClient:
    """Speaks to the servers of ``sandbox`` as its bootstrap identity, or as ``svid``."""

    def __init__(self, sandbox: Sandbox, svid: IssuedSvid | None = None) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        for authority in sandbox.authorities.values():
            self.context.load_verify_locations(cadata=authority.bundle_pem().decode())
        certificate, key = sandbox.svid_cert, sandbox.svid_key
        if svid is not None:
            certificate, key = sandbox.authority.write(sandbox.directory, "client", svid)
        self.context.load_cert_chain(certificate, key)

    @contextlib.contextmanager
    def connection(
        self, url: str, timeout: float = SECONDS
    ) -> Iterator[http.client.HTTPConnection]:
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout, context=self.context
        )
        try:
            connection.connect()
            yield connection
        finally:
            connection.close()

    def post(
        self, url: str, body: Any, path: str = CONTRIBUTE, timeout: float = SECONDS
    ) -> tuple[int, Any]:
        """Send one request on a connection of its own; return the status and the JSON."""
        with self.connection(url, timeout) as connection:
            return post(connection, body, path)


def post(
    connection: http.client.HTTPConnection, body: Any, path: str = CONTRIBUTE
) -> tuple[int, Any]:
    connection.request("POST", path, json.dumps(body))
    response = connection.getresponse()
    data = response.read()
    return response.status, json.loads(data)


def connect(url: str, timeout: float = SECONDS) -> socket.socket:
    """Connect by TCP alone."""
    parts = urllib.parse.urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port or 0), timeout)

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The least that N keepers can cost a Python program: a thread, a handshake, and a request each.

Run by the benchmark as a process of its own; its input is JSON: ``urls``, ``cert``, ``key``,
``bundle``. There is no check of a SPIFFE ID, no deadline, no journal and no second step.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

# As many as serve best on two processors.
_THREADS = 8


def main() -> None:
    """Ask every keeper once."""
    plan = json.load(sys.stdin)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(plan["bundle"])
    context.load_cert_chain(plan["cert"], plan["key"])

    def ask(url: str) -> bool:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        address = (parts.hostname, parts.port)
        with socket.create_connection(address) as plain, context.wrap_socket(plain) as connection:
            connection.sendall(
                f"POST /v1/store/contribute HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".encode()
            )
            return b" 400 " in connection.recv(65536)

    with ThreadPoolExecutor(_THREADS) as threads:
        answered = sum(threads.map(ask, plan["urls"]))
    if answered != len(plan["urls"]):
        sys.exit(f"only {answered} have answered")


if __name__ == "__main__":
    main()

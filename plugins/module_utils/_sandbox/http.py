# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Just enough HTTP/1.1 for a server of JSON answers: bounded, persistent, no chunked requests.

Source: RFC 9112, sections 2 to 6 and 9.3.
"""

from __future__ import annotations

import http
import json
from collections.abc import Callable, Mapping
from dataclasses import field

from .._dataclass import dataclass

_HEAD_LIMIT = 16 * 1024
_BODY_LIMIT = 64 * 1024


class BadRequestError(Exception):
    """What arrived is not a request that is understood here; the connection ends."""


@dataclass(frozen=True)
class Request:
    """A request; ``path`` is without its query, ``body`` may hold a shard."""

    method: str
    path: str
    body: bytes = field(repr=False)
    keep_alive: bool


@dataclass(frozen=True)
class Response:
    """An answer; ``headers`` are those besides the type and the length of the body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, document: Mapping[str, object]) -> Response:
        return cls(status, json.dumps(document, separators=(",", ":")).encode())

    def head(self, length: int | None = None) -> bytes:
        """Return the status line and headers; ``length`` overrides the length of the body."""
        try:
            phrase = http.HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(self.body) if length is None else length),
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def encode(self) -> bytes:
        return self.head() + self.body


class RequestReader:
    """Reads requests, one after another, from a stream of bytes."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        """``receive`` returns some bytes, or none at the end of the stream."""
        self._receive = receive
        self._buffer = bytearray()

    def read(self) -> Request | None:
        """Return the next request, or None at the end of the stream. Raises BadRequestError."""
        end = self._find_head()
        if end is None:
            return None
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or parts[2] not in ("HTTP/1.0", "HTTP/1.1"):
            raise BadRequestError
        headers = dict(_header(line) for line in lines[1:])
        body = self._body(headers)
        if body is None:
            return None
        close = parts[2] == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
        return Request(parts[0], parts[1].split("?", 1)[0], body, keep_alive=not close)

    def _find_head(self) -> int | None:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end > _HEAD_LIMIT or (end < 0 and len(self._buffer) > _HEAD_LIMIT):
                raise BadRequestError
            if end >= 0:
                return end
            if not self._fill():
                return None

    def _body(self, headers: Mapping[str, str]) -> bytes | None:
        text = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not (text.isascii() and text.isdigit()):
            raise BadRequestError
        # A long row of digits is refused before it is made a number.
        if len(text) > 9 or int(text) > _BODY_LIMIT:
            raise BadRequestError
        length = int(text)
        while len(self._buffer) < length:
            if not self._fill():
                return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _fill(self) -> bool:
        data = self._receive()
        self._buffer += data
        return bool(data)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        raise BadRequestError
    return name.lower(), value.strip()


__all__ = ["BadRequestError", "Request", "RequestReader", "Response"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP of the sandbox: what is read, and that it is bounded."""

from __future__ import annotations

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.http import (
    BadRequestError,
    Request,
    RequestReader,
    Response,
)


def reader_of(data: bytes, piece: int = 7) -> RequestReader:
    pieces = iter([data[at : at + piece] for at in range(0, len(data), piece)])
    return RequestReader(lambda: next(pieces, b""))


def test_requests_are_read_one_after_another_however_they_arrive() -> None:
    data = (
        b"POST /a?b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
        b"GET /c HTTP/1.1\r\nConnection: Close\r\n\r\n"
    )
    reader = reader_of(data)
    assert reader.read() == Request("POST", "/a", b"abc", keep_alive=True)
    assert reader.read() == Request("GET", "/c", b"", keep_alive=False)
    assert reader.read() is None


@pytest.mark.parametrize(
    "data",
    [b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab"],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_request_that_is_cut_short_is_none(data: bytes) -> None:
    assert reader_of(data).read() is None


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/2\r\n\r\n",
        b"POST / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"x" * 20000,
        b"POST / HTTP/1.1\r\nA: " + b"x" * 20000 + b"\r\n\r\n",
    ],
    ids=[
        "no request line",
        "another version",
        "no header",
        "negative length",
        "long body",
        "endless length",
        "chunked",
        "endless head",
        "long head",
    ],
)
def test_what_is_not_understood_or_too_long_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequestError):
        reader_of(data, piece=4096).read()


def test_a_response_says_how_long_it_is() -> None:
    assert Response.json(503, {"err": "x"}).encode() == (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        b'Content-Length: 11\r\n\r\n{"err":"x"}'
    )


def test_a_body_is_not_shown_with_its_request() -> None:
    assert "secret" not in repr(Request("POST", "/", b"secret", keep_alive=True))

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import Cause, Failure
from ansible_collections.dayzero.spike.plugins.module_utils._net.transport import Answer
from ansible_collections.dayzero.spike.plugins.module_utils._spike.answers import (
    api_error,
    json_object,
    refusal,
    status_failure,
)
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", {}),
        (b' {"err": "x"}\n', {"err": "x"}),
        (b"", None),
        (b"null", None),
        (b"[]", None),
        (b'"{}"', None),
        (b"{", None),
        (b"{}{}", None),
        (b"<html></html>", None),
        (b"\xff\xfe{}", None),
        pytest.param(b"[" * 100_000, None, id="nested deeper than the parser goes"),
        pytest.param(b'{"a":' * 100_000, None, id="objects nested deeper than the parser goes"),
    ],
)
def test_a_body_is_a_json_object_or_nothing(body: bytes, expected: object) -> None:
    assert json_object(Answer(200, body)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", ""),
        (b'{"err": ""}', ""),
        (b'{"err": "api_bad_request"}', "api_bad_request"),
        (b'{"err": "x"}', "x"),
        (json.dumps({"err": "_".join(["a" * 16] * 9)}).encode(), "_".join(["a" * 16] * 9)),
        (json.dumps({"err": "_".join(["a" * 16] * 10)}).encode(), None),
        (json.dumps({"err": "api_" + "a" * 17}).encode(), None),
        # A shard in hex could begin with a letter.
        (json.dumps({"err": "a1" * 32}).encode(), None),
        (json.dumps({"err": "aa" * 32}).encode(), None),
        (b'{"err": null}', None),
        (b'{"err": 1}', None),
        (b'{"err": ["a"]}', None),
        (b'{"err": "Bad Request"}', None),
        (b'{"err": "bad\\n"}', None),
        (b'{"err": "1a"}', None),
        (b"junk", None),
        (b"[]", None),
    ],
)
def test_only_what_looks_like_spikes_own_code_is_one(body: bytes, expected: str | None) -> None:
    assert api_error(Answer(400, body)) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"err":"api_x"}', Failure(Cause.HTTP_STATUS, "status 400 api_x", True, True)),
        (400, b"{}", Failure(Cause.HTTP_STATUS, "status 400", True, True)),
        (401, b"junk", Failure(Cause.HTTP_STATUS, "status 401", True, True)),
        (404, b"", Failure(Cause.HTTP_STATUS, "status 404", True, True)),
        (499, b"", Failure(Cause.HTTP_STATUS, "status 499", True, True)),
        (408, b"", Failure(Cause.HTTP_STATUS, "status 408", False, True)),
        (429, b"", Failure(Cause.HTTP_STATUS, "status 429", False, True)),
        (500, b"", Failure(Cause.HTTP_STATUS, "status 500", False, True)),
        (503, b'{"err":"e"}', Failure(Cause.HTTP_STATUS, "status 503 e", False, True)),
        (599, b"", Failure(Cause.HTTP_STATUS, "status 599", False, True)),
        (200, b"junk", Failure(Cause.BAD_RESPONSE, "status 200", False, True)),
        (204, b"", Failure(Cause.BAD_RESPONSE, "status 204", False, True)),
    ],
    ids=str,
)
def test_an_answer_that_is_not_the_good_one_is_a_failure(
    status: int, body: bytes, expected: Failure
) -> None:
    assert status_failure(Answer(status, body)) == expected


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
def test_a_redirect_is_final_and_named(status: int) -> None:
    failure = status_failure(Answer(status, b""))
    assert failure.final
    assert failure.cause is Cause.HTTP_STATUS
    assert failure.detail == f"status {status}, a redirect, which is never followed"


@settings(max_examples=100, deadline=None)
@given(st.integers(200, 599), st.binary(min_size=4, max_size=60).filter(lambda b: b"_" not in b))
def test_a_body_is_never_repeated(status: int, body: bytes) -> None:
    plain = status_failure(Answer(status, b""))
    assert status_failure(Answer(status, body)) == plain
    echoed = json.dumps({"err": f"X{body.hex()}"}).encode()
    assert status_failure(Answer(status, echoed)) == plain
    assert body.hex() not in repr(Answer(status, echoed))


def test_a_refusal_is_final_and_was_sent() -> None:
    assert refusal("words").failure == Failure(Cause.HTTP_STATUS, "words", final=True, sent=True)

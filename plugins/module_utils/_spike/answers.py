# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the HTTP answers of SPIKE's APIs have in common."""

from __future__ import annotations

import json
import re

from .._errors import (
    AttemptFailed,
    Cause,
    Failure,
)
from .._net.transport import Answer

# SPIKE's error codes look like this. Nothing else of an answer is ever repeated to the operator:
# a peer could echo the shard.
_ERROR_CODE = re.compile(r"[a-z]{1,16}(_[a-z0-9]{1,16}){0,8}")
# 4xx that say "later" (RFC 9110, 15.5.9; RFC 6585, 4).
_PASSING = (408, 429)


def json_object(answer: Answer) -> dict[str, object] | None:
    """The answer's body if it is a JSON object, else None."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def api_error(answer: Answer) -> str | None:
    """SPIKE's error code in the answer, empty where there is none; None if it is not SPIKE's."""
    body = json_object(answer)
    if body is None:
        return None
    code = body.get("err", "")
    if code == "":
        return ""
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else None


def status_failure(answer: Answer) -> Failure:
    """What an answer that is not the good one means: waiting fixes 5xx, 408 and 429 only."""
    code = api_error(answer)
    detail = f"status {answer.status}" + (f" {code}" if code else "")
    if 300 <= answer.status < 400:
        detail += ", a redirect, which is never followed"
    final = 300 <= answer.status < 500 and answer.status not in _PASSING
    if answer.status < 300:
        return Failure(Cause.BAD_RESPONSE, detail, sent=True)
    return Failure(Cause.HTTP_STATUS, detail, final=final, sent=True)


def refusal(detail: str) -> AttemptFailed:
    """An answer that no further attempt can fix."""
    return AttemptFailed(Failure(Cause.HTTP_STATUS, detail, final=True, sent=True))


__all__ = ["api_error", "json_object", "refusal", "status_failure"]

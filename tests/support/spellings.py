# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The search for secrets: every form in which one could show up, in whatever was written."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


def spellings(secret: bytes) -> Iterator[bytes]:
    """The forms in which 32 bytes could show up anywhere."""
    numbers = list(secret)
    for text in (
        secret.hex(),
        secret.hex().upper(),
        ":".join(f"{number:02x}" for number in numbers),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        json.dumps(numbers)[1:-1],
        json.dumps(numbers, separators=(",", ":"))[1:-1],
        " ".join(map(str, numbers)),
        "\n".join(map(str, numbers)),
        repr(secret)[2:-1],
        str(int.from_bytes(secret, "big")),
    ):
        yield text.encode()
    yield secret


def shown_in(texts: Mapping[str, bytes], forms: Sequence[bytes]) -> list[str]:
    """Which of ``texts``, by name, have one of ``forms``."""
    # A list that Ansible prints over many lines is looked for as one line, too.
    return [
        name
        for name, text in texts.items()
        if any(form in text or form in b" ".join(text.split()) for form in forms)
    ]


def of_processes() -> dict[str, bytes]:
    """The arguments and the environment of every process, by its place below /proc.

    Those of the caller are left out: a test knows the secret that it looks for.
    """
    texts = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or process.name == str(os.getpid()):
            continue
        for name in ("cmdline", "environ"):
            # A process may end meanwhile, or be somebody else's.
            with contextlib.suppress(OSError):
                texts[f"{process}/{name}"] = (process / name).read_bytes()
    return texts


__all__ = ["of_processes", "shown_in", "spellings"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What survives a crash and is not secret: the journal of a cluster's bootstrap.

A JSON document in ``state_dir``; docs/journal.md describes it field by field.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._durable_file import (
    Step,
    ignore_step,
    read_file,
    replace_file,
)
from ansible_collections.dayzero.spike.plugins.module_utils._errors import StateUnusable
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import Token

NAME = "journal.json"
VERSION = 1
# 1000 keepers with the longest URLs that make sense are well below this.
_MOST_BYTES = 4 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_REMEDY = (
    "Nothing was sent and the file was left as it is. Move it away only if you know the cluster's"
    " state: without it, a rerun cannot tell a fresh cluster from one that has a key."
)


@dataclass(frozen=True)
class Cluster:
    """What a key was split for: shards of different clusters must never meet."""

    keepers: tuple[str, ...]
    threshold: int
    scheme: str

    def fingerprint(self) -> str:
        """A short name of exactly this cluster (SHA-256, hex)."""
        text = json.dumps([self.keepers, self.threshold, self.scheme])
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self) -> str:
        """The cluster in one line, for messages."""
        return (
            f"threshold {self.threshold} of {len(self.keepers)} keepers"
            f" ({', '.join(self.keepers)}), {self.scheme}"
        )


@dataclass(frozen=True)
class Record:
    """A run that may have sent shards.

    ``delivered`` are the ids of the keepers known to have taken their shard; others may have.
    ``finished``: Nexus has proved the key.
    """

    cluster: Cluster
    token: Token
    delivered: frozenset[int] = frozenset()
    finished: bool = False

    def with_delivered(self, ids: Iterable[int]) -> Record:
        """The same run after more keepers have taken their shard."""
        return replace(self, delivered=self.delivered | frozenset(ids))

    def as_finished(self) -> Record:
        """The same run after Nexus has proved the key."""
        return replace(self, finished=True)


class Journal:
    """The journal in an open ``state_dir``."""

    def __init__(self, directory: int, path: str, *, step: Step = ignore_step) -> None:
        self.path = os.path.join(path, NAME)
        self._directory = directory
        self._step = step

    def load(self) -> Record | None:
        """The record of the last run, None where there never was one.

        Raises StateUnusable for a journal that cannot be read, is damaged, or was written by a
        newer version.
        """
        problem = ""
        try:
            content = read_file(self._directory, NAME, _MOST_BYTES)
        except OSError as error:
            problem = error.strerror or "unreadable"
        if problem:
            raise StateUnusable(
                f"The journal {self.path} cannot be read: {problem}. Nothing was sent. Run"
                " bootstrap as the user who ran it before, or make the file readable for the"
                " running one."
            )
        return None if content is None else self._parse(bytes(content))

    def save(self, record: Record) -> None:
        """Replace the journal, durably; raises StateUnusable, and leaves the old one."""
        document = {
            "version": VERSION,
            "state": "finished" if record.finished else "delivering",
            "cluster": {
                "keepers": list(record.cluster.keepers),
                "threshold": record.cluster.threshold,
                "scheme": record.cluster.scheme,
            },
            "delivered": sorted(record.delivered),
            "token": {
                "nonce": base64.b64encode(record.token.nonce).decode(),
                "ciphertext": base64.b64encode(record.token.ciphertext).decode(),
                "hash": record.token.digest,
            },
        }
        content = (json.dumps(document, indent=1) + "\n").encode()
        problem = ""
        try:
            replace_file(self._directory, NAME, content, mode=0o644, step=self._step)
        except OSError as error:
            problem = error.strerror or "not writable"
        if problem:
            raise StateUnusable(
                f"The journal {self.path} cannot be written: {problem}. Make state_dir writable"
                " for the running user, with free space, and rerun bootstrap."
            )

    def _parse(self, content: bytes) -> Record:
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        version = document.get("version") if isinstance(document, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise StateUnusable(
                f"The journal {self.path} is of version {version}, and this collection reads up to"
                f" {VERSION}: it was written by a newer dayzero.spike. Nothing was sent and the"
                " file was left as it is. Upgrade the collection."
            )
        try:
            return _record(document)
        except (KeyError, TypeError, ValueError, binascii.Error):
            pass
        raise StateUnusable(f"The journal {self.path} is damaged. {_REMEDY}")


def _record(document: Any) -> Record:
    """Raises KeyError, TypeError or ValueError for anything but a whole version 1 document."""
    cluster, token = document["cluster"], document["token"]
    keepers, threshold = cluster["keepers"], cluster["threshold"]
    delivered, digest = document["delivered"], token["hash"]
    nonce = base64.b64decode(token["nonce"], validate=True)
    ciphertext = base64.b64decode(token["ciphertext"], validate=True)
    # Types are compared, not asked for: to Python, true is an int, and equal to 1.
    whole = (
        type(document["version"]) is int
        and document["version"] == VERSION
        and document["state"] in ("delivering", "finished")
        and isinstance(keepers, list)
        and all(isinstance(url, str) for url in keepers)
        and type(threshold) is int
        and 2 <= threshold <= len(keepers)
        and isinstance(cluster["scheme"], str)
        and isinstance(delivered, list)
        and all(type(i) is int and 1 <= i <= len(keepers) for i in delivered)
        and len(nonce) == 12
        and len(ciphertext) > 0
        and _DIGEST.fullmatch(digest) is not None
    )
    if not whole:
        raise ValueError
    return Record(
        cluster=Cluster(tuple(keepers), threshold, cluster["scheme"]),
        token=Token(nonce, ciphertext, digest),
        delivered=frozenset(delivered),
        finished=document["state"] == "finished",
    )


__all__ = ["NAME", "VERSION", "Cluster", "Journal", "Record"]

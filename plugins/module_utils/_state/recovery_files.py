# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory with the encrypted shards: one file a custodian, and what describes them all.

``recovery.json`` is written last: whatever a crash leaves is not described, and written again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from .._clock import as_utc
from .._dataclass import dataclass
from .._key.custodians import Envelope
from .._options.cluster import Cluster
from .._release import COLLECTION
from .._steps import ignore_step
from .durable_file import make_directory, read_file, replace_file

NAME = "recovery.json"
_VERSION = 1
_MOST_BYTES = 1024 * 1024


class FilesUnusable(OSError):
    """The directory cannot be used; the message says why."""


@dataclass(frozen=True)
class SealedShard:
    """A shard as its custodian gets it; ``digest`` is the SHA-256 of the line, in hex."""

    index: int
    envelope: Envelope
    digest: str
    ciphertext: str


@dataclass(frozen=True)
class Description:
    """What ``recovery.json`` says; nothing in it is secret."""

    document: dict[str, Any]
    envelopes: tuple[Envelope, ...]

    @property
    def entries(self) -> list[dict[str, Any]]:
        """One for each shard, without what is known only when it is encrypted."""
        entries: list[dict[str, Any]] = self.document["shards"]
        return entries


def describe(
    cluster: Cluster,
    scheme: str,
    envelopes: Sequence[Envelope],
    digests: Sequence[str],
    now: datetime,
) -> Description:
    """The description of a set of shards: whose they are, and of which cluster."""
    document = {
        "version": _VERSION,
        "written": as_utc(now),
        "collection": COLLECTION,
        "cluster": {
            "keepers": list(cluster.keepers),
            "threshold": cluster.threshold,
            "shares": len(cluster.keepers),
            "scheme": scheme,
        },
        "shards": [
            {
                "index": index,
                "custodian": envelope.custodian.name,
                "key_id": envelope.key_id,
                "file": _file_of(index, envelope),
                "sha256": digest,
            }
            for index, (envelope, digest) in enumerate(zip(envelopes, digests), 1)
        ],
    }
    return Description(document, tuple(envelopes))


def document_of(description: Description, shards: Sequence[SealedShard]) -> dict[str, Any]:
    """What ``recovery.json`` says of shards that are encrypted."""
    entries = [
        {
            **entry,
            "ciphertext_sha256": hashlib.sha256(shard.ciphertext.encode()).hexdigest(),
        }
        for entry, shard in zip(description.entries, shards)
    ]
    return {**description.document, "shards": entries}


def _file_of(index: int, envelope: Envelope) -> str:
    custodian = envelope.custodian
    return f"shard-{index}-{custodian.name}.{custodian.kind.suffix}"


class RecoveryFiles:
    """The files in ``path``. Every method raises FilesUnusable."""

    def __init__(self, path: str, step: Callable[[str], None] = ignore_step) -> None:
        self._path = path
        self._step = step

    def read(self, description: Description) -> list[SealedShard] | None:
        """The shards that are there, if they are those described, whole; else None."""
        try:
            directory = self._open()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(error) from None
        try:
            return self._read(directory, description)
        except OSError as error:
            raise _unusable(error) from None
        finally:
            os.close(directory)

    def write(self, description: Description, shards: Sequence[SealedShard]) -> None:
        """Write the shards, then their description, then remove those of an earlier one."""
        try:
            make_directory(self._path, mode=0o700)
            directory = self._open()
        except OSError as error:
            raise _unusable(error) from None
        try:
            earlier = _documented(directory)
            for entry, shard in zip(description.entries, shards):
                content = shard.ciphertext.encode()
                replace_file(directory, entry["file"], content, mode=0o600, step=self._step)
            text = json.dumps(document_of(description, shards), indent=1) + "\n"
            replace_file(directory, NAME, text.encode(), mode=0o600, step=self._step)
            _remove_others(directory, earlier, {entry["file"] for entry in description.entries})
        except OSError as error:
            raise _unusable(error) from None
        finally:
            os.close(directory)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _read(self, directory: int, description: Description) -> list[SealedShard] | None:
        found = _documented(directory)
        if found is None or found.get("cluster") != description.document["cluster"]:
            return None
        entries = found.get("shards")
        if not isinstance(entries, list) or len(entries) != len(description.entries):
            return None
        shards = []
        for there, entry, envelope in zip(entries, description.entries, description.envelopes):
            if not isinstance(there, dict) or {**there, **entry} != there:
                return None
            content = read_file(directory, entry["file"], _MOST_BYTES)
            if content is None:
                return None
            if hashlib.sha256(content).hexdigest() != there.get("ciphertext_sha256"):
                return None
            mode = os.stat(entry["file"], dir_fd=directory, follow_symlinks=False).st_mode
            if mode & 0o7777 != 0o600:
                return None
            shards.append(SealedShard(entry["index"], envelope, entry["sha256"], content.decode()))
        return shards


def _documented(directory: int) -> dict[str, Any] | None:
    content = read_file(directory, NAME, _MOST_BYTES)
    try:
        document = None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None
    known = isinstance(document, dict) and document.get("version") == _VERSION
    return document if known else None


def _remove_others(directory: int, earlier: dict[str, Any] | None, kept: set[str]) -> None:
    """Remove what an ``earlier`` description names and this one does not: it is out of date."""
    entries = (earlier or {}).get("shards")
    for entry in entries if isinstance(entries, list) else []:
        name = entry.get("file") if isinstance(entry, dict) else None
        # Names of ours only, whoever wrote that description.
        if not isinstance(name, str) or "/" in name or name in kept:
            continue
        if name.startswith("shard-"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)


def _unusable(error: OSError) -> FilesUnusable:
    return FilesUnusable((error.strerror or "it cannot be used").lower())


__all__ = [
    "NAME",
    "Description",
    "FilesUnusable",
    "RecoveryFiles",
    "SealedShard",
    "describe",
    "document_of",
]

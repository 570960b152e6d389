# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What survives a crash and is not secret: the journal of a cluster's bootstrap.

A JSON document in ``state_dir``; docs/journal.md describes it field by field.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from .._clock import as_utc, from_utc
from .._dataclass import dataclass
from .._errors import (
    RERUN,
    Advice,
    StateUnusable,
)
from .._key.root_key import Token
from .._options.cluster import Cluster
from .._release import COLLECTION
from .._steps import StepHook, ignore_step
from .durable_file import (
    read_file,
    replace_file,
    set_aside,
)

NAME = "journal.json"
VERSION = 1
# 1000 keepers with the longest URLs that make sense are well below this.
_MOST_BYTES = 4 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Run:
    """For the record only: when and where a key was drawn, and by which version of the collection.

    ``began`` and ``ended`` are aware; ``ended`` is None until Nexus has proved the key. ``forced``
    is what force overrode, None where nothing was forced.
    """

    began: datetime
    host: str
    collection: str = COLLECTION
    ended: datetime | None = None
    forced: str | None = None


@dataclass(frozen=True)
class Record:
    """A run that may have sent shards.

    ``delivered`` are the ids of the keepers known to have taken their shard; others may have.
    ``finished``: Nexus has proved the key. ``run`` is None where a journal does not say.
    """

    cluster: Cluster
    token: Token
    delivered: frozenset[int] = frozenset()
    finished: bool = False
    run: Run | None = None

    def with_delivered(self, ids: Iterable[int]) -> Record:
        """The same run after more keepers have taken their shard."""
        return replace(self, delivered=self.delivered | frozenset(ids))

    def as_finished(self, now: datetime) -> Record:
        """The same run after Nexus has proved the key, at ``now``."""
        run = None if self.run is None else replace(self.run, ended=now)
        return replace(self, finished=True, run=run)

    def of_changed(self, cluster: Cluster) -> Record:
        """The same key, which its owners have since made that of ``cluster``."""
        return replace(self, cluster=cluster, delivered=frozenset())


class Journal:
    """The journal in an open ``state_dir``."""

    def __init__(self, directory: int, path: str, *, step: StepHook = ignore_step) -> None:
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
                Advice(
                    f"The journal {self.path} cannot be read: {problem}. Nothing was sent.",
                    ("It belongs to another user than the running one.",),
                    (
                        "Run bootstrap as the user who ran it before, or make the journal readable"
                        " for the running one.",
                        RERUN,
                    ),
                )
            )
        return None if content is None else self._parse(bytes(content))

    def save(self, record: Record) -> None:
        """Replace the journal, durably; raises StateUnusable, and leaves the old one."""
        document: dict[str, Any] = {
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
        if record.run is not None:
            document["run"] = _run_as_written(record.run)
        content = (json.dumps(document, indent=1) + "\n").encode()
        problem = ""
        try:
            replace_file(self._directory, NAME, content, mode=0o644, step=self._step)
        except OSError as error:
            problem = error.strerror or "not writable"
        if problem:
            raise self._unwritable(problem)

    def set_aside(self, now: datetime) -> str:
        """Move the journal away, durably, and return its new path; raises StateUnusable."""
        moment = now.astimezone(timezone.utc)
        problem = ""
        for stamp in ("%Y%m%dT%H%M%SZ", "%Y%m%dT%H%M%S.%fZ"):
            aside = f"journal-abandoned-{moment.strftime(stamp)}.json"
            try:
                set_aside(self._directory, NAME, aside, step=self._step)
                return os.path.join(os.path.dirname(self.path), aside)
            except OSError as error:
                problem = error.strerror or "not writable"
        raise self._unwritable(problem)

    def _unwritable(self, problem: str) -> StateUnusable:
        return StateUnusable(
            Advice(
                f"The journal {self.path} cannot be written: {problem}.",
                ("{state_dir} is full, or the running user may not write to it.",),
                (
                    "Make {state_dir} writable for the running user, with free space.",
                    RERUN,
                ),
            )
        )

    def _parse(self, content: bytes) -> Record:
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        version = document.get("version") if isinstance(document, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise StateUnusable(
                Advice(
                    f"The journal {self.path} is of version {version}, and this collection reads up"
                    f" to {VERSION}. Nothing was sent, and the file was left as it is.",
                    ("It was written by a newer dayzero.spike.",),
                    ("Upgrade the collection dayzero.spike.", RERUN),
                )
            )
        try:
            return _record(document)
        except (KeyError, TypeError, ValueError, binascii.Error):
            pass
        raise StateUnusable(
            Advice(
                f"The journal {self.path} is damaged. Nothing was sent, and the file was left as it"
                " is.",
                ("Somebody has edited it, or the file system has lost a part of it.",),
                (
                    "Restore it from a backup, if there is one, and rerun bootstrap.",
                    "Otherwise move it away, and keep it.",
                    "Then rerun bootstrap in check mode: it says whether Nexus has a root key"
                    " already.",
                    "If that is not refused, rerun bootstrap.",
                ),
            )
        )


def _is_int(value: object) -> bool:
    # To Python, true is an int, and equal to 1.
    return isinstance(value, int) and not isinstance(value, bool)


def _record(document: Any) -> Record:
    """Raises KeyError, TypeError or ValueError for anything but a whole version 1 document."""
    cluster, token = document["cluster"], document["token"]
    keepers, threshold = cluster["keepers"], cluster["threshold"]
    delivered, digest = document["delivered"], token["hash"]
    nonce = base64.b64decode(token["nonce"], validate=True)
    ciphertext = base64.b64decode(token["ciphertext"], validate=True)
    whole = (
        _is_int(document["version"])
        and document["version"] == VERSION
        and document["state"] in ("delivering", "finished")
        and isinstance(keepers, list)
        and all(isinstance(url, str) for url in keepers)
        and _is_int(threshold)
        and 2 <= threshold <= len(keepers)
        and isinstance(cluster["scheme"], str)
        and isinstance(delivered, list)
        and all(_is_int(i) and 1 <= i <= len(keepers) for i in delivered)
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
        run=_run(document.get("run")),
    )


def _run_as_written(run: Run) -> dict[str, Any]:
    return {
        "began": as_utc(run.began),
        "ended": None if run.ended is None else as_utc(run.ended),
        "host": run.host,
        "collection": run.collection,
        "forced": run.forced,
    }


def _run(written: Any) -> Run | None:
    """None where it is not whole: nothing depends on it."""
    try:
        ended, forced = written["ended"], written["forced"]
        return Run(
            began=from_utc(written["began"]),
            host=str(written["host"]),
            collection=str(written["collection"]),
            ended=None if ended is None else from_utc(ended),
            forced=None if forced is None else str(forced),
        )
    except (KeyError, TypeError, ValueError):
        return None


__all__ = ["NAME", "VERSION", "Journal", "Record", "Run"]

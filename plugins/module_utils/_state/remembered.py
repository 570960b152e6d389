# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs remember of each other: the journal together with the key of an unfinished run."""

from __future__ import annotations

from datetime import datetime

from .._dataclass import dataclass
from .._key.root_key import RootKey
from .._options.cluster import Cluster
from .._uncut import UNCUT
from .journal import Journal, Record, Run
from .pending_key import PendingKey


@dataclass(frozen=True)
class Remembered:
    """What an earlier run left.

    ``key`` is there only if it belongs to ``record``, or if there is no record; ``key_for`` is the
    fingerprint of the cluster that it was split for. ``begun_elsewhere`` is the path of the key
    that an unfinished run with another state directory keeps for the cluster that was asked for:
    its shards may be out.
    """

    record: Record | None
    key: RootKey | None = None
    key_for: str | None = None
    begun_elsewhere: str | None = None


class Memory:
    """The journal and the unfinished run's key, kept in step.

    The order makes every crash safe: a key is kept before its journal is written, the journal is
    written before the first shard leaves, and says ``finished`` before the key is removed. So a
    key without a journal was never sent, and a journal without a finish may have sent shards. A run
    that is told to end keeps the two in step first.
    """

    def __init__(self, journal: Journal | None, pending: PendingKey) -> None:
        """``journal`` is None where there is no state directory yet, in check mode."""
        self._journal = journal
        self._pending = pending

    def keep_keys_in(self, directory: int | None) -> None:
        """Use the open ``directory``, which was made after this, for a key that is drawn."""
        self._pending.use(directory)

    def recall(self, cluster: Cluster) -> Remembered:
        """What earlier runs left that matters to ``cluster``.

        Raises StateUnusable where it cannot be read.
        """
        record = self._journal.load() if self._journal else None
        elsewhere = self._pending.of_another_state_dir(cluster.fingerprint())
        kept = self._pending.load()
        if kept is None:
            return Remembered(record, begun_elsewhere=elsewhere)
        key, key_for = kept
        if record is not None and not key.opens(record.token):
            # A key that another run drew and never used: that run's journal was never written.
            key.wipe()
            return Remembered(record, begun_elsewhere=elsewhere)
        return Remembered(record, key, key_for, elsewhere)

    def begin(self, key: RootKey, cluster: Cluster, run: Run) -> Record:
        """Remember, durably, that shards of ``key`` are about to be sent; raises StateUnusable."""
        record = Record(cluster, key.seal(), run=run)
        with UNCUT:
            self._pending.save(key, cluster.fingerprint())
            self.note(record)
        return record

    def note(self, record: Record) -> None:
        """Remember, durably, how far the run is."""
        if self._journal is None:
            raise ValueError("there is no state directory to note it in")
        self._journal.save(record)

    def finish(self, record: Record, now: datetime) -> None:
        """Remember that Nexus has proved the key, and remove it; does nothing a second time."""
        with UNCUT:
            if not record.finished:
                self.note(record.as_finished(now))
            self._pending.remove()

    def adopt(self, record: Record, cluster: Cluster, now: datetime) -> None:
        """Remember that ``record``'s key, which Nexus proves, now is that of ``cluster``."""
        changed = record.of_changed(cluster)
        with UNCUT:
            self.note(changed if changed.finished else changed.as_finished(now))
            self._pending.remove()

    def abandon(self, record: Record | None, now: datetime) -> str | None:
        """Wipe the key that waits, and move the journal away; returns where it is now.

        The key goes first: a crash in between leaves a journal whose key is lost, which sends
        nothing, and not a key without a journal, which would be sent.
        """
        with UNCUT:
            self._pending.remove()
            if record is None or self._journal is None:
                return None
            return self._journal.set_aside(now)


__all__ = ["Memory", "Remembered"]

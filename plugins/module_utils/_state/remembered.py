# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs remember of each other: the journal together with the key of an unfinished run."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.dayzero.spike.plugins.module_utils._journal import (
    Cluster,
    Journal,
    Record,
)
from ansible_collections.dayzero.spike.plugins.module_utils._pending_key import PendingKey
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import RootKey


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
    key without a journal was never sent, and a journal without a finish may have sent shards.
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

    def begin(self, key: RootKey, cluster: Cluster) -> Record:
        """Remember, durably, that shards of ``key`` are about to be sent; raises StateUnusable."""
        record = Record(cluster, key.seal())
        self._pending.save(key, cluster.fingerprint())
        self.note(record)
        return record

    def note(self, record: Record) -> None:
        """Remember, durably, how far the run is."""
        assert self._journal is not None
        self._journal.save(record)

    def finish(self, record: Record) -> None:
        """Remember that Nexus has proved the key, and remove it; does nothing a second time."""
        if not record.finished:
            self.note(record.as_finished())
        self._pending.remove()


__all__ = ["Memory", "Remembered"]

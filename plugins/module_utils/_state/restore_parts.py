# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which parts of a restore were given, between the runs of custodians who come one by one.

Nexus tells only how many shards it has. Whether one more was taken shows only beside what it had
before, so that is kept, in memory, beside where an unfinished run's key would be. Nothing in it is
secret.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable

from .._dataclass import dataclass
from .._steps import ignore_step
from .durable_file import read_file, replace_file

_MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Given:
    """The indices that were given to a Nexus, and how many shards it then had."""

    indices: tuple[int, ...] = ()
    collected: int = 0


class RestoreParts:
    """What was given to the Nexus at ``url``, in an open directory in memory."""

    def __init__(self, directory: int, url: str, step: Callable[[str], None] = ignore_step) -> None:
        self._directory = directory
        self._step = step
        self._name = f"restore-{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"

    def read(self) -> Given:
        """What is known; nothing where there is no file, or one that cannot be read."""
        try:
            content = read_file(self._directory, self._name, _MOST_BYTES)
            document = None if content is None else json.loads(content)
            indices = tuple(int(index) for index in document["indices"]) if document else ()
            return Given(indices, int(document["collected"]) if document else 0)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return Given()

    def write(self, given: Given) -> None:
        """Keep ``given``; without it the next part is taken as if it were the first."""
        document = {"indices": list(given.indices), "collected": given.collected}
        with contextlib.suppress(OSError):
            replace_file(
                self._directory,
                self._name,
                json.dumps(document).encode(),
                mode=0o600,
                step=self._step,
            )

    def forget(self) -> None:
        """There is nothing to go on with any more."""
        with contextlib.suppress(OSError):
            os.unlink(self._name, dir_fd=self._directory)


__all__ = ["Given", "RestoreParts"]

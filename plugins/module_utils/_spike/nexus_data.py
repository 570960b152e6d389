# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether SPIKE Nexus has a database on this host.

Source: SPIKE, internal/config/fs (the data directory) and the sqlite backend's default options.
"""

from __future__ import annotations

import os

from .._dataclass import dataclass
from .._errors import ConfigError
from .._options.settings import SeenDatabase

# Nexus keeps its data in SPIKE_NEXUS_DATA_DIR/data. Both that directory and the variable's own
# value are understood: one who takes the one for the other must not be without a guard.
_PLACES = ("spike.db", os.path.join("data", "spike.db"))


@dataclass(frozen=True)
class Database:
    """A database of Nexus that is at ``path``, or that may be.

    ``hidden``: why that cannot be known; empty where it is certain.
    """

    path: str
    hidden: str = ""


def look_for_database(directory: str | None, found: SeenDatabase) -> Database | None:
    """The database of a Nexus with its data in ``directory``; None where there is none.

    ``found`` is what somebody else has found who may see it. Raises ConfigError where ``directory``
    is no directory.
    """
    if found is SeenDatabase.PRESENT:
        return Database(directory or "{nexus_database} is present")
    if found is SeenDatabase.ABSENT or directory is None:
        return None
    if os.path.isfile(directory):
        raise ConfigError(
            "nexus_data_dir",
            f"{directory} is a file",
            f"give the directory of Nexus's data, for example {os.path.dirname(directory)}",
        )
    paths = [os.path.join(directory, place) for place in _PLACES]
    hidden = None
    for path in paths:
        try:
            os.stat(path)
            return Database(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            hidden = hidden or Database(path, (error.strerror or "unreadable").lower())
    return hidden


__all__ = ["Database", "look_for_database"]

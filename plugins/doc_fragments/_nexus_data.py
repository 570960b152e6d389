# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where SPIKE Nexus keeps its data, and who looks into it."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  nexus_data_dir:
    description:
      - Data directory of SPIKE Nexus, where it is on the target host. Its E(SPIKE_NEXUS_DATA_DIR),
        or the directory V(data) that Nexus makes below that. When given and it holds a Nexus
        database, drawing a new key is refused, and so is going on with a kept key whose journal is
        gone. Finishing an unfinished run that has its journal is not. Not looked at by default.
      - Worth giving wherever possible. A Nexus that restarts and finds no shards answers as a new
        one does, and only its database shows that there is something to lose.
      - Nexus closes its directory to other users. Where the running user may not look for the
        database, drawing a new key is refused as well. To be able to, it needs the right to search
        the directories, for example by C(setfacl -m u:spike-bootstrap:x) on each.
      - A directory that does not exist counts as one without a database, because on a fresh host
        Nexus has not made it yet. A path with a typing error therefore guards nothing.
    type: path
    version_added: 1.0.0
  nexus_database:
    description:
      - Who looks for the database of SPIKE Nexus, and what was found. V(look) by default.
    type: str
    choices:
      look: This module looks into O(nexus_data_dir) itself, where that is given.
      present: >-
        Somebody who may see it has found a database. Drawing a new key is refused as if the module
        had found it.
      absent: Somebody who may see it has found none. O(nexus_data_dir) is not looked into.
    default: look
    version_added: 1.0.0
"""

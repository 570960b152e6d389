# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept on the target host between runs, by us and by SPIKE Nexus."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  state_dir:
    description:
      - Directory of the journal, V(/var/lib/spike-bootstrap) by default. It says which cluster was
        bootstrapped, which keepers have their shard, and holds a token that only the right root
        key can answer. Nothing in it is secret, and it must survive a reboot.
    type: path
    default: /var/lib/spike-bootstrap
    version_added: 0.1.0
  runtime_dir:
    description:
      - Directory in memory where the key of an unfinished run waits, mode 0600, until SPIKE Nexus
        has proved that it holds it. By default V(spike-bootstrap) in the first of V(/run) and
        V(/dev/shm) that lies in memory; in containers V(/run) is often on disk.
      - Refused unless it lies in memory (tmpfs or ramfs), belongs to the running user and is not a
        link.
    type: path
    version_added: 0.1.0
  nexus_data_dir:
    description:
      - Data directory of SPIKE Nexus, where it is on the target host. Its E(SPIKE_NEXUS_DATA_DIR),
        or the directory V(data) that Nexus makes below that. When given and it holds a Nexus
        database, drawing a new key is refused, and so is going on with a kept key whose journal is
        gone. Finishing an unfinished run that has its journal is not. Not looked at by default.
      - Worth giving wherever possible. A Nexus that restarts and finds no shards answers as a new
        one does, and only its database tells that there is something to lose.
      - Nexus closes its directory to other users. Where the running user may not look for the
        database, drawing a new key is refused as well. To be able to, it needs the right to search
        the directories, for example by C(setfacl -m u:spike-bootstrap:x) on each.
      - A directory that does not exist counts as one without a database, because on a fresh host
        Nexus has not made it yet. A path with a typing error therefore guards nothing.
    type: path
    version_added: 0.1.0
"""

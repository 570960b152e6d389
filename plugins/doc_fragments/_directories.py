# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept on the target host between runs."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  state_dir:
    description:
      - Directory of the journal, V(/var/lib/spike-bootstrap) by default. It says which cluster was
        bootstrapped, which keepers have their shard, and holds a token that only the right root
        key can answer. Nothing in it is secret.
      - It must survive a reboot, so a directory in memory (tmpfs or ramfs) is refused.
    type: path
    default: /var/lib/spike-bootstrap
    version_added: 1.0.0
  runtime_dir:
    description:
      - Directory in memory where the key of an unfinished run waits, mode 0600, until SPIKE Nexus
        has proved that it holds it. By default V(spike-bootstrap) in the first of V(/run) and
        V(/dev/shm) that is in memory; in containers V(/run) is often on disk.
      - Refused unless it is in memory (tmpfs or ramfs), belongs to the running user and is not a
        link.
    type: path
    version_added: 1.0.0
"""

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SPIKE on its hosts: its units and their journal, and its registration entries in SPIRE.

program       another program of the host, run to its end
unit          what systemd knows of a unit
audit         whether a keeper has a shard, from its audit lines in the journal
certificate   the URIs that a certificate names, without any library
answer        who answers at a port
binary        what a Go program says of itself
service       all of these together: a service of SPIKE, looked at and waited for
entries       SPIRE's entries, as they are and as they should be
spire_server  the commands of SPIRE's server
modules       from an AnsibleModule to these and back

Nothing here needs a library: keepers' hosts have none.
"""

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An embedded SPIKE on loopback, for rehearsal and tests. The product never imports it.

_authority    a throwaway SPIFFE authority
_faults       what can be wrong with a server, as data
_stats        what a server has seen
_port         a TCP port on loopback that listens, refuses or swallows
_acceptor     the one thread that accepts connections and keeps the timers
_connection   one accepted connection, which can be ended from outside
_http         just enough HTTP/1.1
_tls          the server's side of SPIFFE mutual TLS
_misbehave    the bad answers
_server       all of these together: one server and its fault
_roles        which SPIFFE IDs SPIKE's parts have
_keeper       what a keeper answers
_nexus        what Nexus answers, and how it comes by its root key
_cluster      the whole of it: ``Sandbox``
_process      which process is ours, and how it is ended
_description  what a running sandbox tells about itself: a record and an inventory
_daemon       a ``Sandbox`` that outlives the process that started it
"""

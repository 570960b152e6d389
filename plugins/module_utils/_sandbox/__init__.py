# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An embedded SPIKE on loopback, for rehearsal and tests. The product never imports it.

authority     a throwaway SPIFFE authority
faults        what can be wrong with a server, as data
stats         what a server has seen
port          a TCP port on loopback that listens, refuses or swallows
acceptor      the one thread that accepts connections and keeps the timers
connection    one accepted connection, which can be ended from outside
http          just enough HTTP/1.1
tls           the server's side of SPIFFE mutual TLS
misbehave     the bad answers
server        all of these together: one server and its fault
roles         which SPIFFE IDs SPIKE's parts have
keeper        what a keeper answers
nexus         what Nexus answers, and how it comes by its root key
cluster       the whole of it: ``Sandbox``
process       which process is ours, and how it is ended
description   what a running sandbox tells about itself: a record and an inventory
daemon        a ``Sandbox`` that outlives the process that started it
"""

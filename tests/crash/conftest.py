# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts on which runs are killed: those of the functional tests."""

from ansible_collections.dayzero.spike.tests.functional.conftest import host, make_host

__all__ = ["host", "make_host"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``make matrix`` repeats: hosts with a Python of their own, named by the environment."""

from __future__ import annotations

import os

from ansible_collections.dayzero.spike.tests.functional.conftest import host, make_host

# Its own variable is the only sign that a run is one of the matrix.
if "MATRIX_TARGET_PYTHON" not in os.environ:
    collect_ignore_glob = ["test_*.py"]

__all__ = ["host", "make_host"]

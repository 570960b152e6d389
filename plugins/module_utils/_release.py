# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which release of the collection this is, for the record: modules come without galaxy.yml."""

from __future__ import annotations

COLLECTION = "1.0.0"

__all__ = ["COLLECTION"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The paths of SPIKE's API (spike-sdk-go, api/url)."""

from __future__ import annotations

# A keeper's; the rest are those of Nexus.
CONTRIBUTE = "/v1/store/contribute"
VERIFY = "/v1/bootstrap/verify"
RECOVER = "/v1/operator/recover"
RESTORE = "/v1/operator/restore"


__all__ = ["CONTRIBUTE", "RECOVER", "RESTORE", "VERIFY"]

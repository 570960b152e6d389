# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which SPIFFE IDs SPIKE's parts have.

Source: spike-sdk-go, spiffeid: a role is its path, exactly or with more segments behind it.
"""

from __future__ import annotations

RECOVER = "pilot/role/recover"
RESTORE = "pilot/role/restore"


def role_id(trust_domain: str, role: str) -> str:
    """Return the SPIFFE ID of ``role``, which is what follows ``/spike/`` in its path."""
    return f"spiffe://{trust_domain}/spike/{role}"


def has_role(peer: str | None, trust_domain: str, role: str) -> bool:
    expected = role_id(trust_domain, role)
    return peer is not None and (peer == expected or peer.startswith(f"{expected}/"))


__all__ = ["RECOVER", "RESTORE", "has_role", "role_id"]

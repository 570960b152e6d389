# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A failure whose words are all that is shown."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail


class InOneLine(AnsibleActionFail):  # type: ignore[misc]
    """A failure that is shown once, without the place of a task that only says it."""

    omit_exception_key = True


__all__ = ["InOneLine"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options as Ansible hands them to a module, with the defaults of those that are not given."""

from __future__ import annotations

from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    bootstrap_arguments,
    info_arguments,
)


def options(**given: Any) -> dict[str, Any]:
    """Every option of every module: as given, else its default, else None."""
    arguments = {**info_arguments(), **bootstrap_arguments()}
    assert set(given) <= set(arguments), set(given) - set(arguments)
    return {name: entry.get("default") for name, entry in arguments.items()} | given


__all__ = ["options"]

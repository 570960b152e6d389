# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain lines in Ansible's output, outside of any result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible import constants
from ansible.utils.display import Display

# Callbacks that print what a program reads; lines would be in its way.
_FOR_PROGRAMS = ("json", "jsonl", "xml", "junit")


def shower(task_vars: Mapping[str, Any]) -> Callable[[Iterable[str]], None]:
    """What shows lines of the task with these variables; each names its host where several are."""
    display = Display()
    hosts = task_vars.get("ansible_play_hosts_all") or ()
    prefix = f"{task_vars.get('inventory_hostname')}: " if len(hosts) > 1 else ""
    callback = str(constants.DEFAULT_STDOUT_CALLBACK).rpartition(".")[2]
    to_stderr = callback in _FOR_PROGRAMS

    def show(lines: Iterable[str]) -> None:
        for line in lines:
            display.display(f"{prefix}{line}", stderr=to_stderr)

    return show


__all__ = ["shower"]

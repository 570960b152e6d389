# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The libraries that a run needs on its host, looked for before anything imports them."""

from __future__ import annotations

import importlib
import re
import sys

from ansible_collections.dayzero.spike.plugins.module_utils._errors import LibraryMissing

# The oldest that are tested: those of Ubuntu 22.04. RHEL 9 has the same or newer ones.
_OLDEST = {"cryptography": "3.4.8", "requests": "2.25.1"}


def check_libraries() -> None:
    """Raise LibraryMissing where a library is missing, broken, or older than what is tested."""
    for name, oldest in _OLDEST.items():
        problem = _problem(name, oldest)
        if problem:
            raise LibraryMissing(
                f"{name} {oldest} or newer is needed by the Python {sys.executable}, and {problem}."
                f" Install it (package python3-{name}, or pip install {name}), or set"
                " ansible_python_interpreter to a Python that has it."
            )


def _problem(name: str, oldest: str) -> str:
    try:
        library = importlib.import_module(name)
    except ModuleNotFoundError as error:
        return "it is not installed" if error.name == name else f"{error.name}, of it, is missing"
    except Exception as error:
        # A shared object of another system, for example; nothing secret is in memory yet.
        return f"it cannot be loaded ({type(error).__name__}: {error})"
    found = str(getattr(library, "__version__", ""))
    if _numbers(found) < _numbers(oldest):
        return f"version {found or 'unknown'} is installed at {library.__file__}"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


__all__ = ["check_libraries"]

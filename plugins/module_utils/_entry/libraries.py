# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The libraries that a run needs on its host, looked for before anything imports them."""

from __future__ import annotations

import importlib
import re
import sys

from .._errors import (
    RERUN,
    Advice,
    LibraryMissing,
)

# The oldest that are tested: those of Ubuntu 22.04. RHEL 9 has the same or newer ones.
_OLDEST = {"cryptography": "3.4.8", "requests": "2.25.1"}


def check_libraries(*names: str) -> None:
    """Raise LibraryMissing where one is missing, broken, or older than what is tested.

    ``names`` are those that are needed: by default all that a run needs.
    """
    for name in names or _OLDEST:
        oldest = _OLDEST[name]
        problem = _problem(name, oldest)
        if problem:
            raise LibraryMissing(
                Advice(
                    f"{name} {oldest} or newer is needed by the Python {sys.executable}, and"
                    f" {problem}.",
                    ("This Python is another one than the library was installed for.",),
                    (
                        f"Install it for {sys.executable} (package python3-{name}, or pip install"
                        f" {name}), or set ansible_python_interpreter to a Python that has it.",
                        RERUN,
                    ),
                )
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

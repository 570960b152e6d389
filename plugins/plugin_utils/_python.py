# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a module that ended without a result had a Python that it can run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_OLDEST = (3, 9)
_ASK = "import sys; print(sys.executable); print(*sys.version_info[:3])"


def too_old(run: Callable[[str], tuple[int, Sequence[str]]]) -> str:
    """What is wrong with the target's Python, empty where nothing is known to be.

    ``run`` runs a program there, given as text, and returns its exit status and its lines; it
    raises what a connection does.
    """
    try:
        status, lines = run(_ASK)
        path, version = lines[-2:]
        found = tuple(int(number) for number in version.split())
    except Exception:
        # Then the module's own end is all that is known.
        return ""
    if status or found >= _OLDEST:
        return ""
    oldest, given = (".".join(map(str, numbers)) for numbers in (_OLDEST, found))
    return (
        f"The Python of the target, {path}, is {given}, and dayzero.spike needs {oldest} or newer."
        " Set ansible_python_interpreter to one. Nothing was sent."
    )


__all__ = ["too_old"]

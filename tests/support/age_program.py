# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ``age`` program of a custodian: the machine's own, else Debian's package, unpacked."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

_PLACE = Path(__file__).resolve().parents[2] / "build" / "age"
_SECONDS = 60


def age_directory() -> Path | None:
    """Where ``age`` and ``age-keygen`` are, or None where they cannot be had.

    Debian's package is fetched by apt-get and unpacked below ``build``: nothing is installed.
    """
    found = shutil.which("age")
    if found is not None and shutil.which("age-keygen") is not None:
        return Path(found).parent
    directory = _PLACE / "usr" / "bin"
    if not (directory / "age-keygen").exists():
        _unpack()
    return directory if (directory / "age-keygen").exists() else None


def _unpack() -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return
    _PLACE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="age-", dir=_PLACE.parent) as place:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            subprocess.run(
                ["apt-get", "download", "age"], cwd=place, check=True, timeout=_SECONDS, **quiet
            )
            (package,) = Path(place).glob("age_*.deb")
            unpacked = Path(place) / "unpacked"
            subprocess.run(
                ["dpkg-deb", "--extract", package, unpacked], check=True, timeout=_SECONDS, **quiet
            )
            # In one step: tests may run side by side.
            unpacked.rename(_PLACE)
        except (subprocess.SubprocessError, ValueError, OSError):
            return


__all__ = ["age_directory"]

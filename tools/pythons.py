# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python interpreters by their version, and virtual environments made of them.

``python pythons.py DIRECTORY`` makes a link ``python3.x`` there for each interpreter that is found.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# What the modules run on, oldest first.
TARGETS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

# A shim of pyenv is there for versions that are not, and Debian's Python may be without its venv.
_ASKED = (
    "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2],"
    " getattr(sys, '_base_executable', sys.executable))"
)
# What pip prints where the index cannot be reached, apart from where it has not got a release.
_UNREACHED = re.compile(r"connection broken by|NewConnectionError|Name or service not known")


class Missing(Exception):
    """What a command needs and this machine has not got: the reason for which it is skipped."""


@functools.cache
def find(version: str) -> str | None:
    """The path of a Python ``version`` that can make virtual environments, if there is one."""
    for candidate in _candidates(version):
        try:
            done = subprocess.run(
                [candidate, "-c", _ASKED], capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        found, _space, path = done.stdout.strip().partition(" ")
        if done.returncode == 0 and found == version:
            return path
    return None


def _candidates(version: str) -> Iterator[str]:
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        yield sys.executable
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    uv = Path.home() / ".local" / "share" / "uv" / "python"
    for directory in (pyenv / "versions", uv):
        found = [path / "bin" / "python3" for path in directory.glob(f"*{version}[.-]*")]
        yield from (str(path) for path in sorted(found, reverse=True))


def link_all(directory: Path) -> dict[str, str]:
    """Make ``directory`` hold a link for each target's Python; the interpreters by version."""
    directory.mkdir(parents=True, exist_ok=True)
    found = {version: path for version in TARGETS if (path := find(version))}
    for version, path in found.items():
        link = directory / f"python{version}"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return found


def environment(directory: Path, versions: Sequence[str], requirements: Sequence[str]) -> Path:
    """The ``bin`` of a virtual environment of the first of ``versions`` that is here.

    It is made once for the same ``requirements``, which are arguments for pip. Raises Missing where
    there is no such Python, or the package index cannot be reached.
    """
    version = next((version for version in versions if find(version)), None)
    if version is None:
        raise Missing(f"no Python {' or '.join(versions)}")
    made_of = hashlib.sha256(repr((version, list(requirements))).encode()).hexdigest()
    mark = directory / "made-of"
    if not (mark.exists() and mark.read_text() == made_of):
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([str(find(version)), "-m", "venv", str(directory)], check=True)
        pip_install(directory / "bin", *requirements)
        mark.write_text(made_of)
    return directory / "bin"


def pip_install(binaries: Path, *requirements: str) -> None:
    """Install with the pip of that environment. Raises Missing where the index is out of reach."""
    command = [str(binaries / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    done = subprocess.run(
        [*command, "--quiet", *requirements], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return
    if unreached(done.stderr):
        raise Missing("the package index cannot be reached")
    sys.exit(f"pip install {' '.join(requirements)}: {done.stderr}")


def unreached(output: str) -> bool:
    """Whether a failure of pip is one of the network."""
    return _UNREACHED.search(output) is not None


def main() -> None:
    """Make the links, and say which are there."""
    found = link_all(Path(sys.argv[1]))
    for version in TARGETS:
        print(f"Python {version}: {found.get(version, 'not found')}")


if __name__ == "__main__":
    main()

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supported versions, each tried: ``make matrix``, or ``nox --session`` for one of them.

``core`` has the controller's ansible-core, ``target`` the Python and the libraries of the host on
which the module runs. What is not here is skipped with its reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nox

_ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(_ROOT / "tools"))
from pythons import TARGETS, Missing, find, pip_install  # noqa: E402

# An interpreter's own venv still supports it when virtualenv does no more.
nox.options.default_venv_backend = "none"

_CONTROLLERS = ("3.13", "3.12", "3.11", "3.14")
# The pinned releases, and whatever pip finds, which may be a preview of the next one.
CORES = {
    "2.19": ["ansible-core==2.19.*"],
    "2.20": ["ansible-core==2.20.*"],
    "2.21": ["ansible-core==2.21.*"],
    "newest": ["--pre", "ansible-core"],
}
_CORE_LIBRARIES = ["requests", "cryptography", "spiffe", "pytest>=9,<10"]
LIBRARIES = {
    "oldest": ["cryptography==3.4.8", "requests==2.25.1", "urllib3==1.26.5"],
    # With the cryptography that it asks for. The releases before it lack one of their libraries.
    "oldest spiffe": ["spiffe==0.1.5", "requests==2.25.1", "urllib3==1.26.5"],
    "newest": ["cryptography", "requests", "urllib3", "spiffe"],
}
_SHOWN = ("ansible-core", "cryptography", "requests", "urllib3", "spiffe")


@nox.session
@nox.parametrize("version", list(CORES), ids=list(CORES))
def core(session: nox.Session, version: str) -> None:
    """The playbooks and the archive, by one ansible-core."""
    oldest = {"2.19": "3.11", "newest": "3.13"}.get(version, "3.12")
    minor = int(oldest.partition(".")[2])
    fitting = [python for python in _CONTROLLERS if int(python.partition(".")[2]) >= minor]
    python = next((python for python in fitting if find(python)), None)
    if python is None:
        session.skip(f"no Python {' or '.join(fitting)}: uv python install {fitting[0]}")
    binaries = _environment(session, python, [*CORES[version], *_CORE_LIBRARIES])
    _test(
        session,
        binaries,
        str(binaries / "python"),
        "tests/matrix",
        "tests/functional/test_day_zero.py",
        "tests/functional/test_archive.py",
    )


@nox.session
@nox.parametrize("libraries", list(LIBRARIES), ids=list(LIBRARIES))
@nox.parametrize("python", list(TARGETS), ids=list(TARGETS))
def target(session: nox.Session, python: str, libraries: str) -> None:
    """The module, by one Python and its libraries."""
    if find(python) is None:
        session.skip(f"no Python {python}: uv python install {python}")
    binaries = _environment(session, python, LIBRARIES[libraries])
    # The tests and Ansible run where nox does.
    _test(session, Path(sys.executable).parent, str(binaries / "python"), "tests/matrix")


def _environment(session: nox.Session, python: str, requirements: list[str]) -> Path:
    name = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in session.name)
    directory = _ROOT / "build" / "matrix" / name
    session.run(str(find(python)), "-m", "venv", "--clear", str(directory), external=True)
    try:
        pip_install(directory / "bin", *requirements)
    except Missing as missing:
        session.skip(str(missing))
    listed = subprocess.run(
        [str(directory / "bin" / "python"), "-m", "pip", "list", "--format=freeze"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    installed = dict(line.split("==") for line in listed.stdout.splitlines() if "==" in line)
    shown = [f"{library} {installed[library]}" for library in _SHOWN if library in installed]
    # For the table.
    (directory / "versions").write_text(", ".join([f"Python {python}", *shown]))
    return directory / "bin"


def _test(session: nox.Session, binaries: Path, target: str, *paths: str) -> None:
    session.run(
        str(binaries / "python"),
        *("-m", "pytest", "--quiet", "--tb=short", *paths),
        external=True,
        env={
            "MATRIX_TARGET_PYTHON": target,
            "PATH": os.pathsep.join([str(binaries), os.environ["PATH"]]),
        },
    )

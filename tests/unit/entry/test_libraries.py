# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host without the right libraries is told, instead of a traceback."""

from __future__ import annotations

import subprocess
import sys
import types
import venv
from pathlib import Path

import ansible
import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._entry.libraries import check_libraries
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    RERUN,
    LibraryMissing,
)

MODULES = ["spike_bootstrap", "spike_bootstrap_info"]


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, version: str) -> None:
    library = types.ModuleType(name)
    library.__version__ = version  # type: ignore[attr-defined]
    library.__file__ = f"/lib/{name}.py"
    monkeypatch.setitem(sys.modules, name, library)


def test_the_libraries_of_these_tests_will_do() -> None:
    check_libraries()


def test_the_oldest_supported_libraries_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "cryptography", "3.4.8")
    pretend(monkeypatch, "requests", "2.25.1")
    check_libraries()


@pytest.mark.parametrize(
    ("name", "version"),
    [("cryptography", "3.4.7"), ("cryptography", "3.3"), ("requests", "2.9.2"), ("requests", "")],
)
def test_an_older_library_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch, name: str, version: str
) -> None:
    pretend(monkeypatch, name, version)
    with pytest.raises(LibraryMissing) as refused:
        check_libraries()
    assert f"version {version or 'unknown'} is installed at /lib/{name}.py" in str(refused.value)
    assert sys.executable in str(refused.value)


@pytest.mark.parametrize("name", ["cryptography", "requests"])
def test_a_missing_library_is_named_with_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(LibraryMissing, match=rf"^{name} .* and it is not installed\.$") as missing:
        check_libraries()
    install, rerun = missing.value.advice.what_to_do
    assert f"for {sys.executable} (package python3-{name}, or pip install {name})" in install
    assert rerun == RERUN


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_a_python_without_libraries_gets_a_sentence_and_the_whole_result(
    tmp_path: Path, module: str
) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    # Ansible brings its own code to a host, and no libraries.
    (tmp_path / "ansible").symlink_to(Path(ansible.__file__).parent)
    tree = Path(__file__).resolve().parents[3] / "build" / "tree"
    done = subprocess.run(
        [tmp_path / "bare" / "bin" / "python", "-m", _full_name(module)],
        input='{"ANSIBLE_MODULE_ARGS": {"keeper_peers": ["https://a", "https://b"]}}',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": f"{tmp_path}:{tree}"},
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "cryptography 3.4.8 or newer is needed by the Python" in done.stdout
    assert '"phase": "config"' in done.stdout
    assert '"keepers": [{"id": 1, "url": "https://a", "state": "pending"' in done.stdout


def _full_name(module: str) -> str:
    return f"ansible_collections.dayzero.spike.plugins.modules.{module}"

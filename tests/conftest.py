# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every test stands on: the collection under its own name, and a clean environment."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_TREE = _ROOT / "build" / "tree"


def _link_the_collection() -> None:
    # Python and Ansible find a collection by its place: .../ansible_collections/dayzero/spike.
    link = _TREE / "ansible_collections" / "dayzero" / "spike"
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(_ROOT)
    except FileExistsError:
        # Another worker was first, or an earlier session.
        assert link.resolve() == _ROOT


def _temporary_files_on_disk() -> None:
    # A state_dir in memory is refused, and /tmp is in memory on Debian 13 and Fedora.
    from ansible_collections.dayzero.spike.plugins.module_utils._state.memory_dir import (
        lies_in_memory,
    )

    if lies_in_memory(tempfile.gettempdir()):
        directory = _ROOT / "build" / "tmp"
        directory.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(directory)
        tempfile.tempdir = None


def _clean_environment() -> None:
    for name in list(os.environ):
        # What requests, OpenSSL, SPIKE and SPIFFE take from it would decide what a test shows.
        if name.lower().endswith("_proxy") or name.startswith(("SPIKE_", "SPIFFE_", "ANSIBLE_")):
            del os.environ[name]
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(name, None)
    os.environ.update(
        ANSIBLE_COLLECTIONS_PATH=str(_TREE),
        ANSIBLE_HOME=str(_ROOT / "build" / "ansible"),
        ANSIBLE_LOCALHOST_WARNING="False",
        ANSIBLE_INVENTORY_UNPARSED_WARNING="False",
        ANSIBLE_NOCOLOR="True",
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    )


_link_the_collection()
_clean_environment()
sys.path.insert(0, str(_TREE))
_temporary_files_on_disk()


def pytest_report_header() -> str:
    """The versions that a failure may depend on."""
    import ssl

    import cryptography
    import requests
    import urllib3

    return (
        f"{ssl.OPENSSL_VERSION}; cryptography {cryptography.__version__},"
        f" requests {requests.__version__}, urllib3 {urllib3.__version__}"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the lines that tests hand over with ``record_property("table", line)``."""
    lines = [
        str(value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "table"
    ]
    if lines:
        terminalreporter.section("what the tests measured")
        for line in sorted(lines):
            terminalreporter.write_line(line)

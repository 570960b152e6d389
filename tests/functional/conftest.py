# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts beside sandboxes, for the tests that run the module."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox
from ansible_collections.dayzero.spike.tests.support.directories import memory_directory
from ansible_collections.dayzero.spike.tests.support.module_host import Host


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Makes hosts, each with a sandbox of its own, or with the one that it is given."""
    with contextlib.ExitStack() as resources:
        number = 0

        def make(
            faults: Mapping[Any, Any] | None = None,
            *,
            sandbox: Sandbox | None = None,
            **plan: Any,
        ) -> Host:
            nonlocal number
            number += 1
            directory = tmp_path / f"host{number}"
            directory.mkdir()
            if sandbox is None:
                sandbox = resources.enter_context(
                    Sandbox(directory / "sandbox", faults=faults, **plan)
                )
            runtime_dir = resources.enter_context(memory_directory())
            # The path of a unix socket may have 107 characters, and pytest's own are long.
            temporary = resources.enter_context(tempfile.TemporaryDirectory(prefix="host-"))
            return Host(directory, runtime_dir, Path(temporary), sandbox)

        yield make


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    """A host beside three healthy keepers and a Nexus."""
    return make_host()

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SPIKE's own Go code, for the tests beside this file. Without Go they fail: they never skip."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.tests.interop.go_build import BuildError, build_gospike
from ansible_collections.dayzero.spike.tests.interop.go_spike import GoShamir, GoSpike
from ansible_collections.dayzero.spike.tests.interop.plain_client import PlainClient


@pytest.fixture(scope="session")
def gospike_binary() -> Path:
    """The Go program, built once a session."""
    try:
        return build_gospike()
    except BuildError as error:
        problem = str(error)
    pytest.fail(problem, pytrace=False)


@pytest.fixture(scope="session")
def go_shamir(gospike_binary: Path) -> Iterator[GoShamir]:
    """SPIKE's split and recovery."""
    with GoShamir(gospike_binary) as shamir:
        yield shamir


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority of everybody's trust domain."""
    return Authority("spike.ist")


@pytest.fixture
def start_go_spike(gospike_binary: Path, authority: Authority) -> Iterator[Callable[..., GoSpike]]:
    """Start a SPIKE with the keyword arguments of `GoSpike`; it ends with the test."""
    with contextlib.ExitStack() as running:
        yield lambda **options: running.enter_context(GoSpike(gospike_binary, authority, **options))


@pytest.fixture
def go_spike(start_go_spike: Callable[..., GoSpike]) -> GoSpike:
    """Three keepers, a threshold of two, and a Nexus without a root key."""
    return start_go_spike(keepers=3, threshold=2)


@pytest.fixture(scope="session")
def bootstrap(authority: Authority) -> PlainClient:
    """A client that shows the bootstrap identity."""
    return PlainClient(authority, authority.issue("spiffe://spike.ist/spike/bootstrap"))

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Five real hosts for all tests here: three keepers, and two that bootstrap, of both releases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.hosts.cluster import Cluster, prepare
from ansible_collections.dayzero.spike.tests.hosts.file_system import Missing
from ansible_collections.dayzero.spike.tests.hosts.machines import Site, hosts

SUITES = {
    "keeper1": "bookworm",
    "keeper2": "bookworm",
    "keeper3": "trixie",
    "nexus1": "bookworm",
    "nexus2": "trixie",
}


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    try:
        with hosts(SUITES, prepare) as site:
            yield site
    except Missing as problem:
        pytest.skip(str(problem))


@pytest.fixture
def cluster(site: Site, tmp_path: Path) -> Cluster:
    cluster = Cluster(site, "nexus1", tmp_path)
    cluster.fresh()
    return cluster

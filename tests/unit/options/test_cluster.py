# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Cluster

OTHERS = ("https://keeper2:8443", "https://keeper3:8443")


def cluster(first: str, *others: str) -> Cluster:
    return Cluster((first, *(others or OTHERS)), 2, "circl")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://keeper1", "https://keeper1:443"),
        ("https://keeper1:8443", "https://KEEPER1:8443"),
        ("https://keeper1:8443", "HTTPS://keeper1:8443"),
        ("https://keeper1:8443", "https://keeper1:8443/"),
        ("https://keeper1:8443", "https://keeper1.:8443"),
        ("https://127.0.0.1:8443", "https://127.1:8443"),
        ("https://[::1]:8443", "https://[0:0::1]:8443"),
        ("https://127.0.0.1:8443", "https://[::ffff:127.0.0.1]:8443"),
    ],
)
def test_two_ways_to_write_one_url_make_the_same_cluster(one: str, other: str) -> None:
    assert cluster(one) == cluster(other)
    assert cluster(one).fingerprint() == cluster(other).fingerprint()
    assert hash(cluster(one)) == hash(cluster(other))
    assert cluster(one).changes_since(cluster(other)) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://keeper1:8443", "https://keeper1:8444"),
        ("https://keeper1", "https://keeper1:8443"),
        ("https://keeper1:8443", "https://keeper11:8443"),
        ("https://keeper1:8443", "https://keeper1:8443/other"),
    ],
)
def test_urls_of_another_meaning_make_another_cluster(one: str, other: str) -> None:
    assert cluster(one) != cluster(other)
    assert cluster(one).fingerprint() != cluster(other).fingerprint()
    assert f"keeper 1 is {one}, and was {other}" in cluster(one).changes_since(cluster(other))


def test_another_order_threshold_or_scheme_is_another_cluster() -> None:
    given = cluster("https://keeper1:8443")
    assert given != cluster(*reversed(given.keepers))
    assert given != Cluster(given.keepers, 3, "circl")
    assert given != Cluster(given.keepers, 2, "other")


def test_what_was_edited_into_a_journal_is_equal_to_itself() -> None:
    assert cluster("https://[keeper") == cluster("https://[keeper")
    assert cluster("https://[keeper") != cluster("https://[keeper]")

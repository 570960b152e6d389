# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    BOOTSTRAP_PATH,
    KEEPER_PATH,
    NEXUS_PATH,
    IdRule,
    SpiffeId,
    parse_trust_domain,
)
from hypothesis import given, settings
from hypothesis import strategies as st

SEGMENTS = st.from_regex(r"[a-zA-Z0-9._-]{1,20}", fullmatch=True).filter(
    lambda segment: segment not in (".", "..")
)
DOMAINS = st.from_regex(r"[a-z0-9._-]{1,40}", fullmatch=True)
PATHS = st.lists(SEGMENTS, max_size=5).map(lambda parts: "".join(f"/{part}" for part in parts))
LONGEST_PATH = "/" + "p" * (2048 - len("spiffe://spike.ist/"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "spiffe://spike.ist/spike/keeper",
            SpiffeId("spike.ist", "/spike/keeper"),
            id="a workload",
        ),
        pytest.param("spiffe://spike.ist", SpiffeId("spike.ist", ""), id="a trust domain"),
        pytest.param(
            "spiffe://a-b_c.9/X.y/-_", SpiffeId("a-b_c.9", "/X.y/-_"), id="every kind of character"
        ),
        pytest.param("spiffe://a/.../..b", SpiffeId("a", "/.../..b"), id="dots with something"),
        pytest.param(
            f"spiffe://spike.ist{LONGEST_PATH}",
            SpiffeId("spike.ist", LONGEST_PATH),
            id="2048 bytes",
        ),
        pytest.param(f"spiffe://{'d' * 255}/w", SpiffeId("d" * 255, "/w"), id="the longest domain"),
    ],
)
def test_an_id_is_read_and_written_back(text: str, expected: SpiffeId) -> None:
    assert SpiffeId.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "it does not begin with spiffe://", id="empty"),
        pytest.param("https://spike.ist/x", "it does not begin with spiffe://", id="https"),
        pytest.param("SPIFFE://spike.ist/x", "it does not begin with spiffe://", id="capitals"),
        pytest.param(" spiffe://spike.ist", "it does not begin with spiffe://", id="blank first"),
        pytest.param("spiffe:/spike.ist/x", "it does not begin with spiffe://", id="one slash"),
        pytest.param("spiffe://", "the trust domain is empty", id="no trust domain"),
        pytest.param("spiffe:///x", "the trust domain is empty", id="only a path"),
        pytest.param("spiffe://Spike.ist/x", "a trust domain is made of", id="capital domain"),
        pytest.param("spiffe://spike.ist:8443/x", "a trust domain is made of", id="port"),
        pytest.param("spiffe://me@spike.ist/x", "a trust domain is made of", id="user"),
        pytest.param("spiffe://spike.ist\n", "a trust domain is made of", id="domain newline"),
        pytest.param("spiffe://sp\u00efke.ist/x", "a trust domain is made of", id="not ascii"),
        pytest.param(
            f"spiffe://{'d' * 256}/x", "the trust domain is longer than 255", id="long domain"
        ),
        pytest.param("spiffe://spike.ist/", "the path ends with a slash", id="only a slash"),
        pytest.param("spiffe://spike.ist/x/", "the path ends with a slash", id="trailing slash"),
        pytest.param("spiffe://spike.ist//x", "the path has an empty segment", id="empty segment"),
        pytest.param("spiffe://spike.ist/./x", "the path has a . or .. segment", id="dot"),
        pytest.param("spiffe://spike.ist/x/..", "the path has a . or .. segment", id="dot dot"),
        pytest.param("spiffe://spike.ist/x\n", "a path is made of", id="path newline"),
        pytest.param("spiffe://spike.ist/x?y", "a path is made of", id="query"),
        pytest.param("spiffe://spike.ist/x#y", "a path is made of", id="fragment"),
        pytest.param("spiffe://spike.ist/%41", "a path is made of", id="percent"),
        pytest.param(f"spiffe://spike.ist{LONGEST_PATH}p", "longer than 2048", id="2049 bytes"),
    ],
)
def test_what_is_not_an_id_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        SpiffeId.parse(text)
    assert str(caught.value).startswith(repr(text[:200]))
    assert "\n" not in str(caught.value)


def test_a_very_long_text_is_quoted_in_part() -> None:
    with pytest.raises(ValueError, match=r"'x{200}'\.\.\. is not a SPIFFE ID"):
        SpiffeId.parse("x" * 100_000)


def test_an_invalid_id_cannot_be_made_from_parts() -> None:
    with pytest.raises(ValueError, match="a path begins with a slash"):
        SpiffeId("spike.ist", "spike/keeper")


@settings(deadline=None)
@given(DOMAINS, PATHS)
def test_every_id_that_the_grammar_allows_survives_the_round_trip(domain: str, path: str) -> None:
    assert SpiffeId.parse(f"spiffe://{domain}{path}") == SpiffeId(domain, path)


@settings(deadline=None)
@given(st.text() | st.text(alphabet="spike:/.%A \n", max_size=30).map("spiffe://".__add__))
def test_any_text_is_either_an_id_to_the_letter_or_refused_in_one_line(text: str) -> None:
    refusal = None
    try:
        parsed = SpiffeId.parse(text)
    except ValueError as error:
        refusal = str(error)
    if refusal is None:
        assert str(parsed) == text
        assert re.fullmatch(r"spiffe://[a-z0-9._-]+(/[a-zA-Z0-9._-]+)*", text)
    else:
        assert len(refusal.splitlines()) == 1


@pytest.mark.parametrize("text", ["spike.ist", "spiffe://spike.ist"])
def test_a_trust_domain_is_read_by_name_or_by_id(text: str) -> None:
    assert parse_trust_domain(text) == "spike.ist"


@pytest.mark.parametrize(
    "text", ["", "spiffe://", "Spike.ist", "spike.ist/x", "spike.ist\n", "https://spike.ist", "a b"]
)
def test_what_is_not_a_trust_domain_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="is not a trust domain") as caught:
        parse_trust_domain(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "admitted"),
    [
        pytest.param("spiffe://spike.ist/spike/keeper", True, id="the path"),
        pytest.param("spiffe://spike.ist/spike/keeper/1/b", True, id="below it"),
        pytest.param("spiffe://other.org/spike/keeper", True, id="the other domain"),
        pytest.param("spiffe://third.org/spike/keeper", False, id="a third domain"),
        pytest.param("spiffe://spike.ist/spike/keeper2", False, id="the same beginning"),
        pytest.param("spiffe://spike.ist/spike", False, id="above it"),
        pytest.param("spiffe://spike.ist/x/spike/keeper", False, id="inside another path"),
        pytest.param("spiffe://spike.ist/Spike/keeper", False, id="other case"),
        pytest.param("spiffe://spike.ist", False, id="the trust domain alone"),
        pytest.param("spiffe://sub.spike.ist/spike/keeper", False, id="a longer domain"),
    ],
)
def test_a_rule_admits_its_path_and_what_is_below_in_its_domains(text: str, admitted: bool) -> None:
    rule = IdRule(KEEPER_PATH, ("spike.ist", "other.org"))
    assert rule.admits(SpiffeId.parse(text)) is admitted


def test_a_rule_reads_as_the_ids_that_it_expects() -> None:
    assert str(IdRule(NEXUS_PATH, ("a.org",))) == "spiffe://a.org/spike/nexus"
    assert str(IdRule(BOOTSTRAP_PATH, ("a.org", "b.org"))) == (
        "spiffe://a.org/spike/bootstrap or spiffe://b.org/spike/bootstrap"
    )

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SPIRE's entries are compared, and brought to what is wanted."""

from __future__ import annotations

from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._hosts.entries import (
    Act,
    Existing,
    Plan,
    Wanted,
    plan,
    read,
    withdrawal,
)

KEEPER = "spiffe://example.org/spike/keeper"
AGENT = "spiffe://example.org/spire/agent/k1"
PREFIX = "dayzero-spike"
USER = "unix:user:spike-keeper"


def wanted(*selectors: str, **changes: Any) -> Wanted:
    return Wanted(KEEPER, AGENT, frozenset(selectors or (USER,)), **changes)


def existing(entry_id: str, *selectors: str, **changes: Any) -> Existing:
    options = {"x509_svid_ttl": 0, "jwt_svid_ttl": 0, **changes}
    return Existing(entry_id, KEEPER, AGENT, frozenset(selectors or (USER,)), **options)


def planned(want: list[Wanted], have: list[Existing], *, retire: bool = False) -> Plan:
    return plan(want, have, PREFIX, retire=retire)


def acts(made: Plan) -> list[Act]:
    return [step.act for step in made.steps]


def test_what_is_missing_is_created_with_an_id_that_says_who_made_it() -> None:
    made = planned([wanted()], [])
    assert acts(made) == [Act.CREATE]
    assert made.steps[0].after is not None
    assert made.steps[0].after.entry_id.startswith("dayzero-spike-")


def test_what_is_as_wanted_is_left() -> None:
    first = planned([wanted()], [])
    created = first.steps[0].after
    assert created is not None
    again = planned([wanted()], [created])
    assert acts(again) == [Act.NOTHING]
    assert again.superseded == ()


def test_an_entry_of_somebody_else_with_the_same_selectors_is_the_wanted_one() -> None:
    made = planned([wanted()], [existing("theirs", x509_svid_ttl=60)])
    assert acts(made) == [Act.NOTHING]
    assert made.others == ()


def test_a_ttl_is_changed_where_it_is_wanted_and_all_else_is_kept() -> None:
    rest = {"federates_with": ["other.org"], "admin": True}
    theirs = existing("theirs", x509_svid_ttl=60, rest=rest)
    made = planned([wanted(x509_svid_ttl=3600)], [theirs])
    assert acts(made) == [Act.UPDATE]
    after = made.steps[0].after
    assert after is not None
    assert (after.entry_id, after.x509_svid_ttl, after.rest) == ("theirs", 3600, rest)


def test_a_new_binary_gets_a_new_entry_and_the_old_one_stays_until_it_is_retired() -> None:
    old = wanted(USER, "unix:sha256:aa")
    new = wanted(USER, "unix:sha256:bb")
    have = [existing(old.entry_id(PREFIX), *old.selectors)]
    made = planned([new], have)
    assert acts(made) == [Act.CREATE]
    assert list(made.superseded) == have
    retired = planned([new], have, retire=True)
    assert acts(retired) == [Act.CREATE, Act.DELETE]
    assert retired.steps[1].before == have[0]


def test_what_somebody_else_made_is_never_deleted_and_is_told_of() -> None:
    theirs = existing("theirs", "unix:uid:0")
    made = planned([wanted()], [theirs], retire=True)
    assert Act.DELETE not in acts(made)
    assert made.others == (theirs,)


def test_entries_of_other_agents_are_none_of_ours() -> None:
    elsewhere = Existing(
        f"{PREFIX}-0", KEEPER, "spiffe://example.org/spire/agent/k9", frozenset([USER]), 0, 0
    )
    made = planned([wanted()], [elsewhere], retire=True)
    assert acts(made) == [Act.CREATE]
    assert made.superseded == made.others == ()


def test_an_entry_of_ours_that_somebody_changed_is_brought_back() -> None:
    changed = existing(wanted().entry_id(PREFIX), "unix:uid:0")
    made = planned([wanted()], [changed])
    assert acts(made) == [Act.UPDATE]


def test_the_same_entry_twice_is_one() -> None:
    assert acts(planned([wanted(), wanted()], [])) == [Act.CREATE]


def test_what_spire_prints_is_understood() -> None:
    shown = {
        "entries": [
            {
                "id": "e1",
                "spiffe_id": {"trust_domain": "example.org", "path": "/spike/keeper"},
                "parent_id": {"trust_domain": "example.org", "path": "/spire/agent/k1"},
                "selectors": [{"type": "unix", "value": "user:spike-keeper"}],
                "x509_svid_ttl": 3600,
                "jwt_svid_ttl": 0,
                "federates_with": [],
                "hint": "",
                "admin": False,
                "downstream": False,
                "expires_at": "0",
                "dns_names": [],
                "revision_number": "0",
                "store_svid": False,
            }
        ],
        "next_page_token": "",
    }
    (entry,) = read(shown)
    assert (entry.spiffe_id, entry.parent_id) == (KEEPER, AGENT)
    assert entry.selectors == {USER}
    assert entry.x509_svid_ttl == 3600
    assert read({}) == []


# -- for a while


def test_an_entry_for_a_while_says_when_it_ends_and_is_prolonged() -> None:
    made = planned([wanted(expires_at=1000)], [])
    created = made.steps[0].after
    assert created is not None
    assert created.rest["expires_at"] == 1000
    again = planned([wanted(expires_at=2000)], [created])
    assert acts(again) == [Act.UPDATE]
    assert again.steps[0].after is not None
    assert again.steps[0].after.rest["expires_at"] == 2000


def test_an_entry_of_somebody_else_never_gets_an_end() -> None:
    made = planned([wanted(expires_at=1000)], [existing("theirs")])
    assert acts(made) == [Act.NOTHING]


def test_what_was_made_here_goes_and_nothing_else() -> None:
    ours = wanted().entry_id(PREFIX)
    for_now = wanted().entry_id("for-now")
    have = [existing(ours), existing(for_now), existing("theirs"), existing(f"{PREFIX}-other")]
    gone = withdrawal([wanted()], have, "for-now")
    assert [(step.act, step.before and step.before.entry_id) for step in gone.steps] == [
        (Act.DELETE, for_now)
    ]
    assert (gone.superseded, gone.others) == ((), ())
    assert withdrawal([wanted()], [existing("theirs")], "for-now").steps == ()

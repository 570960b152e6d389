# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster that has lost everything gets its key back, and never a wrong one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.support.emergency import lines_of, restore
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.unit.sandbox.sandbox_client import (
    RESTORE,
    SandboxClient,
)

pytestmark = pytest.mark.slow

FOREIGN = bytes([7] * 32)


@pytest.fixture
def day_zero(make_host: Callable[..., Host]) -> Callable[..., tuple[Host, dict[int, str]]]:
    """Makes a host whose cluster was bootstrapped and then lost, and the custodians' lines."""

    def make(threshold: int = 2, keepers: int = 3, **plan: Any) -> tuple[Host, dict[int, str]]:
        host = make_host(threshold=threshold, keepers=keepers, **plan)
        assert host.run().result["changed"]
        lines = lines_of(host.root_key(*range(1, threshold + 1)), host.sandbox)
        lose_everything(host)
        return host, lines

    return make


def lose_everything(host: Host) -> None:
    for keeper in host.sandbox.keepers:
        keeper.restart()
    host.sandbox.nexus.restart()


def untouched(host: Host) -> bool:
    return host.sandbox.nexus.stats.restore_requests == 0


def refused(result: dict[str, Any], code: str) -> None:
    assert result["failed"]
    assert (result["code"], result["changed"], result["sent"]) == (code, False, [])
    assert result["what_to_do"][-1].endswith("erun spike_restore.")


@pytest.mark.parametrize(("threshold", "keepers"), [(2, 3), (3, 5), (5, 5)])
def test_the_right_shards_restore_and_nexus_proves_the_key(
    day_zero: Any, threshold: int, keepers: int
) -> None:
    host, lines = day_zero(threshold, keepers)
    checked = restore(host, [*lines.values()][-threshold:], check=True)
    assert (checked["changed"], checked["phase"], checked["sent"]) == (True, "done", [])
    assert untouched(host)

    result = restore(host, [*lines.values()][-threshold:])
    assert "msg" not in result, result
    assert (result["changed"], result["restored"], result["proved"]) == (True, True, True)
    assert (result["collected"], result["remaining"]) == (threshold, 0)
    assert (result["scheme"], result["token_opened"]) == (host.sandbox.scheme, True)
    assert result["nexus"]["state"] == "ready"
    assert not host.sandbox.nexus.data_unreadable
    # The keepers have their shards back, from Nexus itself.
    assert all(keeper.wait_for_shard() for keeper in host.sandbox.keepers)
    assert len(host.shards()) == keepers
    again = restore(host, [*lines.values()][:threshold])
    assert (again["code"], again["sent"]) == ("state_already_initialized", [])
    assert "would replace it, so nothing was sent" in again["msg"]


def test_the_older_scheme_is_told_by_the_shards(day_zero: Any) -> None:
    host, lines = day_zero(scheme="circl-1.6.1")
    result = restore(host, [lines[1], lines[3]], share_scheme=None)
    assert (result["scheme"], result["proved"]) == ("circl-1.6.1", True)


# -- every mistake is refused before anything is sent


def digit(line: str, place: int) -> str:
    digits = list(line)
    digits[place] = "%x" % (int(digits[place], 16) ^ 1)
    return "".join(digits)


def mistakes(lines: dict[int, str], foreign: dict[int, str], t: int) -> dict[str, Sequence[str]]:
    first = [lines[i] for i in range(1, t + 1)]
    one, two = first[0].split(":"), first[1].split(":")
    swapped = [f"spike:2:{one[2]}", f"spike:1:{two[2]}", *first[2:]]
    return {
        "wrong digit": [digit(first[0], -1), *first[1:]],
        "another wrong digit": [*first[:-1], digit(first[-1], 10)],
        "swapped indices": swapped,
        "wrong index": [f"spike:{t + 1}:{one[2]}", *first[1:]],
        "index of no keeper": [f"spike:99:{one[2]}", *first[1:]],
        "index 0": [f"spike:0:{one[2]}", *first[1:]],
        "short": [first[0][:-1], *first[1:]],
        "short by a byte": [first[0][:-2], *first[1:]],
        "long": [first[0] + "00", *first[1:]],
        "zero": ["spike:1:" + "0" * 64, *first[1:]],
        "foreign": [foreign[1], *first[1:]],
        "duplicate": [first[0], *first[:-1]],
        "missing": first[:-1],
        "none": [],
    }


@pytest.mark.parametrize("journal", [True, False], ids=["journal", "no journal"])
@pytest.mark.parametrize(
    ("threshold", "keepers"),
    [
        (2, 3),
        pytest.param(3, 4, marks=pytest.mark.long),
        pytest.param(5, 6, marks=pytest.mark.long),
    ],
)
def test_every_mistake_is_refused_before_anything_is_sent(
    day_zero: Any, threshold: int, keepers: int, journal: bool
) -> None:
    host, lines = day_zero(threshold, keepers)
    changes = {} if journal else {"state_dir": str(host.directory / "elsewhere")}
    foreign = lines_of(FOREIGN, host.sandbox)
    for name, given in mistakes(lines, foreign, threshold).items():
        result = restore(host, given, unchecked=True, **changes)
        assert result.get("failed"), name
        assert (result["changed"], result["sent"]) == (False, []), name
        assert "othing was sent" in result["msg"] or name == "none", (name, result["msg"])
        assert untouched(host), name
        assert not any(line[-20:] in str(result) for line in given), name


def test_a_whole_set_of_another_cluster_does_not_open_the_token(day_zero: Any) -> None:
    host, _lines = day_zero()
    foreign = lines_of(FOREIGN, host.sandbox)
    for given in ([foreign[1], foreign[2]], list(foreign.values())):
        result = restore(host, given, unchecked=True)
        refused(result, "crypto_cipher_verification_failed")
        assert "not the one that the journal" in result["msg"]
        assert result["token_opened"] is False
        assert untouched(host)


def test_one_wrong_among_more_than_the_threshold_is_named(day_zero: Any) -> None:
    host, lines = day_zero(2, 4)
    lines[3] = digit(lines[3], -5)
    result = restore(host, list(lines.values()))
    refused(result, "shamir_reconstruction_failed")
    assert result["why"][0] == "Shard 3 is the one that does not fit the others."
    assert untouched(host)


def test_without_a_journal_just_enough_is_refused_unless_unchecked(day_zero: Any) -> None:
    host, lines = day_zero()
    elsewhere = {"state_dir": str(host.directory / "elsewhere")}
    given = [lines[2], lines[3]]
    result = restore(host, given, **elsewhere)
    refused_there = (result["code"], result["sent"], untouched(host))
    assert refused_there == ("shamir_unchecked", [], True)
    assert "set unchecked to true" in result["what_to_do"][-1]

    result = restore(host, given, unchecked=True, **elsewhere)
    assert (result["restored"], result["proved"], result["token_opened"]) == (True, False, None)
    assert "Take it for live on a wrong key" in str(result["warnings"])
    assert any("stop Nexus now" in step for step in result["what_to_do"])


def test_a_foreign_set_that_nothing_could_check_is_told_for_live_on_a_wrong_key(
    day_zero: Any,
) -> None:
    # What unchecked gives up: the shards are right by themselves, and not of this cluster.
    host, lines = day_zero()
    foreign = lines_of(FOREIGN, host.sandbox)
    result = restore(
        host,
        [foreign[1], foreign[2]],
        unchecked=True,
        state_dir=str(host.directory / "elsewhere"),
    )
    assert (result["restored"], result["proved"]) == (True, False)
    assert host.sandbox.nexus.data_unreadable
    assert "Take it for live on a wrong key" in str(result["warnings"])
    # What it says to do leads back.
    host.sandbox.nexus.stop()
    for keeper in host.sandbox.keepers:
        keeper.restart()
    host.sandbox.nexus.start()
    assert restore(host, [lines[1], lines[2]])["proved"]


def test_without_a_journal_one_more_than_enough_will_do(day_zero: Any) -> None:
    host, lines = day_zero()
    result = restore(host, list(lines.values()), state_dir=str(host.directory / "elsewhere"))
    assert (result["restored"], result["sent"]) == (True, [1, 2])


def test_without_the_bootstraps_identity_the_result_says_what_to_do(day_zero: Any) -> None:
    host, lines = day_zero()
    result = restore(host, [lines[1], lines[2]], proof=False)
    assert (result["restored"], result["proved"], result["token_opened"]) == (True, False, True)
    assert "spike_bootstrap_info" in result["what_to_do"][0]
    assert "nothing has proved its key" in str(result["warnings"])


# -- Nexus


def test_a_live_nexus_is_left_alone(make_host: Callable[..., Host]) -> None:
    host = make_host()
    assert host.run().result["changed"]
    lines = lines_of(host.root_key(1, 2), host.sandbox)
    result = restore(host, [lines[1], lines[2]])
    refused(result, "state_already_initialized")
    assert result["nexus"]["state"] == "ready"
    assert untouched(host)


def test_a_nexus_that_does_not_answer_is_not_taken_for_one_without_a_key(day_zero: Any) -> None:
    host, lines = day_zero()
    host.sandbox.nexus.stop()
    result = restore(host, [lines[1], lines[2]])
    refused(result, "nexus_unclear")
    assert "does not say that it has no root key" in result["msg"]
    assert untouched(host)


def test_another_identity_is_refused_by_name(day_zero: Any) -> None:
    host, lines = day_zero()
    sandbox = host.sandbox
    result = restore(
        host, [lines[1], lines[2]], svid_cert=str(sandbox.svid_cert), svid_key=str(sandbox.svid_key)
    )
    assert (result["phase"], result["option"]) == ("identity", "svid_cert")
    assert (
        "expected the restore identity spiffe://spike.ist/spike/pilot/role/restore"
        in (result["msg"])
    )
    assert "give the files of the restore SVID, or correct trust_root_pilot" in result["msg"]


def test_a_shard_that_nexus_had_before_makes_a_wrong_key_and_the_result_says_so(
    day_zero: Any,
) -> None:
    host, lines = day_zero()
    nexus = host.sandbox.nexus
    given_before(host, 3, bytes([9] * 32))
    result = restore(host, [lines[1], lines[2]])
    assert (result["failed"], result["restored"], result["proved"]) == (True, True, False)
    assert (result["phase"], result["code"]) == ("verify", "crypto_cipher_verification_failed")
    assert "is live on a wrong key" in result["msg"]
    assert result["what_to_do"][0].startswith("Stop Nexus now, before it writes")
    # The steps, to the letter.
    nexus.stop()
    for keeper in host.sandbox.keepers:
        keeper.restart()
    nexus.start()
    assert restore(host, [lines[1], lines[2]])["proved"]


def test_without_a_proof_such_a_mixture_is_a_failure_too(day_zero: Any) -> None:
    host, lines = day_zero()
    given_before(host, 3, bytes([9] * 32))
    result = restore(host, [lines[1], lines[2]], proof=False)
    assert (result["failed"], result["restored"]) == (True, True)
    assert "is live on a wrong key" in result["msg"]


def test_with_a_larger_threshold_a_shard_of_before_is_noticed_in_time(day_zero: Any) -> None:
    host, lines = day_zero(3, 5)
    given_before(host, 5, bytes([9] * 32))
    result = restore(host, [lines[1], lines[2], lines[3]])
    assert (result["failed"], result["restored"], result["sent"]) == (True, False, [1])
    assert "has 2 shards after shard 1 was sent, instead of 1 shard" in result["msg"]
    host.sandbox.nexus.restart()
    assert restore(host, [lines[1], lines[2], lines[3]])["proved"]


def given_before(host: Host, index: int, shard: bytes) -> None:
    """Somebody gives Nexus a shard with a plain client, of which the module knows nothing."""
    svid = host.sandbox.authority.issue("spiffe://spike.ist/spike/pilot/role/restore")
    body = {"id": index, "shard": list(shard)}
    status, _unused = SandboxClient(host.sandbox, svid).post(host.sandbox.nexus.url, body, RESTORE)
    assert status == 200


def test_the_wrong_key_case_is_possible_with_a_plain_client_alone(day_zero: Any) -> None:
    host, lines = day_zero()
    shards = {i: bytes.fromhex(line.split(":")[2]) for i, line in lines.items()}
    wrong = [lines[1], f"spike:3:{shards[2].hex()}"]
    result = restore(host, wrong)
    refused(result, "shamir_reconstruction_failed")
    assert untouched(host)
    given_before(host, 1, shards[1])
    given_before(host, 3, shards[2])
    assert host.sandbox.nexus.wait_initialised()
    assert host.sandbox.nexus.data_unreadable


# -- one custodian after the other


def test_custodians_come_one_by_one(day_zero: Any) -> None:
    host, lines = day_zero(3, 5)
    for count, index in enumerate((4, 2, 5), 1):
        result = restore(host, [lines[index]], complete=False)
        assert "msg" not in result, result
        assert (result["collected"], result["remaining"]) == (count, 3 - count)
        assert result["restored"] == (count == 3)
    assert result["proved"]
    assert [path.name for path in host.runtime_dir.iterdir()] == []


def test_an_index_that_was_given_already_is_told(day_zero: Any) -> None:
    host, lines = day_zero()
    restore(host, [lines[1]], complete=False)
    result = restore(host, [lines[1]], complete=False)
    assert (result["failed"], result["collected"]) == (True, 1)
    assert "has 1 shard after shard 1 was sent, instead of 2 shards" in result["msg"]
    assert restore(host, [lines[2]], complete=False)["proved"]


def test_a_wrong_part_is_found_by_the_proof(day_zero: Any) -> None:
    host, lines = day_zero()
    restore(host, [lines[1]], complete=False)
    result = restore(host, [digit(lines[2], -1)], complete=False)
    assert (result["failed"], result["restored"], result["proved"]) == (True, True, False)
    assert "is live on a wrong key" in result["msg"]
    assert result["what_to_do"][0].startswith("Stop Nexus now")


def test_parts_that_are_a_whole_set_are_to_be_checked_as_one(day_zero: Any) -> None:
    host, lines = day_zero()
    result = restore(host, [lines[1], lines[2]], complete=False)
    assert (result["option"], result["sent"]) == ("shards", [])
    assert "set complete to true" in result["msg"]

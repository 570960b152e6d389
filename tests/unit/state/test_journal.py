# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import copy
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    RERUN,
    StateUnusable,
)
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import RootKey, Token
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Cluster
from ansible_collections.dayzero.spike.plugins.module_utils._release import COLLECTION
from ansible_collections.dayzero.spike.plugins.module_utils._state.journal import (
    NAME,
    VERSION,
    Journal,
    Record,
    Run,
)
from ansible_collections.dayzero.spike.tests.support.directories import Crash, Steps, opened
from hypothesis import given, settings
from hypothesis import strategies as st

CLUSTER = Cluster(("https://keeper1:8443", "https://keeper2:8443"), 2, "circl-1.6.2")
TOKEN = Token(bytes(range(12)), bytes(range(80)), "ab" * 32)
RECORD = Record(CLUSTER, TOKEN, frozenset({2}))
BEGAN = datetime(2026, 7, 1, 12, 30, tzinfo=timezone.utc)
NOW = BEGAN + timedelta(hours=1, seconds=1)
RUN = Run(BEGAN, "host1")
DOCUMENT = {
    "version": 1,
    "state": "delivering",
    "cluster": {
        "keepers": ["https://keeper1:8443", "https://keeper2:8443"],
        "threshold": 2,
        "scheme": "circl-1.6.2",
    },
    "delivered": [2],
    "token": {
        "nonce": base64.b64encode(TOKEN.nonce).decode(),
        "ciphertext": base64.b64encode(TOKEN.ciphertext).decode(),
        "hash": TOKEN.digest,
    },
}
RUN_DOCUMENT = {
    "began": "2026-07-01T12:30:00Z",
    "ended": None,
    "host": "host1",
    "collection": COLLECTION,
    "forced": None,
}
FIELDS = [
    ("version",),
    ("state",),
    ("cluster",),
    ("cluster", "keepers"),
    ("cluster", "threshold"),
    ("cluster", "scheme"),
    ("delivered",),
    ("token",),
    ("token", "nonce"),
    ("token", "ciphertext"),
    ("token", "hash"),
]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with opened(tmp_path) as directory:
        yield Journal(directory, str(tmp_path))


def refusal(journal: Journal, tmp_path: Path, content: bytes) -> StateUnusable:
    """The refusal of a journal with this content, which is still there afterwards."""
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(StateUnusable) as caught:
        journal.load()
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == [NAME]
    error = caught.value
    assert str(path) in error.message
    assert error.message.endswith(" Nothing was sent, and the file was left as it is.")
    assert "\n" not in error.message
    return error


def damaged(field: tuple[str, ...], value: Any) -> bytes:
    """The document with another value in one field; with none where the value is ``...``."""
    document: dict[str, Any] = copy.deepcopy(DOCUMENT)
    place = document
    for name in field[:-1]:
        place = place[name]
    if value is ...:
        del place[field[-1]]
    else:
        place[field[-1]] = value
    return json.dumps(document).encode()


# -- the round trip


moments = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=timezone.utc)
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(max_size=30), min_size=2, max_size=8),
    st.data(),
    st.binary(min_size=12, max_size=12),
    st.binary(min_size=1, max_size=100),
    st.binary(min_size=32, max_size=32),
    st.booleans(),
    st.none()
    | st.builds(
        Run,
        began=moments,
        host=st.text(),
        collection=st.text(),
        ended=st.none() | moments,
        forced=st.none() | st.text(),
    ),
)
def test_what_is_saved_is_loaded(
    keepers: list[str],
    data: st.DataObject,
    nonce: bytes,
    ciphertext: bytes,
    digest: bytes,
    finished: bool,
    run: Run | None,
) -> None:
    record = Record(
        Cluster(tuple(keepers), data.draw(st.integers(2, len(keepers))), data.draw(st.text())),
        Token(nonce, ciphertext, digest.hex()),
        data.draw(st.frozensets(st.integers(1, len(keepers)))),
        finished,
        run,
    )
    with tempfile.TemporaryDirectory() as path, opened(Path(path)) as directory:
        Journal(directory, path).save(record)
        assert Journal(directory, path).load() == record


def test_a_token_survives_the_journal(journal: Journal) -> None:
    with RootKey.draw() as key:
        journal.save(Record(CLUSTER, key.seal()))
        loaded = journal.load()
        assert loaded is not None
        assert key.opens(loaded.token)


def test_a_thousand_keepers_with_long_urls_fit(journal: Journal) -> None:
    keepers = tuple(f"https://{'k' * 2000}{i}:8443" for i in range(1000))
    record = Record(Cluster(keepers, 500, "circl-1.6.2"), TOKEN, frozenset(range(1, 1001)))
    journal.save(record)
    assert journal.load() == record


def test_where_there_never_was_a_run_there_is_no_record(journal: Journal) -> None:
    assert journal.load() is None


def test_the_journal_is_a_document_of_these_fields(journal: Journal, tmp_path: Path) -> None:
    journal.save(RECORD)
    assert json.loads((tmp_path / NAME).read_text()) == DOCUMENT
    journal.save(RECORD.as_finished(NOW))
    assert json.loads((tmp_path / NAME).read_text()) == {**DOCUMENT, "state": "finished"}


def test_a_run_is_recorded_beside_the_fields_that_matter(journal: Journal, tmp_path: Path) -> None:
    record = Record(CLUSTER, TOKEN, frozenset({2}), run=RUN)
    journal.save(record)
    assert json.loads((tmp_path / NAME).read_text()) == {**DOCUMENT, "run": RUN_DOCUMENT}
    journal.save(record.as_finished(NOW))
    assert json.loads((tmp_path / NAME).read_text()) == {
        **DOCUMENT,
        "state": "finished",
        "run": {**RUN_DOCUMENT, "ended": "2026-07-01T13:30:01Z"},
    }


def test_what_force_overrode_is_recorded(journal: Journal, tmp_path: Path) -> None:
    journal.save(Record(CLUSTER, TOKEN, run=Run(BEGAN, "host1", forced="a database")))
    assert json.loads((tmp_path / NAME).read_text())["run"]["forced"] == "a database"


def test_the_times_of_a_run_are_written_in_utc(journal: Journal, tmp_path: Path) -> None:
    began = BEGAN.astimezone(timezone(timedelta(hours=-7)))
    journal.save(Record(CLUSTER, TOKEN, run=Run(began, "host1")))
    assert json.loads((tmp_path / NAME).read_text())["run"] == RUN_DOCUMENT


def test_everybody_may_read_the_journal_and_only_its_owner_may_write(
    journal: Journal, tmp_path: Path
) -> None:
    journal.save(RECORD)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o644


def test_a_crash_while_saving_leaves_the_old_record(tmp_path: Path) -> None:
    with opened(tmp_path) as directory:
        Journal(directory, str(tmp_path)).save(RECORD)
        crashing = Journal(directory, str(tmp_path), step=Steps(crash_at=3))
        with pytest.raises(Crash, match=r"journal\.json: before rename"):
            crashing.save(RECORD.as_finished(NOW))
        assert Journal(directory, str(tmp_path)).load() == RECORD


# -- records


def test_deliveries_are_added_and_never_forgotten() -> None:
    record = Record(CLUSTER, TOKEN, run=RUN).with_delivered([2]).with_delivered([1, 2])
    assert record == Record(CLUSTER, TOKEN, frozenset({1, 2}), run=RUN)
    assert not record.finished


def test_a_run_ends_when_nexus_has_proved_its_key() -> None:
    record = Record(CLUSTER, TOKEN, frozenset({1, 2}), run=RUN).as_finished(NOW)
    ended = Run(BEGAN, "host1", COLLECTION, NOW)
    assert record == Record(CLUSTER, TOKEN, frozenset({1, 2}), finished=True, run=ended)


@pytest.mark.parametrize("finished", [True, False])
def test_a_changed_cluster_has_the_same_key_and_no_deliveries(finished: bool) -> None:
    other = Cluster(CLUSTER.keepers[::-1], 2, "circl-1.6.2")
    changed = Record(CLUSTER, TOKEN, frozenset({1}), finished, RUN).of_changed(other)
    assert changed == Record(other, TOKEN, frozenset(), finished, RUN)


@pytest.mark.parametrize(
    "other",
    [
        Cluster(CLUSTER.keepers[::-1], 2, "circl-1.6.2"),
        Cluster(("https://keeper1:8443,https://keeper2:8443",), 2, "circl-1.6.2"),
        Cluster(CLUSTER.keepers, 3, "circl-1.6.2"),
        Cluster(CLUSTER.keepers, 2, "circl-1.6.1"),
    ],
)
def test_another_cluster_has_another_fingerprint(other: Cluster) -> None:
    assert other.fingerprint() != CLUSTER.fingerprint()


def test_a_fingerprint_never_changes_between_releases() -> None:
    assert CLUSTER.fingerprint() == (
        "37e7a4d0580262c00443ef338688f3f0e47e51506f3fc6a10eb4ce3828fec3ec"
    )


def cluster_of(count: int, port: int = 8443) -> Cluster:
    return Cluster(tuple(f"https://k{i}:{port}" for i in range(1, count + 1)), 2, "circl-1.6.2")


def test_keepers_are_shown_with_their_numbers_in_one_line() -> None:
    assert CLUSTER.numbered() == "1. https://keeper1:8443, 2. https://keeper2:8443"


@pytest.mark.parametrize(
    ("count", "end"),
    [
        (20, ", 20. https://k20:8443"),
        (21, ", 20. https://k20:8443, and 1 more"),
        (1000, ", 20. https://k20:8443, and 980 more"),
    ],
)
def test_of_many_keepers_the_first_twenty_are_shown(count: int, end: str) -> None:
    shown = cluster_of(count).numbered()
    assert shown.startswith("1. https://k1:8443, 2. https://k2:8443, ")
    assert shown.endswith(end)


@pytest.mark.parametrize(
    ("now", "changes"),
    [
        pytest.param(CLUSTER, "", id="nothing"),
        pytest.param(
            Cluster(("https://keeper1:8443", "https://k9:8443"), 2, "circl-1.6.2"),
            "keeper 2 is https://k9:8443, and was https://keeper2:8443",
            id="a keeper",
        ),
        pytest.param(
            Cluster(CLUSTER.keepers[::-1], 2, "circl-1.6.2"),
            "keeper 1 is https://keeper2:8443, and was https://keeper1:8443;"
            " keeper 2 is https://keeper1:8443, and was https://keeper2:8443",
            id="the order",
        ),
        pytest.param(
            Cluster((*CLUSTER.keepers, "https://keeper3:8443"), 2, "circl-1.6.2"),
            "there are 3 keepers, and were 2",
            id="one more",
        ),
        pytest.param(
            Cluster(CLUSTER.keepers, 3, "circl-1.6.2"),
            "the threshold is 3, and was 2",
            id="the threshold",
        ),
        pytest.param(
            Cluster(CLUSTER.keepers, 2, "circl-1.6.1"),
            "the share scheme is circl-1.6.1, and was circl-1.6.2",
            id="the scheme",
        ),
        pytest.param(
            Cluster(("https://k9:8443", *CLUSTER.keepers), 3, "circl-1.6.1"),
            "there are 3 keepers, and were 2;"
            " keeper 1 is https://k9:8443, and was https://keeper1:8443;"
            " keeper 2 is https://keeper1:8443, and was https://keeper2:8443;"
            " the threshold is 3, and was 2;"
            " the share scheme is circl-1.6.1, and was circl-1.6.2",
            id="everything",
        ),
    ],
)
def test_what_has_changed_is_told_with_what_it_was(now: Cluster, changes: str) -> None:
    assert now.changes_since(CLUSTER) == changes


def test_of_many_changed_keepers_the_first_twenty_are_told() -> None:
    changes = cluster_of(30, port=9000).changes_since(cluster_of(30)).split("; ")
    assert len(changes) == 21
    assert changes[-2:] == [
        "keeper 20 is https://k20:9000, and was https://k20:8443",
        "and 10 more",
    ]


clusters = st.builds(
    Cluster,
    keepers=st.lists(st.sampled_from("abc"), max_size=45).map(
        lambda hosts: tuple(f"https://{host}:8443" for host in hosts)
    ),
    threshold=st.integers(),
    scheme=st.sampled_from(["circl-1.6.1", "circl-1.6.2"]),
)


@settings(max_examples=200, deadline=None)
@given(clusters, clusters)
def test_a_cluster_and_its_changes_fit_on_a_line_each(now: Cluster, earlier: Cluster) -> None:
    for line in (now.numbered(), now.changes_since(earlier)):
        assert "\n" not in line
        assert line.count("https://") <= 40
    assert (now.changes_since(earlier) == "") == (now == earlier)


# -- damage


def test_the_undamaged_document_is_loaded(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps(DOCUMENT))
    assert journal.load() == RECORD


def test_a_journal_cut_anywhere_is_refused_and_left_alone(journal: Journal, tmp_path: Path) -> None:
    journal.save(RECORD)
    whole = (tmp_path / NAME).read_bytes()
    assert whole.endswith(b"}\n")
    for length in range(len(whole) - 1):
        assert "is damaged" in refusal(journal, tmp_path, whole[:length]).message


def test_a_journal_with_any_byte_wiped_out_is_refused_and_left_alone(
    journal: Journal, tmp_path: Path
) -> None:
    journal.save(RECORD)
    whole = (tmp_path / NAME).read_bytes()
    for place in range(len(whole)):
        content = whole[:place] + b"\x00" + whole[place + 1 :]
        assert "is damaged" in refusal(journal, tmp_path, content).message


@pytest.mark.parametrize("field", FIELDS, ids=".".join)
def test_a_journal_without_one_of_its_fields_is_refused(
    journal: Journal, tmp_path: Path, field: tuple[str, ...]
) -> None:
    assert "is damaged" in refusal(journal, tmp_path, damaged(field, ...)).message


@pytest.mark.parametrize("value", [None, True, 0, -1, 1.0, 1.5, "", [None], {}, {"a": 1}], ids=repr)
@pytest.mark.parametrize("field", FIELDS, ids=".".join)
def test_a_journal_with_a_field_of_another_kind_is_refused(
    journal: Journal, tmp_path: Path, field: tuple[str, ...], value: object
) -> None:
    if (field, value) == (("cluster", "scheme"), ""):
        value = 7  # a scheme is any text here: the guard compares it
    assert "is damaged" in refusal(journal, tmp_path, damaged(field, value)).message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("state",), "Finished"),
        (("cluster", "keepers"), []),
        (("cluster", "keepers"), ["https://k1", 2]),
        (("cluster", "keepers"), "https://keeper1:8443"),
        (("cluster", "threshold"), 1),
        (("cluster", "threshold"), 3),
        (("cluster", "threshold"), "2"),
        (("delivered",), [0]),
        (("delivered",), [3]),
        (("delivered",), [True]),
        (("delivered",), ["1"]),
        (("delivered",), "12"),
        (("token", "nonce"), base64.b64encode(bytes(11)).decode()),
        (("token", "nonce"), base64.b64encode(bytes(13)).decode()),
        (("token", "nonce"), "!" * 16),
        (("token", "ciphertext"), "AAA"),
        (("token", "hash"), "ab" * 31),
        (("token", "hash"), "ab" * 33),
        (("token", "hash"), "AB" * 32),
        (("token", "hash"), "ab " * 32),
        (("token", "hash"), "xy" * 32),
    ],
    ids=str,
)
def test_a_journal_with_a_value_that_no_run_writes_is_refused(
    journal: Journal, tmp_path: Path, field: tuple[str, ...], value: object
) -> None:
    assert "is damaged" in refusal(journal, tmp_path, damaged(field, value)).message


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"text"', id="a text"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="nested deeper than the parser goes"),
        pytest.param(json.dumps(DOCUMENT).encode() + b"{}", id="two documents"),
        pytest.param(damaged(("cluster", "scheme"), "x" * 2**22), id="longer than any journal"),
    ],
)
def test_what_is_no_journal_at_all_is_refused(
    journal: Journal, tmp_path: Path, content: bytes
) -> None:
    assert "is damaged" in refusal(journal, tmp_path, content).message


@pytest.mark.parametrize("content", [{"version": VERSION + 1}, {**DOCUMENT, "version": 99}])
def test_a_journal_of_a_newer_version_is_refused_with_the_way_out(
    journal: Journal, tmp_path: Path, content: dict[str, Any]
) -> None:
    error = refusal(journal, tmp_path, json.dumps(content).encode())
    version = content["version"]
    assert f"is of version {version}, and this collection reads up to 1. " in error.message
    assert error.advice.what_to_do == ("Upgrade the collection dayzero.spike.", RERUN)


def test_a_damaged_journal_is_not_to_be_thrown_away(journal: Journal, tmp_path: Path) -> None:
    steps = refusal(journal, tmp_path, b"").advice.what_to_do
    assert "from a backup" in steps[0]
    assert "move it away, and keep it" in steps[1]
    assert "check mode" in steps[2]


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_a_journal_that_is_no_file_cannot_be_read(
    journal: Journal, tmp_path: Path, kind: str
) -> None:
    if kind == "link":
        (tmp_path / "elsewhere").write_text(json.dumps(DOCUMENT))
        (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / NAME).mkdir()
    with pytest.raises(StateUnusable, match=r"cannot be read: .*\. Nothing was sent\.$"):
        journal.load()


def test_a_journal_that_cannot_be_written_is_refused_and_the_old_one_stays(
    journal: Journal, tmp_path: Path
) -> None:
    journal.save(RECORD)
    (tmp_path / f".{NAME}.new").mkdir()
    with pytest.raises(StateUnusable, match="cannot be written: Is a directory") as caught:
        journal.save(RECORD.as_finished(NOW))
    assert caught.value.__cause__ is None
    assert caught.value.advice.what_to_do[-1] == RERUN
    assert journal.load() == RECORD


# -- for the record only


@pytest.mark.parametrize("field", RUN_DOCUMENT)
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(..., id="none"),
        pytest.param(7, id="a number"),
        pytest.param([], id="a list"),
        pytest.param({"a": 1}, id="a mapping"),
        pytest.param("yesterday", id="a text"),
    ],
)
def test_whatever_is_wrong_with_the_run_the_journal_is_read(
    journal: Journal, tmp_path: Path, field: str, value: object
) -> None:
    run = {**RUN_DOCUMENT, field: value}
    if value is ...:
        del run[field]
    (tmp_path / NAME).write_text(json.dumps({**DOCUMENT, "run": run}))
    loaded = journal.load()
    assert loaded is not None
    assert Record(loaded.cluster, loaded.token, loaded.delivered, loaded.finished) == RECORD
    readable = value is not ... and field in ("host", "collection", "forced")
    assert (loaded.run is not None) == readable


@pytest.mark.parametrize("run", [None, True, 0, "", "text", [], [1], {}], ids=repr)
def test_a_run_that_is_none_leaves_the_journal_without_one(
    journal: Journal, tmp_path: Path, run: object
) -> None:
    (tmp_path / NAME).write_text(json.dumps({**DOCUMENT, "run": run}))
    assert journal.load() == RECORD


def test_a_journal_that_does_not_tell_of_a_run_gets_none_by_being_finished() -> None:
    assert RECORD.as_finished(NOW).run is None


# -- set aside


def test_a_journal_that_is_set_aside_is_kept_under_the_moment_in_utc(
    journal: Journal, tmp_path: Path
) -> None:
    journal.save(RECORD)
    content = (tmp_path / NAME).read_bytes()
    aside = journal.set_aside(NOW.astimezone(timezone(timedelta(hours=5))))
    assert aside == str(tmp_path / "journal-abandoned-20260701T133001Z.json")
    assert Path(aside).read_bytes() == content
    assert journal.load() is None


def test_a_second_journal_of_the_same_second_replaces_no_earlier_one(
    journal: Journal, tmp_path: Path
) -> None:
    asides = []
    for record in (RECORD, RECORD.as_finished(NOW)):
        journal.save(record)
        asides.append(Path(journal.set_aside(NOW)).name)
    assert asides == [
        "journal-abandoned-20260701T133001Z.json",
        "journal-abandoned-20260701T133001.000000Z.json",
    ]
    states = [json.loads((tmp_path / name).read_text())["state"] for name in asides]
    assert states == ["delivering", "finished"]


def test_where_every_name_is_taken_the_journal_stays(journal: Journal, tmp_path: Path) -> None:
    for _unused in range(2):
        journal.save(RECORD)
        journal.set_aside(NOW)
    journal.save(RECORD)
    with pytest.raises(StateUnusable, match="cannot be written: File exists") as caught:
        journal.set_aside(NOW)
    assert caught.value.__cause__ is None
    assert journal.load() == RECORD
    assert len(os.listdir(tmp_path)) == 3


def test_a_journal_that_is_not_there_cannot_be_set_aside(journal: Journal) -> None:
    with pytest.raises(StateUnusable, match="cannot be written: No such file or directory"):
        journal.set_aside(NOW)

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
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import StateUnusable
from ansible_collections.dayzero.spike.plugins.module_utils._journal import (
    NAME,
    VERSION,
    Cluster,
    Journal,
    Record,
)
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import RootKey, Token
from ansible_collections.dayzero.spike.tests.support.directories import Crash, Steps, opened
from hypothesis import given, settings
from hypothesis import strategies as st

CLUSTER = Cluster(("https://keeper1:8443", "https://keeper2:8443"), 2, "circl-1.6.2")
TOKEN = Token(bytes(range(12)), bytes(range(80)), "ab" * 32)
RECORD = Record(CLUSTER, TOKEN, frozenset({2}))
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
    assert "Nothing was sent and the file was left as it is. " in error.message
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


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(max_size=30), min_size=2, max_size=8),
    st.data(),
    st.binary(min_size=12, max_size=12),
    st.binary(min_size=1, max_size=100),
    st.binary(min_size=32, max_size=32),
    st.booleans(),
)
def test_what_is_saved_is_loaded(
    keepers: list[str],
    data: st.DataObject,
    nonce: bytes,
    ciphertext: bytes,
    digest: bytes,
    finished: bool,
) -> None:
    record = Record(
        Cluster(tuple(keepers), data.draw(st.integers(2, len(keepers))), data.draw(st.text())),
        Token(nonce, ciphertext, digest.hex()),
        data.draw(st.frozensets(st.integers(1, len(keepers)))),
        finished,
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
    journal.save(RECORD.as_finished())
    assert json.loads((tmp_path / NAME).read_text()) == {**DOCUMENT, "state": "finished"}


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
            crashing.save(RECORD.as_finished())
        assert Journal(directory, str(tmp_path)).load() == RECORD


# -- records


def test_deliveries_are_added_and_never_forgotten() -> None:
    record = Record(CLUSTER, TOKEN).with_delivered([2]).with_delivered([1, 2])
    assert record == Record(CLUSTER, TOKEN, frozenset({1, 2}))
    assert not record.finished
    assert record.as_finished() == Record(CLUSTER, TOKEN, frozenset({1, 2}), finished=True)


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


def test_a_cluster_is_described_in_one_line() -> None:
    assert CLUSTER.describe() == (
        "threshold 2 of 2 keepers (https://keeper1:8443, https://keeper2:8443), circl-1.6.2"
    )


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
    message = refusal(journal, tmp_path, json.dumps(content).encode()).message
    assert f"is of version {content['version']}, and this collection reads up to 1" in message
    assert "Upgrade the collection" in message


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_a_journal_that_is_no_file_cannot_be_read(
    journal: Journal, tmp_path: Path, kind: str
) -> None:
    if kind == "link":
        (tmp_path / "elsewhere").write_text(json.dumps(DOCUMENT))
        (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / NAME).mkdir()
    with pytest.raises(StateUnusable, match="cannot be read: "):
        journal.load()


def test_a_journal_that_cannot_be_written_is_refused_and_the_old_one_stays(
    journal: Journal, tmp_path: Path
) -> None:
    journal.save(RECORD)
    (tmp_path / f".{NAME}.new").mkdir()
    with pytest.raises(StateUnusable, match="cannot be written: Is a directory") as caught:
        journal.save(RECORD.as_finished())
    assert caught.value.__cause__ is None
    assert journal.load() == RECORD

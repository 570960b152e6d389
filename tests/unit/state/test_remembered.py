# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import RootKey
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Cluster
from ansible_collections.dayzero.spike.plugins.module_utils._state.journal import (
    Journal,
    Record,
    Run,
)
from ansible_collections.dayzero.spike.plugins.module_utils._state.pending_key import (
    NAME as KEY_NAME,
)
from ansible_collections.dayzero.spike.plugins.module_utils._state.pending_key import (
    PendingKey,
    file_name,
)
from ansible_collections.dayzero.spike.plugins.module_utils._state.remembered import (
    Memory,
    Remembered,
)
from ansible_collections.dayzero.spike.tests.support.directories import (
    Crash,
    Steps,
    memory_directory,
    opened,
)

CLUSTER = Cluster(("https://keeper1:8443", "https://keeper2:8443"), 2, "circl-1.6.2")
OTHER_CLUSTER = Cluster(("https://keeper8:8443", "https://keeper9:8443"), 2, "circl-1.6.2")
BEGAN = datetime(2026, 7, 1, 12, 30, tzinfo=timezone.utc)
NOW = BEGAN + timedelta(minutes=5)
RUN = Run(BEGAN, "host1")
WRITES = ("before write", "written", "before rename", "renamed", "durable")
JOURNAL = [f"journal.json: {step}" for step in WRITES]
KEY = [f"{KEY_NAME}: {step}" for step in WRITES]
ASIDE = ["journal.json: before it is set aside", "journal.json: set aside"]
ABANDONED = "journal-abandoned-20260701T123500Z.json"


@dataclass
class Host:
    """What a crash leaves alone: the two directories."""

    state: int
    state_dir: Path
    runtime: int
    runtime_dir: Path

    def memory(self, steps: Steps | None = None) -> Memory:
        """The memory of a new process."""
        step = steps or Steps()
        return Memory(
            Journal(self.state, str(self.state_dir), step=step),
            self.pending(step),
        )

    def pending(self, step: Steps | None = None) -> PendingKey:
        return PendingKey(
            self.runtime, str(self.runtime_dir), str(self.state_dir), step=step or Steps()
        )

    @property
    def key_file(self) -> Path:
        return self.runtime_dir / file_name(str(self.state_dir))


@contextmanager
def new_host(runtime_dir: Path | None = None) -> Iterator[Host]:
    """One with a state directory of its own, and a runtime directory unless it is given one."""
    with ExitStack() as resources:
        state_dir = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        if runtime_dir is None:
            runtime_dir = resources.enter_context(memory_directory())
        yield Host(
            resources.enter_context(opened(state_dir)),
            state_dir,
            resources.enter_context(opened(runtime_dir)),
            runtime_dir,
        )


@pytest.fixture
def host() -> Iterator[Host]:
    with new_host() as made:
        yield made


def same_key(remembered: Remembered, key: RootKey) -> bool:
    return remembered.key is not None and remembered.key.exposed() == key.exposed()


def bootstrap(memory: Memory, key: RootKey, sent: list[str]) -> None:
    """All that a run remembers, from the first shard to the proof."""
    record = memory.begin(key, CLUSTER, RUN)
    sent.append("shard 1")
    record = record.with_delivered([1])
    memory.note(record)
    sent.append("shard 2")
    memory.finish(record.with_delivered([2]), NOW)


def test_at_first_nothing_is_remembered(host: Host) -> None:
    assert host.memory().recall(CLUSTER) == Remembered(None)


def test_the_key_is_kept_before_the_journal_is_written(host: Host) -> None:
    steps = Steps()
    host.memory(steps).begin(RootKey.draw(), CLUSTER, RUN)
    assert steps.names == KEY + JOURNAL


def test_the_journal_says_finished_before_the_key_is_removed(host: Host) -> None:
    record = host.memory().begin(RootKey.draw(), CLUSTER, RUN)
    steps = Steps()
    host.memory(steps).finish(record, NOW)
    assert steps.names[: len(JOURNAL)] == JOURNAL
    assert steps.names[len(JOURNAL)] == f"{KEY_NAME}: before removal"
    assert not set(steps.names[len(JOURNAL) :]) & set(JOURNAL)


def test_finishing_a_second_time_does_not_write_the_journal(host: Host) -> None:
    memory = host.memory()
    memory.finish(memory.begin(RootKey.draw(), CLUSTER, RUN), NOW)
    record = host.memory().recall(CLUSTER).record
    assert record is not None
    steps = Steps()
    host.memory(steps).finish(record, NOW)
    assert not set(steps.names) & set(JOURNAL)


def test_an_unfinished_run_is_remembered_with_its_key(host: Host) -> None:
    key = RootKey.draw()
    record = host.memory().begin(key, CLUSTER, RUN)
    host.memory().note(record.with_delivered([2]))
    remembered = host.memory().recall(CLUSTER)
    assert remembered.record == Record(CLUSTER, record.token, frozenset({2}), run=RUN)
    assert same_key(remembered, key)
    assert remembered.key_for == CLUSTER.fingerprint()


def test_a_finished_run_is_remembered_without_its_key(host: Host) -> None:
    memory = host.memory()
    record = memory.begin(RootKey.draw(), CLUSTER, RUN)
    memory.finish(record, NOW)
    assert host.memory().recall(CLUSTER) == Remembered(record.as_finished(NOW))
    assert os.listdir(host.runtime_dir) == []


def test_after_a_reboot_the_record_is_there_and_the_key_is_not(host: Host) -> None:
    record = host.memory().begin(RootKey.draw(), CLUSTER, RUN)
    host.key_file.unlink()
    assert host.memory().recall(CLUSTER) == Remembered(record)


def test_a_key_without_a_journal_is_remembered(host: Host) -> None:
    key = RootKey.draw()
    host.memory().begin(key, CLUSTER, RUN)
    (host.state_dir / "journal.json").unlink()
    remembered = host.memory().recall(CLUSTER)
    assert remembered.record is None
    assert same_key(remembered, key)
    assert remembered.key_for == CLUSTER.fingerprint()


def test_a_key_that_is_not_the_journals_is_not_remembered(host: Host) -> None:
    record = host.memory().begin(RootKey.draw(), CLUSTER, RUN)
    with RootKey.draw() as other:
        host.pending().save(other, CLUSTER.fingerprint())
    assert host.memory().recall(CLUSTER) == Remembered(record)


def test_without_a_state_directory_only_a_key_can_be_remembered(host: Host) -> None:
    key = RootKey.draw()
    host.memory().begin(key, CLUSTER, RUN)
    remembered = Memory(None, host.pending()).recall(CLUSTER)
    assert remembered.record is None
    assert same_key(remembered, key)


def test_a_key_can_be_kept_in_a_directory_that_is_made_after_looking(host: Host) -> None:
    key = RootKey.draw()
    pending = PendingKey(None, str(host.runtime_dir), str(host.state_dir))
    memory = Memory(Journal(host.state, str(host.state_dir)), pending)
    assert memory.recall(CLUSTER) == Remembered(None)
    memory.keep_keys_in(host.runtime)
    memory.begin(key, CLUSTER, RUN)
    assert same_key(host.memory().recall(CLUSTER), key)


def test_clusters_that_share_a_runtime_directory_leave_each_others_keys_alone(host: Host) -> None:
    key, others = RootKey.draw(), RootKey.draw()
    record = host.memory().begin(key, CLUSTER, RUN)
    with new_host(host.runtime_dir) as other:
        memory = other.memory()
        assert memory.recall(OTHER_CLUSTER) == Remembered(None)
        begun = memory.begin(others, OTHER_CLUSTER, RUN)
        assert same_key(other.memory().recall(OTHER_CLUSTER), others)
        assert same_key(host.memory().recall(CLUSTER), key)
        memory.finish(begun, NOW)
        assert other.memory().recall(OTHER_CLUSTER) == Remembered(begun.as_finished(NOW))
    remembered = host.memory().recall(CLUSTER)
    assert (remembered.record, same_key(remembered, key)) == (record, True)


def test_a_cluster_that_another_state_directory_has_not_finished_is_remembered(
    host: Host,
) -> None:
    first = host.memory()
    record = first.begin(RootKey.draw(), CLUSTER, RUN)
    with new_host(host.runtime_dir) as other:
        waiting = Remembered(None, begun_elsewhere=str(host.key_file))
        assert other.memory().recall(CLUSTER) == waiting
        assert other.memory().recall(OTHER_CLUSTER) == Remembered(None)
        assert first.recall(CLUSTER).begun_elsewhere is None
        first.finish(record, NOW)
        assert other.memory().recall(CLUSTER) == Remembered(None)


def test_a_new_key_for_other_settings_replaces_the_one_that_was_kept(host: Host) -> None:
    host.memory().begin(RootKey.draw(), CLUSTER, RUN)
    new = RootKey.draw()
    host.memory().begin(new, OTHER_CLUSTER, RUN)
    assert os.listdir(host.runtime_dir) == [host.key_file.name]
    assert same_key(host.memory().recall(CLUSTER), new)


# -- when and where


def test_a_run_is_remembered_with_its_beginning_and_its_end(host: Host) -> None:
    memory = host.memory()
    record = memory.begin(RootKey.draw(), CLUSTER, RUN)
    assert record.run == RUN
    memory.finish(record, NOW)
    remembered = host.memory().recall(CLUSTER).record
    assert remembered is not None
    assert remembered.run == replace(RUN, ended=NOW)


def test_finishing_a_second_time_leaves_the_end_as_it_is(host: Host) -> None:
    memory = host.memory()
    finished = memory.begin(RootKey.draw(), CLUSTER, RUN).as_finished(NOW)
    memory.note(finished)
    memory.finish(finished, NOW + timedelta(days=1))
    assert host.memory().recall(CLUSTER) == Remembered(finished)


def test_without_a_state_directory_nothing_is_noted(host: Host) -> None:
    record = host.memory().begin(RootKey.draw(), CLUSTER, RUN)
    memory = Memory(None, host.pending())
    with pytest.raises(ValueError, match="there is no state directory to note it in"):
        memory.note(record)


# -- a cluster that was changed, and proves the same key


@pytest.mark.parametrize("finished", [True, False])
def test_an_adopted_key_is_that_of_the_changed_cluster(host: Host, finished: bool) -> None:
    memory = host.memory()
    record = memory.begin(RootKey.draw(), CLUSTER, RUN).with_delivered([1])
    if finished:
        record = record.as_finished(NOW)
    later = NOW + timedelta(days=1)
    memory.adopt(record, OTHER_CLUSTER, later)
    ended = NOW if finished else later
    assert host.memory().recall(OTHER_CLUSTER) == Remembered(
        Record(OTHER_CLUSTER, record.token, finished=True, run=replace(RUN, ended=ended))
    )
    assert os.listdir(host.runtime_dir) == []


def test_an_adopted_key_is_in_the_journal_before_it_is_removed(host: Host) -> None:
    record = host.memory().begin(RootKey.draw(), CLUSTER, RUN)
    steps = Steps()
    host.memory(steps).adopt(record, OTHER_CLUSTER, NOW)
    assert steps.names[: len(JOURNAL)] == JOURNAL
    assert steps.names[len(JOURNAL)] == f"{KEY_NAME}: before removal"
    assert not set(steps.names[len(JOURNAL) :]) & set(JOURNAL)


@pytest.mark.parametrize("crash_at", range(1, len(JOURNAL) + 4))
def test_a_crash_while_a_key_is_adopted_leaves_the_old_record_or_the_new_one(
    host: Host, crash_at: int
) -> None:
    key = RootKey.draw()
    record = host.memory().begin(key, CLUSTER, RUN)
    with pytest.raises(Crash):
        host.memory(Steps(crash_at)).adopt(record, OTHER_CLUSTER, NOW)
    remembered = host.memory().recall(OTHER_CLUSTER)
    if remembered.record == record:
        assert same_key(remembered, key)
    else:
        assert remembered.record == record.of_changed(OTHER_CLUSTER).as_finished(NOW)


# -- a run that is given up


def test_a_run_that_is_given_up_leaves_its_journal_under_another_name_and_no_key(
    host: Host,
) -> None:
    record = host.memory().begin(RootKey.draw(), CLUSTER, RUN)
    content = (host.state_dir / "journal.json").read_bytes()
    assert host.memory().abandon(record, NOW) == str(host.state_dir / ABANDONED)
    assert host.memory().recall(CLUSTER) == Remembered(None)
    assert os.listdir(host.runtime_dir) == []
    assert os.listdir(host.state_dir) == [ABANDONED]
    assert (host.state_dir / ABANDONED).read_bytes() == content


def test_the_key_is_gone_before_the_journal_is_moved(host: Host) -> None:
    record = host.memory().begin(RootKey.draw(), CLUSTER, RUN)
    there: list[tuple[str, bool]] = []

    def step(name: str) -> None:
        there.append((name, host.key_file.exists()))

    memory = Memory(Journal(host.state, str(host.state_dir), step=step), host.pending())
    memory.abandon(record, NOW)
    assert there == [(name, False) for name in ASIDE]


def test_a_key_that_was_never_sent_is_given_up_without_a_journal(host: Host) -> None:
    host.memory().begin(RootKey.draw(), CLUSTER, RUN)
    (host.state_dir / "journal.json").unlink()
    assert host.memory().abandon(None, NOW) is None
    assert host.memory().recall(CLUSTER) == Remembered(None)
    assert os.listdir(host.runtime_dir) == []
    assert os.listdir(host.state_dir) == []


def test_where_no_run_ever_was_there_is_nothing_to_give_up(host: Host) -> None:
    assert host.memory().abandon(None, NOW) is None
    assert Memory(None, host.pending()).abandon(None, NOW) is None
    assert os.listdir(host.state_dir) == []


def _rehearsed_abandonment() -> list[str]:
    steps = Steps()
    with new_host() as host:
        record = host.memory().begin(RootKey.draw(), CLUSTER, RUN)
        host.memory(steps).abandon(record, NOW)
    return steps.names


ABANDONMENT = _rehearsed_abandonment()


@pytest.mark.parametrize("crash_at", range(1, len(ABANDONMENT) + 1), ids=ABANDONMENT)
def test_a_crash_while_a_run_is_given_up_never_leaves_a_key_that_would_be_sent(
    host: Host, crash_at: int
) -> None:
    key = RootKey.draw()
    record = host.memory().begin(key, CLUSTER, RUN)
    with pytest.raises(Crash):
        host.memory(Steps(crash_at)).abandon(record, NOW)
    remembered = host.memory().recall(CLUSTER)
    # Either the run is as it was, or its key is lost: never a key without its journal.
    assert remembered.key is None or (remembered.record == record and same_key(remembered, key))
    host.memory().abandon(remembered.record, NOW)
    assert host.memory().recall(CLUSTER) == Remembered(None)
    assert os.listdir(host.runtime_dir) == []
    assert os.listdir(host.state_dir) == [ABANDONED]


# -- crashes


def _rehearsed() -> list[str]:
    """Every step of a whole run, so that a crash can be tried at each."""
    steps = Steps()
    with new_host() as host:
        bootstrap(host.memory(steps), RootKey.draw(), [])
    return steps.names


WHOLE_RUN = _rehearsed()


@pytest.mark.parametrize("crash_at", range(1, len(WHOLE_RUN) + 1), ids=WHOLE_RUN)
def test_a_crash_anywhere_leaves_all_that_a_rerun_needs(host: Host, crash_at: int) -> None:
    key, sent = RootKey.draw(), list[str]()
    with pytest.raises(Crash):
        bootstrap(host.memory(Steps(crash_at)), key, sent)
    remembered = host.memory().recall(CLUSTER)
    record = remembered.record
    if sent:
        assert record is not None
    if record is not None:
        assert key.opens(record.token)
        assert record.finished or same_key(remembered, key)
        assert record.delivered <= {int(shard[-1]) for shard in sent}
    elif remembered.key is not None:
        assert same_key(remembered, key)


@pytest.mark.parametrize("crash_at", range(1, len(WHOLE_RUN) + 1), ids=WHOLE_RUN)
def test_a_rerun_after_any_crash_ends_finished_and_without_a_key(host: Host, crash_at: int) -> None:
    with pytest.raises(Crash):
        bootstrap(host.memory(Steps(crash_at)), RootKey.draw(), [])
    memory = host.memory()
    remembered = memory.recall(CLUSTER)
    record = remembered.record or memory.begin(remembered.key or RootKey.draw(), CLUSTER, RUN)
    memory.finish(record, NOW)
    after = host.memory().recall(CLUSTER)
    assert after.record is not None
    assert after.record.finished
    assert os.listdir(host.runtime_dir) == []


@pytest.mark.parametrize("crash_at", range(1, len(KEY + JOURNAL) + 1), ids=KEY + JOURNAL)
def test_a_crash_while_a_new_key_replaces_a_finished_one_mixes_no_two(
    host: Host, crash_at: int
) -> None:
    old, new = RootKey.draw(), RootKey.draw()
    bootstrap(host.memory(), old, [])
    with pytest.raises(Crash):
        host.memory(Steps(crash_at)).begin(new, CLUSTER, RUN)
    remembered = host.memory().recall(CLUSTER)
    assert remembered.record is not None
    if old.opens(remembered.record.token):
        assert remembered.key is None
    else:
        assert new.opens(remembered.record.token)
        assert same_key(remembered, new)

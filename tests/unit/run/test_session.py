# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._clock import (
    Duration,
    parse_duration,
)
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    IdentityError,
    OutOfTime,
    Phase,
)
from ansible_collections.dayzero.spike.plugins.module_utils._options.settings import (
    bootstrap_settings,
)
from ansible_collections.dayzero.spike.plugins.module_utils._run import session as room
from ansible_collections.dayzero.spike.plugins.module_utils._run.report import RunReport
from ansible_collections.dayzero.spike.plugins.module_utils._run.session import Session, Tools
from ansible_collections.dayzero.spike.tests.support.directories import memory_directory
from ansible_collections.dayzero.spike.tests.support.hand_clock import HandClock
from ansible_collections.dayzero.spike.tests.support.options import options as every_option
from ansible_collections.dayzero.spike.tests.support.spiffe_side import SLACK

KEEPERS = ["https://keeper1:8443", "https://keeper2:8443"]
HALF_A_MINUTE = parse_duration("30s")

# Makes a session with the options that it is given, at a time of its own.
Make = Callable[..., Session]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def make(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    # Both would hold for the rest of the test process.
    monkeypatch.setattr(room, "forbid_core_dumps", lambda: None)
    monkeypatch.setattr(room, "allow_open_files", lambda: None)
    with memory_directory() as memory, ExitStack() as resources:

        def session(*, now: Callable[[], float] = clock, **options: Any) -> Session:
            given = {"keeper_peers": KEEPERS, "svid_source": "files", "runtime_dir": str(memory)}
            settings = bootstrap_settings(every_option(**{**given, **options}))
            tools = Tools(
                clock=now,
                sleep=time.sleep,
                now=lambda: datetime.now(timezone.utc),
                mask=lambda spelling: None,
            )
            report = RunReport(settings.keepers, settings.nexus_api_url)
            return Session(settings, tools, report, resources)

        yield session


# -- the whole run's time


def test_without_a_whole_runs_time_everything_has_its_own(make: Make, clock: HandClock) -> None:
    session = make(timeout="0")
    clock.now += 1_000_000
    assert session.clipped(HALF_A_MINUTE) is HALF_A_MINUTE
    assert session.within(5.0) == 5.0


@pytest.mark.parametrize("used", [0.0, 15.0, 30.0])
def test_what_still_fits_keeps_its_time_and_its_words(
    make: Make, clock: HandClock, used: float
) -> None:
    session = make(timeout="1m")
    clock.now += used
    assert session.clipped(HALF_A_MINUTE) is HALF_A_MINUTE


def test_what_no_longer_fits_has_what_is_left_and_says_why(make: Make, clock: HandClock) -> None:
    session = make(timeout="1m")
    clock.now += 45
    assert session.clipped(HALF_A_MINUTE) == Duration(15.0, "the whole run's 1m")
    assert session.within(20.0) == 15.0


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_when_nothing_is_left_the_phase_and_the_time_are_told(
    make: Make, clock: HandClock, late: float
) -> None:
    session = make(timeout="1m")
    session.enter(Phase.GUARD)
    clock.now += 60 + late
    with pytest.raises(OutOfTime) as caught:
        session.clipped(HALF_A_MINUTE)
    assert caught.value.message == ("The time for the whole run (1m) was used up in phase guard.")
    # The phase is the one that the run is in.
    assert caught.value.phase is None


@pytest.mark.timing
@pytest.mark.parametrize(
    ("whole", "own", "shown"),
    [("300ms", "30s", "the whole run's 300ms"), ("30s", "300ms", "300ms")],
    ids=["the whole run's", "its own"],
)
def test_the_source_of_our_identity_has_no_more_than_the_lesser_time(
    make: Make, tmp_path: Path, whole: str, own: str, shown: str
) -> None:
    agent = tmp_path / "spire-agent"
    agent.write_text("#!/bin/sh\nexec sleep 30\n")
    agent.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "agent.sock"))
        listening.listen()
        session = make(
            now=time.monotonic,
            timeout=whole,
            spiffe_source_timeout=own,
            svid_source="spire_agent",
            spire_agent_path=str(agent),
            spiffe_endpoint_socket=listening.getsockname(),
        )
        began = time.monotonic()
        with pytest.raises(IdentityError) as caught:
            session.take_identity()
    assert f"within {shown};" in caught.value.message
    # A process has to be started and ended besides.
    assert 0.25 < time.monotonic() - began < 0.3 + SLACK + 1

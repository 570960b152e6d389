# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who answers at a port: the SPIFFE ID, or why there is none."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.answer import (
    NoAnswer,
    split_address,
    who_answers,
)
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox


def address(url: str) -> str:
    return url.removeprefix("https://")


def test_a_keeper_and_a_nexus_answer_with_their_spiffe_ids(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sandbox", keepers=2) as sandbox:
        keeper = who_answers(address(sandbox.keepers[0].url), 5)
        nexus = who_answers(address(sandbox.nexus.url), 5)
    assert str(keeper) == "spiffe://spike.ist/spike/keeper"
    assert str(nexus) == "spiffe://spike.ist/spike/nexus"


def test_a_service_that_listens_on_loopback_alone_is_found_by_its_port(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sandbox", keepers=2) as sandbox:
        port = sandbox.keepers[0].url.rpartition(":")[2]
        assert who_answers(f":{port}", 5).path == "/spike/keeper"


def test_a_port_that_refuses_is_told_as_that() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(NoAnswer, match="connection refused"):
        who_answers(f"127.0.0.1:{port}", 5)


def test_a_service_that_does_not_speak_is_not_waited_for_longer_than_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(NoAnswer, match=r"no answer within 0\.1s"):
            who_answers(f"127.0.0.1:{port}", 0.1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(":8443", ("", 8443)), ("10.0.0.1:1", ("10.0.0.1", 1)), ("[::1]:65535", ("::1", 65535))],
)
def test_an_address_is_read_as_spike_has_it(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text) == expected


@pytest.mark.parametrize("text", ["", "8443", ":", ":0", ":65536", ":x", "host:"])
def test_another_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address such as :8443"):
        split_address(text)

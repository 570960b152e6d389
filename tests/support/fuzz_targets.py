# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What reads something from outside, as a function of bytes.

Each returns where the bytes are taken or are refused by one of our structured errors, and raises
anything else: that is a finding. ``SEEDS`` are inputs that come far.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from ansible_collections.dayzero.spike.plugins.module_utils._clock import from_utc, parse_duration
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    ConfigError,
    DayZeroError,
    IdentityError,
    StateUnusable,
)
from ansible_collections.dayzero.spike.plugins.module_utils._key.custodians import (
    Custodian,
    KeyKind,
    KeyUnusable,
    envelope_for,
)
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import RootKey
from ansible_collections.dayzero.spike.plugins.module_utils._key.shard_line import (
    NotAShard,
    parse_line,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.transport import Answer
from ansible_collections.dayzero.spike.plugins.module_utils._options import settings
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Cluster
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.from_files import read_files
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.from_workload_api import (
    fetch_from_workload_api,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    BOOTSTRAP_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spike import answers
from ansible_collections.dayzero.spike.plugins.module_utils._state.journal import (
    Journal,
    Record,
    Run,
)
from ansible_collections.dayzero.spike.plugins.module_utils._state.pending_key import (
    PendingKey,
    file_name,
)
from ansible_collections.dayzero.spike.tests.support.workload_api import (
    Grant,
    RawWorkloadApi,
    good_answer,
)

Target = Callable[[bytes], None]


@functools.cache
def _directory() -> Path:
    # One that whoever starts us removes: a fuzzer does not end as a program does.
    directory = os.environ.get("FUZZ_MEMORY") or tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def _opened() -> int:
    return os.open(_directory(), os.O_RDONLY | os.O_DIRECTORY)


def journal(data: bytes) -> None:
    """The journal, as whoever may write in state_dir can leave it."""
    (_directory() / "journal.json").write_bytes(data)
    directory = _opened()
    try:
        Journal(directory, str(_directory())).load()
    except StateUnusable:
        return
    finally:
        os.close(directory)


def kept_key(data: bytes) -> None:
    """The key of an unfinished run."""
    (_directory() / file_name("/state")).write_bytes(data)
    directory = _opened()
    try:
        PendingKey(directory, str(_directory()), "/state").load()
    except StateUnusable:
        return
    finally:
        os.close(directory)


def pem_files(data: bytes) -> None:
    """Certificate, key and bundle, all in one file."""
    path = _directory() / "svid.pem"
    path.write_bytes(data)
    try:
        read_files(str(path), str(path), str(path), {}, frozenset())
    except IdentityError:
        return


def duration(data: bytes) -> None:
    """A duration."""
    try:
        parse_duration(data.decode("utf-8", "surrogateescape"))
    except ValueError:
        return


def moment(data: bytes) -> None:
    """A time in the journal."""
    try:
        from_utc(data.decode("utf-8", "surrogateescape"))
    except ValueError:
        return


def url(data: bytes) -> None:
    """The URL of a keeper."""
    try:
        settings._url("keeper_peers", data.decode("utf-8", "surrogateescape"))
    except ConfigError:
        return


def recovery_line(data: bytes) -> None:
    """The line that a custodian types."""
    try:
        parse_line(data.decode("utf-8", "surrogateescape"))
    except NotAShard:
        return


def custodians_key(data: bytes) -> None:
    """A custodian's public key, of every kind that its library is there for."""
    text = data.decode("utf-8", "replace")
    for kind in KeyKind:
        try:
            envelope_for(Custodian("a", kind, text), datetime.now(timezone.utc))
        except (KeyUnusable, DayZeroError):
            continue


@functools.cache
def _agent() -> RawWorkloadApi:
    agent = RawWorkloadApi()
    atexit.register(agent.stop)
    return agent


def workload_api(data: bytes) -> None:
    """The message of an agent, over real gRPC."""
    agent = _agent()
    agent.answer = data
    rule = IdRule(BOOTSTRAP_PATH, ("spike.ist",))
    try:
        fetch_from_workload_api(str(agent.path), parse_duration("5s"), rule)
    except IdentityError:
        return


def answer(data: bytes) -> None:
    """What a keeper or Nexus answers, with any status."""
    status = 200 if data[:1] < b"\x80" else 500
    given = Answer(status, data[1:])
    answers.json_object(given)
    answers.api_error(given)
    answers.status_failure(given)


@functools.cache
def _pem() -> bytes:
    authority = Authority("spike.ist")
    svid = authority.issue("spiffe://spike.ist/spike/bootstrap")
    return svid.chain_pem + svid.key_pem + authority.bundle_pem()


@functools.cache
def _grants() -> bytes:
    authority = Authority("spike.ist")
    svids = [authority.issue(f"spiffe://spike.ist/spike/{who}") for who in ("pilot", "bootstrap")]
    return good_answer([Grant(svid, authority) for svid in svids])


@functools.cache
def _journal() -> bytes:
    cluster = Cluster(("https://a:8443", "https://b:8443"), 2, "circl-1.6.2")
    run = Run(datetime(2026, 1, 1, tzinfo=timezone.utc), "host")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place, RootKey.draw() as key:
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            Journal(directory, place).save(Record(cluster, key.seal(), frozenset({1}), run=run))
            return (Path(place) / "journal.json").read_bytes()
        finally:
            os.close(directory)


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        journal,
        kept_key,
        pem_files,
        duration,
        moment,
        url,
        recovery_line,
        custodians_key,
        workload_api,
        answer,
    )
}
SEEDS: dict[str, Callable[[], bytes]] = {
    "journal": _journal,
    "kept_key": lambda: b"dayzero.spike root key 1\n" + b"0" * 64 + b"\n" + b"k" * 32,
    "pem_files": _pem,
    "duration": lambda: b"1h2m3.5s",
    "moment": lambda: b"2026-01-01 00:00:00 UTC",
    "url": lambda: b"https://[fe80::1%25eth0]:8443",
    "recovery_line": lambda: b"spike:1:" + b"0f" * 32,
    "custodians_key": lambda: b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAA a",
    "workload_api": _grants,
    "answer": lambda: b' {"hash":"","err":"api_internal_error"}',
}


__all__ = ["SEEDS", "TARGETS", "Target"]

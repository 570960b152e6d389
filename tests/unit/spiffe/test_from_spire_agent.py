# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._clock import (
    Duration,
    parse_duration,
)
from ansible_collections.dayzero.spike.plugins.module_utils._errors import IdentityError
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
    Authority,
    IssuedSvid,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.from_spire_agent import (
    fetch_with_spire_agent,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    BOOTSTRAP_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.svid import (
    Offer,
    certificates_from_pem,
)
from ansible_collections.dayzero.spike.tests.support.interpreter import (
    PATIENCE_SECONDS,
    start_python,
)

BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"
AUTHORITY = Authority("spike.ist")
RULE = IdRule(BOOTSTRAP_PATH, ("spike.ist",))
NEEDED = frozenset({"spike.ist"})
# What a fetch may take beyond its timeout, on a machine that does other things as well.
SLACK = 1.0

# As spire-agent takes them; a fake that is called in another way fails.
ARGUMENTS = """#!/bin/sh
[ "$1 $2 $3 $4 $6 $8" = "api fetch x509 -socketPath -timeout -write" ] || exit 64
[ -S "$5" ] || exit 65
"""

FETCH = """
    import sys
    from ansible_collections.dayzero.spike.plugins.module_utils._clock import parse_duration
    from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.from_spire_agent import (
        fetch_with_spire_agent,
    )
    from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
        BOOTSTRAP_PATH,
        IdRule,
    )

    program, socket, runtime = sys.argv[1:]
    rule = IdRule(BOOTSTRAP_PATH, ("spike.ist",))
    fetch_with_spire_agent(program, socket, parse_duration("60s"), runtime, rule, {"spike.ist"})
"""


@dataclass
class Host:
    """A host with a listening socket, a spire-agent of ours, and a runtime directory."""

    program: Path
    socket: Path
    runtime: Path
    files: Path

    def install(self, script: str) -> None:
        self.program.write_text(ARGUMENTS + script)
        self.program.chmod(0o755)

    def hand_out(self, number: int, svid: IssuedSvid, authority: Authority) -> None:
        AUTHORITY.write(self.files, f"svid.{number}", svid)
        (self.files / f"bundle.{number}.pem").write_bytes(authority.bundle_pem())
        self.install(f'cp {self.files}/* "$9"')

    def federate(self, content: bytes, *, announced: str | None) -> None:
        """Hand out a federated bundle too, beside all SVIDs, and say whose it is."""
        for number in range(len(list(self.files.glob("svid.*.pem")))):
            (self.files / f"federated_bundle.{number}.0.pem").write_bytes(content)
        script = f'cp {self.files}/* "$9"'
        if announced is not None:
            script += (
                f'; for bundle in "$9"/federated_bundle.*.pem; do echo "Writing federated bundle #0'
                f' for trust domain {announced} to file $bundle."; done'
            )
        self.install(script)

    def fetch(
        self,
        timeout: str = "20s",
        program: str | None = None,
        needed: Collection[str] = NEEDED,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Offer:
        return fetch_with_spire_agent(
            program or str(self.program),
            str(self.socket),
            parse_duration(timeout),
            str(self.runtime),
            RULE,
            needed,
            stopped,
        )

    def refusal(
        self,
        timeout: str = "20s",
        program: str | None = None,
        needed: Collection[str] = NEEDED,
    ) -> IdentityError:
        with pytest.raises(IdentityError) as caught:
            self.fetch(timeout, program, needed)
        error = caught.value
        assert error.message.startswith(f"{error.option}: ")
        assert "\n" not in error.message
        assert "PRIVATE KEY" not in str(error.advice)
        assert list(self.runtime.iterdir()) == []
        return error


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    # A socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as server:
        path = Path(name, "api.sock")
        server.bind(str(path))
        server.listen(8)
        made = Host(tmp_path / "spire-agent", path, tmp_path / "runtime", tmp_path / "files")
        made.runtime.mkdir(0o700)
        made.files.mkdir()
        yield made


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_an_svid_is_fetched_and_its_files_are_gone(host: Host, key: str) -> None:
    svid = AUTHORITY.issue(BOOTSTRAP, key=key, via_intermediate=True)
    host.hand_out(0, svid, AUTHORITY)
    (identity,) = host.fetch().identities
    assert str(identity.spiffe_id) == BOOTSTRAP
    assert identity.chain == certificates_from_pem(svid.chain_pem)
    assert identity.private_key_pem == svid.key_pem
    assert identity.bundles == {"spike.ist": certificates_from_pem(AUTHORITY.bundle_pem())}
    assert list(host.runtime.iterdir()) == []


def test_all_svids_are_offered_in_their_order(host: Host) -> None:
    ids = [f"spiffe://spike.ist{path}" for path in ("/web", "/spike/bootstrap")]
    for number, spiffe_id in enumerate(ids):
        host.hand_out(number, AUTHORITY.issue(spiffe_id), AUTHORITY)
    assert [str(identity.spiffe_id) for identity in host.fetch().identities] == ids


def test_the_key_is_written_where_only_its_owner_looks(host: Host) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    seen = host.files.parent / "seen"
    host.install(f'cp {host.files}/* "$9"; stat -c %a "$9/.." > {seen}; echo "$9" >> {seen}')
    host.fetch()
    mode, directory = seen.read_text().splitlines()
    assert stat.S_IMODE(int(mode, 8)) == 0o700
    assert directory.startswith(f"{host.runtime}/")


def test_a_federated_bundle_belongs_to_the_domain_that_the_command_names(host: Host) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    # The root of an upstream authority names no trust domain, or another one.
    upstream = Authority("upstream.example")
    host.federate(upstream.bundle_pem(), announced="spiffe://other.org")
    (identity,) = host.fetch().identities
    assert identity.bundles["other.org"] == certificates_from_pem(upstream.bundle_pem())
    assert sorted(identity.bundles) == ["other.org", "spike.ist"]


def test_a_federated_bundle_that_nobody_names_belongs_to_the_domain_in_its_certificates(
    host: Host,
) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    other = Authority("other.org")
    host.federate(other.bundle_pem(), announced=None)
    (identity,) = host.fetch().identities
    assert identity.bundles["other.org"] == certificates_from_pem(other.bundle_pem())


def cut_short(pem: bytes) -> bytes:
    return pem[:-30]


BROKEN_BUNDLES = [
    pytest.param(b"", id="empty"),
    pytest.param(cut_short(Authority("other.org").bundle_pem()), id="cut short"),
]


@pytest.mark.parametrize("content", BROKEN_BUNDLES)
@pytest.mark.parametrize("announced", ["other.org", "spiffe://other.org", "spiffe://No.Domain"])
def test_a_broken_federated_bundle_that_is_not_needed_is_passed_over(
    host: Host, content: bytes, announced: str
) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    host.federate(content, announced=announced)
    offer = host.fetch()
    (identity,) = offer.identities
    assert list(identity.bundles) == ["spike.ist"]
    assert offer.broken == ""


@pytest.mark.parametrize("content", BROKEN_BUNDLES)
@pytest.mark.parametrize("announced", ["other.org", "spiffe://other.org"])
def test_a_broken_federated_bundle_that_is_needed_is_refused(
    host: Host, content: bytes, announced: str
) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    host.federate(content, announced=announced)
    error = host.refusal(needed={"spike.ist", "other.org"})
    assert "federated_bundle.0.0.pem: it holds no PEM certificate" in error.message
    assert error.code == "spiffe_failed_to_extract_x509_svid"


def test_a_broken_federated_bundle_that_nobody_names_may_be_needed_and_is_refused(
    host: Host,
) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    host.federate(b"", announced=None)
    assert "federated_bundle.0.0.pem: it holds no PEM certificate" in host.refusal().message


def no_key(files: Path, number: int) -> None:
    (files / f"svid.{number}.key").unlink()


def garbage_key(files: Path, number: int) -> None:
    text = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    (files / f"svid.{number}.key").write_bytes(text)


def key_of_another(files: Path, number: int) -> None:
    (files / f"svid.{number}.key").write_bytes(AUTHORITY.issue(BOOTSTRAP).key_pem)


def empty_chain(files: Path, number: int) -> None:
    (files / f"svid.{number}.pem").write_bytes(b"")


def no_bundle(files: Path, number: int) -> None:
    (files / f"bundle.{number}.pem").unlink()


def empty_bundle(files: Path, number: int) -> None:
    (files / f"bundle.{number}.pem").write_bytes(b"")


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "between", "last"])
@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (no_key, "a file is missing: No such file or directory"),
        (garbage_key, "its private key cannot be read"),
        (key_of_another, "its private key does not match the certificate"),
        (empty_chain, "svid.{}.pem: it holds no PEM certificate"),
        (no_bundle, "a file is missing: No such file or directory"),
        (empty_bundle, "bundle.{}.pem: it holds no PEM certificate"),
    ],
)
def test_a_broken_svid_is_passed_over_with_the_reason(
    host: Host, spoil: Callable[[Path, int], None], problem: str, place: int
) -> None:
    ids = [f"spiffe://spike.ist/{name}" for name in ("a", "b", "c")]
    for number, spiffe_id in enumerate(ids):
        host.hand_out(number, AUTHORITY.issue(spiffe_id), AUTHORITY)
    spoil(host.files, place)
    offer = host.fetch()
    good = [spiffe_id for number, spiffe_id in enumerate(ids) if number != place]
    assert [str(identity.spiffe_id) for identity in offer.identities] == good
    assert offer.broken == problem.format(place)
    assert list(host.runtime.iterdir()) == []


@pytest.mark.timing
def test_a_command_that_never_ends_is_killed_with_its_children(host: Host) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    # The pipe is open for as long as one of the two processes lives.
    alive = host.files.parent / "alive"
    os.mkfifo(alive)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    # Without another writer, one that never came to open it would pass for one that lives.
    writer = os.open(alive, os.O_WRONLY)
    try:
        host.install(f'cp {host.files}/* "$9"; exec 3>{alive}; sleep 60 & sleep 60')
        started = time.monotonic()
        error = host.refusal("0.5s")
        assert 0.4 < time.monotonic() - started < 0.5 + SLACK
        os.close(writer)
        readable, _unused, _unused = select.select([reader], [], [], 5)
        assert readable, "a process of the command is still alive"
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
    assert "within 0.5s" in error.message


def test_a_run_that_ends_takes_the_command_and_its_files_with_it(host: Host) -> None:
    ready = host.files.parent / "ready"
    os.mkfifo(ready)
    host.install(f'touch "$9"/svid.0.key; echo "$$" > {ready}; exec sleep 60')
    reader = os.open(ready, os.O_RDONLY | os.O_NONBLOCK)

    def fetches() -> bool:
        # The run ends as soon as the command has begun to write.
        return bool(select.select([reader], [], [], 0)[0])

    try:
        with pytest.raises(IdentityError):
            host.fetch(stopped=fetches)
        command = int(os.read(reader, 4096))
    finally:
        os.close(reader)
    with pytest.raises(ProcessLookupError):
        os.kill(command, 0)
    assert list(host.runtime.iterdir()) == []


def test_the_key_that_a_killed_run_left_is_gone_after_the_next(host: Host) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    ready = host.files.parent / "ready"
    os.mkfifo(ready)
    host.install(f'cp {host.files}/* "$9"; echo "$$ $9" > {ready}; exec sleep 60')
    reader = os.open(ready, os.O_RDONLY | os.O_NONBLOCK)
    with start_python(FETCH, str(host.program), str(host.socket), str(host.runtime)) as run:
        try:
            assert select.select([reader], [], [], PATIENCE_SECONDS)[0], "it fetches nothing"
            command, written = os.read(reader, 4096).decode().split()
        finally:
            os.close(reader)
            run.kill()
        assert run.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    os.kill(int(command), signal.SIGKILL)
    left = Path(written, "svid.0.key")
    assert b"PRIVATE KEY" in left.read_bytes()
    assert host.runtime in left.parents
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    host.fetch()
    assert list(host.runtime.iterdir()) == []


def test_the_command_is_told_the_time_that_it_has(host: Host) -> None:
    host.install('echo "time $7" >&2; exit 1')
    assert "time 90.000000000s" in host.refusal("1m30s").message


def test_the_command_is_told_a_time_and_not_our_words_for_it(host: Host) -> None:
    host.install('echo "time $7" >&2; exit 1')
    clipped = Duration(2.5, "the whole run's 5s")
    with pytest.raises(IdentityError, match=r"time 2\.500000000s"):
        fetch_with_spire_agent(
            str(host.program), str(host.socket), clipped, str(host.runtime), RULE, NEEDED
        )


def test_a_command_that_is_not_there_is_named(host: Host) -> None:
    error = host.refusal(program="/nonexistent/spire-agent")
    assert error.option == "spire_agent_path"
    assert "/nonexistent/spire-agent cannot be run: No such file or directory" in error.message


def test_a_command_that_may_not_be_run_is_named(host: Host) -> None:
    host.program.write_text(ARGUMENTS)
    host.program.chmod(0o644)
    error = host.refusal()
    assert error.option == "spire_agent_path"
    assert "cannot be run: Permission denied" in error.message


def test_a_command_is_looked_up_in_the_path(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    monkeypatch.setenv("PATH", str(host.program.parent), prepend=os.pathsep)
    assert len(host.fetch(program="spire-agent").identities) == 1


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        pytest.param("echo first >&2; echo last >&2; exit 3", "status 3: last;", id="last line"),
        pytest.param("printf '%0300d' 0 >&2; exit 1", f"status 1: {'0' * 200};", id="cut"),
        pytest.param(r"printf 'a\033[31mb' >&2; exit 1", "status 1: a?[31mb;", id="control"),
        pytest.param(r"printf 'a\377b\n\n' >&2; exit 1", "status 1: a\ufffdb;", id="not UTF-8"),
        pytest.param("exit 1", "status 1: it did not say why;", id="silent"),
        pytest.param("kill -9 $$", "status -9: it did not say why;", id="killed"),
    ],
)
def test_a_command_that_fails_is_quoted_in_one_short_line(
    host: Host, script: str, shown: str
) -> None:
    host.install(script)
    assert shown in host.refusal().message


def test_an_agent_that_knows_no_entry_says_how_to_make_one(host: Host) -> None:
    host.install('echo "rpc error: code = PermissionDenied desc = no identity issued" >&2; exit 1')
    message = host.refusal().message
    assert "no identity issued" in message
    assert f"-spiffeID {BOOTSTRAP} -selector unix:uid:{os.geteuid()}" in message


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        pytest.param("exit 0", "it wrote no svid.0.pem", id="nothing"),
        pytest.param(
            'cp {files}/* "$9"; rm "$9/svid.0.key"', "a file is missing: No such file", id="no key"
        ),
        pytest.param(
            'cp {files}/* "$9"; rm "$9/bundle.0.pem"', "a file is missing", id="no bundle"
        ),
        pytest.param(
            'cp {files}/* "$9"; : > "$9/svid.0.pem"',
            "svid.0.pem: it holds no PEM certificate",
            id="empty chain",
        ),
        pytest.param(
            'cp {files}/* "$9"; : > "$9/svid.0.key"', "it holds no PEM private key", id="empty key"
        ),
        pytest.param(
            'cp {files}/* "$9"; : > "$9/bundle.0.pem"',
            "bundle.0.pem: it holds no PEM certificate",
            id="empty bundle",
        ),
    ],
)
def test_a_command_that_leaves_no_usable_svid_is_refused(
    host: Host, script: str, problem: str
) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    host.install(script.format(files=host.files))
    error = host.refusal()
    assert problem in error.message
    assert error.code == "spiffe_failed_to_extract_x509_svid"


def test_a_socket_that_is_not_there_is_named_before_anything_runs(host: Host) -> None:
    ran = host.files.parent / "ran"
    host.install(f"touch {ran}")
    host.socket.unlink()
    error = host.refusal()
    assert error.option == "spiffe_endpoint_socket"
    assert f"{host.socket}: No such file or directory" in error.message
    assert not ran.exists()


def test_a_runtime_directory_that_is_not_there_is_named(host: Host) -> None:
    host.hand_out(0, AUTHORITY.issue(BOOTSTRAP), AUTHORITY)
    missing = host.runtime / "missing"
    with pytest.raises(IdentityError, match=f"^runtime_dir: {missing}: .*No such file"):
        fetch_with_spire_agent(
            str(host.program), str(host.socket), parse_duration("5s"), str(missing), RULE, NEEDED
        )

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our identity from ``spire-agent api fetch x509``: no Python package needed.

The agent's command writes the SVIDs, keys included, into a directory. It gets a new one, mode
0700, in the runtime directory, which is in memory. It is removed whatever happens: by the next
run, if this one is killed.

Source: SPIRE, cmd/spire-agent/cli/api/fetch_x509.go.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import IdentityError
from .._uncut import UNCUT
from .from_workload_api import (
    agent_offer,
    check_socket,
    registration_hint,
    socket_path,
)
from .scratch_dir import scratch_directory
from .spiffe_id import parse_trust_domain
from .svid import (
    Identity,
    Offer,
    authority_trust_domain,
    build_identity,
    certificates_from_pem,
    leaf_spiffe_id,
    private_key_from_pem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .._clock import Duration
    from .._third_party import x509
    from .spiffe_id import IdRule

_FEDERATED = re.compile(r"Writing federated bundle #\d+ for trust domain (\S+) to file (.+)\.")
_PREFIX = "svid-"
_SHOWN = 200
# How often a run that waits for the command looks whether it is to end.
_GLANCE_SECONDS = 0.1


def fetch_with_spire_agent(
    program: str,
    endpoint: str | None,
    timeout: Duration,
    runtime_dir: str,
    rule: IdRule,
    needed: Collection[str],
    stopped: Callable[[], bool] = lambda: False,
) -> Offer:
    """Have ``program`` (spire-agent) fetch all X.509-SVIDs that this process may have.

    ``endpoint`` is a path, a ``unix:`` URL or None for SPIRE's default. ``rule`` only serves to
    say which registration entry is missing. A federated bundle that cannot be read matters only for
    a trust domain that is ``needed``. Raises IdentityError, within ``timeout``, or when ``stopped``
    says so. A signal that ends the run is heard within a moment, and ends it when the program has
    been ended and its files are gone.
    """
    with UNCUT, contextlib.ExitStack() as resources:
        path = socket_path(endpoint)
        check_socket(path, timeout)
        try:
            directory = resources.enter_context(scratch_directory(runtime_dir, _PREFIX))
            written = Path(directory, "written")
            written.mkdir()
        except OSError as error:
            raise IdentityError(
                f"{runtime_dir}: no directory can be made there: {error.strerror}",
                "give one in memory that the user who runs the task owns",
                option="runtime_dir",
            ) from None
        said = _run(program, path, timeout, written, rule, lambda: UNCUT.told or stopped())
        identities, broken = _identities(program, written, said, needed)
        return agent_offer(identities, f"from spire-agent at {path}", rule, broken)


def _run(
    program: str,
    path: str,
    timeout: Duration,
    written: Path,
    rule: IdRule,
    stopped: Callable[[], bool],
) -> str:
    """Run the command and return what it said; IdentityError when it fails or is too slow."""
    command = [program, "api", "fetch", "x509"]
    # Not the text, which is for people: where the whole run's time is the shorter, it says so.
    seconds = f"{timeout.seconds:.9f}s"
    command += ["-socketPath", path, "-timeout", seconds, "-write", str(written)]
    # Files, not pipes: whatever the command leaves running cannot keep us waiting for their end.
    with (written.parent / "out").open("w+b") as out, (written.parent / "err").open("w+b") as err:
        try:
            # A module's run_command has no time limit, and this has no module at hand.
            # pylint: disable-next=ansible-bad-function
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        except OSError as error:
            raise IdentityError(
                f"{program} cannot be run: {error.strerror}",
                "install spire-agent on this host, or give its full path",
                option="spire_agent_path",
            ) from None
        status = _wait(child, timeout.seconds, stopped)
        out.seek(0)
        err.seek(0)
        said, complaint = (stream.read().decode(errors="replace") for stream in (out, err))
    if status is None:
        raise IdentityError(
            f"{program} had no SVID from {path} within {timeout.text}",
            "check that the agent is healthy (spire-agent healthcheck), or raise"
            " {spiffe_source_timeout}",
            option="svid_source",
        )
    if status != 0:
        raise _failure(program, status, complaint, rule)
    return said


def _wait(
    child: subprocess.Popen[bytes], seconds: float, stopped: Callable[[], bool]
) -> int | None:
    """Return the exit status; None, with the child's whole process group killed, if too slow."""
    ends_at = time.monotonic() + seconds
    try:
        while not stopped() and (left := ends_at - time.monotonic()) > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(min(left, _GLANCE_SECONDS))
        return None
    finally:
        # A child that is not reaped yet still owns its number, and so that of its group.
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _failure(program: str, status: int, complaint: str, rule: IdRule) -> IdentityError:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    last = lines[-1][:_SHOWN] if lines else "it did not say why"
    shown = "".join(character if character.isprintable() else "?" for character in last)
    unregistered = "PermissionDenied" in complaint
    remedy = registration_hint(rule) if unregistered else "look at the agent's log"
    return IdentityError(
        f"{program} api fetch x509 failed with status {status}: {shown}",
        remedy,
        option="svid_source",
    )


def _identities(
    program: str, written: Path, said: str, needed: Collection[str]
) -> tuple[tuple[Identity, ...], str]:
    """The identities that can be used, and why one cannot, empty where all can."""
    announced = {Path(file).name: domain for domain, file in _FEDERATED.findall(said)}
    identities: list[Identity] = []
    problem = ""
    for number in count():
        if not (written / f"svid.{number}.pem").exists():
            break
        try:
            identities.append(_identity(written, number, announced, needed))
        except OSError as error:
            problem = f"a file is missing: {error.strerror}"
        except ValueError as error:
            problem = str(error)
    # Raised here, not above: what was caught there has seen the key's bytes.
    if not identities:
        problem = problem or "it wrote no svid.0.pem"
        raise IdentityError(
            f"{program} exited well but left no usable SVID: {problem}",
            "check that it is spire-agent",
            option="spire_agent_path",
            code="spiffe_failed_to_extract_x509_svid",
        )
    return tuple(identities), problem


def _identity(
    written: Path, number: int, announced: Mapping[str, str], needed: Collection[str]
) -> Identity:
    chain = _certificates(written / f"svid.{number}.pem")
    private_key = private_key_from_pem((written / f"svid.{number}.key").read_bytes())
    bundles = {}
    for path in sorted(written.glob(f"federated_bundle.{number}.*.pem")):
        domain = announced.get(path.name)
        try:
            anchors = _certificates(path)
            domain = _trust_domain(domain, anchors)
        except ValueError:
            # It is announced by its SPIFFE ID.
            if domain is None or any(domain in (name, f"spiffe://{name}") for name in needed):
                raise
            continue
        if domain is not None:
            bundles[domain] = anchors
    bundles[leaf_spiffe_id(chain[0]).trust_domain] = _certificates(written / f"bundle.{number}.pem")
    return build_identity(chain, private_key, bundles)


def _certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return certificates_from_pem(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def _trust_domain(announced: str | None, anchors: tuple[x509.Certificate, ...]) -> str | None:
    """Return whose bundle it is, None if nobody says so.

    The command says it on its output. The anchors name their trust domain as well, but only
    those that SPIRE made itself: the root of an upstream authority does not.
    """
    if announced is not None:
        return parse_trust_domain(announced)
    named = {authority_trust_domain(anchor) for anchor in anchors}
    return named.pop() if len(named) == 1 else None


__all__ = ["fetch_with_spire_agent"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sandbox that outlives the process that started it, known by the directory it lives in.

Everything this needs is imported here at the top: a module's code lies in an archive that is
deleted while the daemon goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from .._dataclass import dataclass
from .._errors import (
    ConfigError,
    DayZeroError,
)
from .._state.memory_dir import lies_in_memory
from .cluster import (
    Sandbox,
    check_plan,
)
from .description import (
    describe,
    inventory,
)
from .port import SandboxError
from .process import ProcessId

_RECORD = "sandbox.json"
_INVENTORY = "inventory.yml"
_LOG = "sandbox.log"
_STATE = "state"
_UNFINISHED = f"{_RECORD}.new"
_OWN_NAMES = frozenset({_RECORD, _UNFINISHED, _INVENTORY, _LOG, _STATE, "identity", "nexus"})

# What can be refused before anything is touched.
_PLAN = (
    "keepers",
    "threshold",
    "scheme",
    "faults",
    "nexus_behaviour",
    "nexus_poll_seconds",
    "lifetime_seconds",
    "nexus_keepers",
    "nexus_threshold",
)

_START_SECONDS = 30.0
_LOCK_SECONDS = 30.0
_LOCK_POLL_SECONDS = 0.05
_RESTART = signal.SIGUSR1
# A connection's thread needs little, and there may be one for each attempt at 1000 keepers.
_STACK_BYTES = 512 * 1024


@dataclass(frozen=True)
class Outcome:
    """What was done; ``record`` describes the running sandbox, None: there is none."""

    changed: bool
    record: dict[str, Any] | None


def start(directory: Path, arguments: dict[str, Any], *, dry_run: bool = False) -> Outcome:
    """See to it that a sandbox with these ``arguments`` (those of Sandbox) runs in ``directory``.

    One that runs with other arguments is replaced. When this returns, its servers accept. With
    ``dry_run`` nothing is done, and the record of one that would be started is None.

    Raises DayZeroError, and OSError about the directory.
    """
    # As it will be read back, with text for keys.
    arguments = json.loads(json.dumps(arguments))
    check_plan(**{name: arguments[name] for name in _PLAN})
    directory = directory.absolute()
    if dry_run:
        record = _running(directory)
        changed = record is None or record["arguments"] != arguments
        return Outcome(changed, None if changed else record)
    _prepare(directory)
    with _locked(directory):
        record = _running(directory)
        if record is not None and record["arguments"] == arguments:
            return Outcome(False, record)
        _remove(directory)
        try:
            _launch(directory, arguments)
        except BaseException:
            _remove_files(directory, keep=_LOG)
            raise
        return Outcome(True, _running(directory))


def stop(directory: Path, *, dry_run: bool = False) -> Outcome:
    """See to it that no sandbox runs in ``directory``, and remove what one has written there.

    Raises DayZeroError, and OSError about the directory.
    """
    directory = directory.absolute()
    exists = (directory / _RECORD).exists()
    if dry_run or not exists:
        return Outcome(exists, None)
    with _locked(directory):
        return Outcome(_remove(directory), None)


def restart(directory: Path, *, dry_run: bool = False) -> Outcome:
    """Restart every keeper and Nexus of the sandbox in ``directory`` at once: all shards are lost.

    Nexus's database stays, as on a disk. Raises DayZeroError where none runs.
    """
    directory = directory.absolute()
    record = _running(directory)
    if record is None:
        raise SandboxError(f"no sandbox runs in {directory}")
    if not dry_run:
        with _locked(directory):
            os.kill(record["process"]["pid"], _RESTART)
            deadline = time.monotonic() + _START_SECONDS
            while (_read(directory) or {}).get("restarts", 0) == record.get("restarts", 0):
                if time.monotonic() >= deadline:
                    raise SandboxError(f"the sandbox did not restart within {_START_SECONDS:g} s")
                time.sleep(_LOCK_POLL_SECONDS)
    return Outcome(True, _running(directory))


def _prepare(directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    if directory.is_symlink() or not directory.is_dir():
        raise ConfigError("directory", f"{directory} is not a directory")
    if directory.stat().st_uid != os.geteuid():
        raise ConfigError("directory", f"{directory} belongs to another user")
    # Its mode is changed below, and its files are removed in the end.
    foreign = sorted({path.name for path in directory.iterdir()} - _OWN_NAMES)
    if foreign:
        raise ConfigError(
            "directory", f"{directory} holds {foreign[0]}; give one for the sandbox alone"
        )
    directory.chmod(0o700)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise SandboxError(f"somebody else is at work in {directory}") from None
                time.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _read(directory: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((directory / _RECORD).read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        raise SandboxError(f"{directory / _RECORD} cannot be read; remove {directory}") from None
    return dict(record)


def _running(directory: Path) -> dict[str, Any] | None:
    record = _read(directory)
    if record is None or not ProcessId(**record["process"]).alive:
        return None
    return record


def _remove(directory: Path) -> bool:
    """End the sandbox, if it still runs, and remove what it wrote; False if there was none."""
    record = _read(directory)
    if record is not None:
        ProcessId(**record["process"]).end()
    _remove_files(directory)
    return record is not None


def _remove_files(directory: Path, keep: str | None = None) -> None:
    record = _read(directory)
    if record is not None and record["bootstrap"]["runtime_dir"] is not None:
        shutil.rmtree(record["bootstrap"]["runtime_dir"], ignore_errors=True)
    for name in sorted(_OWN_NAMES - {keep}):
        path = directory / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _launch(directory: Path, arguments: dict[str, Any]) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            _serve_and_exit(directory, arguments, writer)
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    try:
        _await_start(directory, reader)
    finally:
        os.close(reader)


def _await_start(directory: Path, reader: int) -> None:
    """Read the daemon's two lines: its number, and nothing or why it could not start."""
    deadline = time.monotonic() + _START_SECONDS
    received = b""
    while select.select([reader], [], [], max(0, deadline - time.monotonic()))[0]:
        data = os.read(reader, 65536)
        if not data:
            break
        received += data
    else:
        pid = received.partition(b"\n")[0]
        daemon = ProcessId.of(int(pid)) if pid else None
        if daemon is not None:
            daemon.end()
        raise SandboxError(f"the sandbox did not start within {_START_SECONDS:g} s")
    problem = received.partition(b"\n")[2].decode()
    if problem or not (directory / _RECORD).exists():
        raise SandboxError(problem or f"the sandbox ended while it started; see {directory}/{_LOG}")


def _serve_and_exit(directory: Path, arguments: dict[str, Any], writer: int) -> NoReturn:
    status = 1
    try:
        _detach(directory / _LOG, writer)
        os.write(writer, b"%d\n" % os.getpid())
        _serve(directory, arguments, writer)
        status = 0
    except BaseException as problem:
        traceback.print_exc()
        with contextlib.suppress(OSError):
            message = problem.message if isinstance(problem, DayZeroError) else repr(problem)
            os.write(writer, message.encode())
    finally:
        # Nothing that the starting process had registered may run a second time here.
        os._exit(status)


def _detach(log: Path, writer: int) -> None:
    os.chdir("/")
    os.umask(0o077)
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in ((0, null), (1, output), (2, output)):
        os.dup2(source, target)
    # Whoever waits for the end of our output, or for the lock, must not wait for the daemon.
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != writer:
            with contextlib.suppress(OSError):
                os.close(int(name))


def _serve(directory: Path, arguments: dict[str, Any], writer: int) -> None:
    # Before there are threads: they inherit the mask, and the signal is waited for below.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, {*ending, _RESTART})
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.stack_size(_STACK_BYTES)
    lifetime = float(arguments["lifetime_seconds"])
    ends_at = time.monotonic() + lifetime
    with Sandbox(directory, **arguments) as sandbox:
        _publish(directory, arguments, sandbox)
        os.close(writer)
        while True:
            left = max(0.0, ends_at - time.monotonic())
            asked = signal.sigtimedwait({*ending, _RESTART}, left)
            if asked is None or asked.si_signo != _RESTART:
                break
            sandbox.restart()
            record = _read(directory) or {}
            _write_record(directory, {**record, "restarts": record.get("restarts", 0) + 1})
    if asked is None:
        # Whoever asked removes the files too, and holds the lock while it waits for our end.
        for number in ending:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ending)
        with _locked(directory):
            _remove_files(directory)


def _publish(directory: Path, arguments: dict[str, Any], sandbox: Sandbox) -> None:
    state_dir = directory / _STATE
    state_dir.mkdir(mode=0o700)
    process = ProcessId.of(os.getpid())
    if process is None:
        raise RuntimeError("/proc does not know this process")
    now = datetime.datetime.now(datetime.timezone.utc)
    ends_at = now + datetime.timedelta(seconds=arguments["lifetime_seconds"])
    record = {
        "process": dataclasses.asdict(process),
        "arguments": arguments,
        "ends_at": ends_at.isoformat(timespec="seconds"),
        "log": str(directory / _LOG),
        "inventory": str(directory / _INVENTORY),
        **describe(sandbox, state_dir, _make_runtime_dir()),
    }
    (directory / _INVENTORY).write_text(inventory(record))
    _write_record(directory, record)


def _write_record(directory: Path, record: dict[str, Any]) -> None:
    unfinished = directory / _UNFINISHED
    unfinished.write_text(json.dumps(record, indent=2) + "\n")
    unfinished.rename(directory / _RECORD)


def _make_runtime_dir() -> Path | None:
    """Make a private directory in memory, or None where there is no place for one."""
    for base in ("/run", "/dev/shm"):  # noqa: S108
        if lies_in_memory(base):
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix="spike-sandbox-", dir=base))
    return None


__all__ = ["Outcome", "restart", "start", "stop"]

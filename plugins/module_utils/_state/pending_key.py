# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What survives a crash and is secret: the root key of an unfinished run, in memory only."""

from __future__ import annotations

import contextlib
import hashlib
import os

from .._errors import (
    RERUN,
    Advice,
    StateUnusable,
)
from .._key.root_key import RootKey, wipe
from .._key.shamir import SIZE
from .._steps import StepHook, ignore_step
from .durable_file import (
    read_file,
    replace_file,
    temporary_name,
)

NAME = "root-key"
# The file's name ends in this many hex digits, which distinguish one state directory from another.
_NAME_DIGITS = 16
# The file: this line, the cluster's fingerprint (64 hex digits), a line end, the key's 32 bytes.
_MAGIC = b"dayzero.spike root key 1\n"
_FINGERPRINT = 64
_LENGTH = len(_MAGIC) + _FINGERPRINT + 1 + SIZE


def file_name(state_dir: str) -> str:
    """The name of the file with the key of the run that has its journal in ``state_dir``.

    Clusters that are bootstrapped from one host have a state directory each, and may share the
    directory in memory. The same state directory has the same name, whatever links lead to it.
    """
    place = hashlib.sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()
    return f"{NAME}-{place[:_NAME_DIGITS]}"


class PendingKey:
    """The key of an unfinished run in an open, private, memory-backed directory.

    Journal, lock and key go together: the holder of the lock of ``state_dir`` is alone with its
    key.
    """

    def __init__(
        self, directory: int | None, path: str, state_dir: str, *, step: StepHook = ignore_step
    ) -> None:
        """``directory`` is ``path``, open, or None where it does not exist, and so no key."""
        self._name = file_name(state_dir)
        self.path = os.path.join(path, self._name)
        self._directory = directory
        self._step = step

    def use(self, directory: int | None) -> None:
        """Use the open ``directory``, which has been made since, from now on."""
        self._directory = directory

    def load(self) -> tuple[RootKey, str] | None:
        """The key and the fingerprint of the cluster it was split for; None where there is none.

        A file that is not whole counts as none: the rename that completes it comes before
        anything is sent. Raises StateUnusable where it cannot be read.
        """
        if self._directory is None:
            return None
        problem = step = ""
        try:
            content = read_file(self._directory, self._name, _LENGTH + 1)
        except PermissionError:
            # Not "run as its owner": the directory is this user's, and closed to every other.
            problem = "Permission denied"
            step = f"Let an administrator hand it over with chown {os.geteuid()} {self.path}."
        except OSError as error:
            problem = error.strerror or "unreadable"
            step = f"Let an administrator move {self.path} away: no run has made it."
        if problem:
            raise StateUnusable(
                Advice(
                    f"The unfinished run's key {self.path} cannot be read: {problem}. Nothing was"
                    " sent.",
                    ("It belongs to another user than the running one, or is no file of a run's.",),
                    (step, RERUN),
                )
            )
        if content is None:
            return None
        try:
            if len(content) != _LENGTH or not content.startswith(_MAGIC):
                return None
            fingerprint = content[len(_MAGIC) : len(_MAGIC) + _FINGERPRINT].decode(
                "ascii", "replace"
            )
            secret = content[-SIZE:]
            try:
                return RootKey(secret), fingerprint
            except ValueError:
                return None
            finally:
                wipe(secret)
        finally:
            wipe(content)

    def of_another_state_dir(self, fingerprint: str) -> str | None:
        """The path of a key that a run with another state directory keeps for the same cluster.

        None where there is none. Only what the file says about itself is read, not the key.
        """
        if self._directory is None:
            return None
        header = _header(fingerprint)
        for name in os.listdir(self._directory):
            if name == self._name or not name.startswith(f"{NAME}-"):
                continue
            # What cannot be read as a file is nobody's key.
            with contextlib.suppress(OSError):
                if read_file(self._directory, name, len(header)) == header:
                    return os.path.join(os.path.dirname(self.path), name)
        return None

    def save(self, key: RootKey, fingerprint: str) -> None:
        """Keep ``key`` until Nexus has proved it; raises StateUnusable."""
        if self._directory is None:
            raise ValueError("there is no directory in memory to keep it in")
        content = _header(fingerprint)
        content += key.exposed()
        problem = ""
        try:
            replace_file(self._directory, self._name, content, mode=0o600, step=self._tell)
        except OSError as error:
            problem = error.strerror or "not writable"
        finally:
            wipe(content)
        if problem:
            raise StateUnusable(
                Advice(
                    f"The run's key cannot be kept in {self.path}: {problem}. Nothing was sent.",
                    ("The directory in memory is full, or closed to the running user.",),
                    ("Free memory there, or give another {runtime_dir} in memory.", RERUN),
                )
            )

    def remove(self) -> None:
        """Overwrite and remove the key, and what a crash may have left of writing it."""
        if self._directory is None:
            return
        for name in (self._name, temporary_name(self._name)):
            self._tell(f"{name}: before removal")
            self._remove(name)
            self._tell(f"{name}: removed")

    def _remove(self, name: str) -> None:
        try:
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=self._directory)
            try:
                os.write(descriptor, bytes(_LENGTH))
            finally:
                os.close(descriptor)
            self._tell(f"{name}: overwritten")
            os.unlink(name, dir_fd=self._directory)
        except FileNotFoundError:
            return
        except OSError as error:
            path = os.path.join(os.path.dirname(self.path), name)
            raise StateUnusable(
                Advice(
                    f"The key {path} is no longer needed and cannot be removed: {error.strerror}.",
                    ("The running user may not write to {runtime_dir}.",),
                    (f"Let an administrator remove {path}.", RERUN),
                )
            ) from None

    def _tell(self, step: str) -> None:
        # A step is called the same in every run, wherever its state directory is.
        self._step(step.replace(self._name, NAME))


def _header(fingerprint: str) -> bytearray:
    return bytearray(_MAGIC + fingerprint.encode() + b"\n")


__all__ = ["NAME", "PendingKey", "file_name"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root file systems of Debian's releases: made once by debootstrap, kept in ``build/hosts``."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.dayzero.spike.tests.hosts.leftovers import locked, unmount_below

_CACHE = Path(__file__).resolve().parents[2] / "build" / "hosts"
_MIRROR = "http://deb.debian.org/debian"
_PACKAGES = (
    "systemd,systemd-sysv,dbus,acl,openssh-server,sudo,iproute2,nftables,procps,ca-certificates,"
    "python3,python3-apt,python3-cffi-backend,python3-cryptography,python3-requests,python3-venv"
)
ROOT_PASSWORD = "only on these hosts"
_SECONDS = 400


class Missing(Exception):
    """This machine cannot have such hosts; the message says what is missing, in one line."""


def check_machine() -> None:
    """Raise Missing where hosts cannot be made here."""
    if os.geteuid() != 0:
        raise Missing("the hosts need root")
    for program, package in {
        "debootstrap": "debootstrap",
        "systemd-nspawn": "systemd-container",
        "ip": "iproute2",
        "ssh": "openssh-client",
    }.items():
        if shutil.which(program) is None:
            raise Missing(f"{program} is missing (Debian: apt install {package})")
    _try_namespaces()


def _try_namespaces() -> None:
    """Root in a container may be root without the rights to make what a host is made of."""
    with tempfile.TemporaryDirectory(prefix="dayzero-spike-probe-") as place:
        lines = (
            f"mount -t tmpfs tmpfs {place} && cd {place} && mkdir lower upper work root"
            " && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root"
            " && ip link add probe type bridge"
        )
        done = subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "sh", "-c", lines],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise Missing(f"this machine allows no hosts in namespaces: {reason}")


def provide(suites: Iterable[str]) -> None:
    """Make the root file systems that are not there yet, side by side; raises Missing."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    with locked(_CACHE / "lock"), concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(_provide, sorted(set(suites))))


def file_system(suite: str) -> Path:
    """Where the root file system of a release is, once it was provided."""
    return _CACHE / suite


def _provide(suite: str) -> None:
    tree = file_system(suite)
    if tree.exists():
        return
    # Only a whole one gets the name.
    part = _CACHE / f"{suite}.part"
    if part.exists():
        unmount_below(part)
        shutil.rmtree(part)
    # Whatever it mounts and starts ends with it, should it be killed.
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
    command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, str(part)]
    try:
        done = subprocess.run(
            [*alone, *command, os.environ.get("DEBIAN_MIRROR", _MIRROR)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"debootstrap of {suite} took more than {_SECONDS} s") from None
    if done.returncode:
        last = " ".join((done.stdout + done.stderr).split())[-300:]
        raise Missing(f"debootstrap of {suite} failed: {last}")
    for line in (
        "useradd --create-home --shell /bin/bash ops",
        "useradd --create-home --shell /bin/bash plain",
        f"echo 'root:{ROOT_PASSWORD}' | chpasswd",
        "echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops",
        "systemctl enable systemd-networkd ssh",
        "systemctl disable apt-daily.timer apt-daily-upgrade.timer || true",
        "rm -rf /var/cache/apt/archives/*.deb",
    ):
        subprocess.run(["chroot", str(part), "sh", "-c", line], check=True, capture_output=True)
    part.rename(tree)


__all__ = ["ROOT_PASSWORD", "Missing", "check_machine", "file_system", "provide"]

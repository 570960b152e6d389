# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep the real hosts running between two commands: ``stand.py up|down DIRECTORY``.

``up`` returns when the hosts have booted and ``inventory.json`` is in the directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT / "build" / "tree"))

from ansible_collections.dayzero.spike.tests.hosts.cluster import Cluster, prepare  # noqa: E402
from ansible_collections.dayzero.spike.tests.hosts.file_system import Missing  # noqa: E402
from ansible_collections.dayzero.spike.tests.hosts.machines import hosts, wait_for  # noqa: E402

_SUITES = {
    "keeper1": "bookworm",
    "keeper2": "trixie",
    "keeper3": "bookworm",
    "nexus1": "trixie",
}
# Nobody forgets hosts for longer than this.
_LIFETIME_SECONDS = 1800


def up(directory: Path) -> None:
    """Boot the hosts in a process of their own, and return when they are there."""
    directory.mkdir(parents=True, exist_ok=True)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _keep(directory, write)
        os._exit(0)
    os.close(write)
    (directory / "pid").write_text(str(pid))
    with os.fdopen(read) as word:
        said = word.read()
    if said != "ready":
        sys.exit(said or f"the hosts did not come up, see {directory / 'log'}")


def _keep(directory: Path, write: int) -> None:
    os.setsid()
    log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    signal.signal(signal.SIGALRM, lambda *_: sys.exit())
    signal.alarm(_LIFETIME_SECONDS)
    try:
        with hosts(_SUITES, prepare) as site:
            cluster = Cluster(site, "nexus1", directory)
            cluster.fresh()
            (directory / "inventory.json").write_text(json.dumps(cluster.inventory()))
            os.write(write, b"ready")
            os.close(write)
            while True:
                signal.pause()
    except (SystemExit, KeyboardInterrupt):
        return
    except Missing as problem:
        os.write(write, str(problem).encode())
    except BaseException:
        traceback.print_exc()


def down(directory: Path) -> None:
    """Power the hosts off; return when they are gone."""
    try:
        pid = int((directory / "pid").read_text())
    except FileNotFoundError:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        wait_for("the end of the hosts", lambda: not Path(f"/proc/{pid}").exists())
    (directory / "pid").unlink()


if __name__ == "__main__":
    {"up": up, "down": down}[sys.argv[1]](Path(sys.argv[2]))

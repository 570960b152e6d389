# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``noxfile.py`` from end to end, two sessions at a time: ``matrix.py [--write] [PART ...]``.

It ends with a table of what came of each session, which ``--write`` keeps in ``docs/quality.md``.
Each PART is a part of sessions' names, such as ``core`` or ``'python=3.9'``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import quality

_ROOT = Path(__file__).resolve().parents[1]
_PLACE = _ROOT / "build" / "matrix"
_NOX = [sys.executable, "-m", "nox", "--noxfile", str(_ROOT / "noxfile.py"), "--no-color"]
_SKIPPED = re.compile(r"skipped: (.+?)\.?$", re.MULTILINE)
_TIMES = 2


def main() -> None:
    """Run every session, or those whose names contain an argument; fail where one has failed."""
    listed = subprocess.run([*_NOX, "--list", "--json"], stdout=subprocess.PIPE, check=True)
    sessions = [session["session"] for session in json.loads(listed.stdout)]
    parts = [argument for argument in sys.argv[1:] if argument != quality.WRITE]
    wanted = [name for name in sessions if not parts or any(part in name for part in parts)]
    _PLACE.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_TIMES) as pool:
        rows = list(pool.map(_row, wanted))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [
        f"{session:{widths[0]}}  {result:{widths[1]}}  {details}"
        for session, result, details in rows
    ]
    results = [result for _session, result, _details in rows]
    counted = {word: results.count(word) for word in ("passed", "failed", "skipped")}
    lines.append(", ".join(f"{count} {word}" for word, count in counted.items()))
    print("\n".join(lines))
    if quality.WRITE in sys.argv:
        quality.keep("make matrix", lines)
    sys.exit(counted["failed"] > 0)


def _row(session: str) -> tuple[str, str, str]:
    directory = _PLACE / "".join(c if c.isalnum() or c in ".-" else "-" for c in session)
    done = subprocess.run(
        [*_NOX, "--session", session],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    versions = directory / "versions"
    details = versions.read_text() if versions.exists() else ""
    skipped = _SKIPPED.search(done.stdout)
    if skipped:
        return session, "skipped", skipped[1]
    if done.returncode == 0:
        return session, "passed", details
    print(done.stdout, flush=True)
    # What is not released yet is looked at, and cannot make a commit bad that was good.
    preview = re.search(r"ansible-core \S*(?:a|b|rc|dev)\d", details)
    return session, "preview fails" if preview else "failed", details


if __name__ == "__main__":
    main()

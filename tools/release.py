# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the fragments a release: ``make release``, or ``make release VERSION=1.1.0``.

The version goes to ``galaxy.yml`` and to where modules find it, the fragments to ``CHANGELOG.md``.
Nothing is committed, tagged or published: what is left to do is printed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

# Of another repository where a test says so.
ROOT = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).resolve().parents[1])
_GALAXY = ROOT / "galaxy.yml"
_CONSTANT = ROOT / "plugins" / "module_utils" / "_release.py"
_CHANGELOG = ROOT / "changelogs" / "changelog.yaml"
_FRAGMENTS = ROOT / "changelogs" / "fragments"
_TOOL = Path(sys.executable).parent / "antsibull-changelog"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def main() -> None:
    """Make the release; exit with a sentence where it cannot be made."""
    version = sys.argv[1] if len(sys.argv) > 1 else ""
    version = version or yaml.safe_load(_GALAXY.read_text())["version"]
    if not _VERSION.fullmatch(version):
        sys.exit(f"VERSION: '{version}' is no version such as 1.0.0")
    if version in (yaml.safe_load(_CHANGELOG.read_text()).get("releases") or {}):
        sys.exit(f"{version} is released. For the next one: make release VERSION=...")
    if not list(_FRAGMENTS.glob("*.yml")):
        sys.exit(f"{_FRAGMENTS.relative_to(ROOT)} is empty: there is nothing to release")
    _set(_GALAXY, r"^version: .*$", f"version: {version}")
    _set(_CONSTANT, r'^COLLECTION = ".*"$', f'COLLECTION = "{version}"')
    for arguments in (["lint"], ["release", "--version", version]):
        done = subprocess.run([str(_TOOL), *arguments], cwd=ROOT, check=False)
        if done.returncode != 0:
            sys.exit(f"antsibull-changelog {arguments[0]} has failed, see above")
    print(
        f"CHANGELOG.md has {version}. Look at it, and then:\n"
        f"  git add --all && git commit --message 'Release {version}'\n"
        f"  git tag --annotate {version} --message 'Release {version}'\n"
        "  ansible-galaxy collection build\n"
        f"  ansible-galaxy collection publish dayzero-spike-{version}.tar.gz"
    )


def _set(path: Path, pattern: str, line: str) -> None:
    text, count = re.subn(pattern, line, path.read_text(), flags=re.MULTILINE)
    if count != 1:
        sys.exit(f"{path.relative_to(ROOT)} has {count} lines like {pattern}")
    path.write_text(text)


if __name__ == "__main__":
    main()

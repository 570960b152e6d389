# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Galaxy, Automation Hub and a reader get: ``galaxy.py [--write] [STEP ...]``.

The archive is built and installed in ``build/galaxy``. Galaxy's importer takes it, the environment
of ``docs/examples`` is made for it, and its pages are built, all without a warning. ``--write``
keeps the outcome in ``docs/quality.md``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import quality
from pythons import Missing, environment

_ROOT = Path(__file__).resolve().parents[1]
_PLACE = _ROOT / "build" / "galaxy"
_NAME = "dayzero.spike"
_TREE = _PLACE / "installed"
_INSTALLED = _TREE / "ansible_collections" / "dayzero" / "spike"
_PAGES = _PLACE / "pages"
_PYTHONS = ("3.13", "3.12", "3.14")
# As Automation Hub has them: stricter than Galaxy, which takes whatever it takes.
_IMPORTER = {
    "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "True",
    "GALAXY_IMPORTER_REQUIRE_V1_OR_GREATER": "True",
}
_COMPLAINT = re.compile(r"^(WARNING|ERROR|CRITICAL|Traceback)", re.MULTILINE)
_CONFIGURATION = """
# Written by tests/galaxy.py.
project = "dayzero.spike"
copyright = "the dayzero.spike authors"
title = html_short_title = "Day zero of SPIKE"
extensions = ["sphinx_antsibull_ext"]
html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_copy_source = False
html_use_index = False
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
default_role = "any"
nitpicky = True
# Pages of Ansible's own documentation, which is not built here and not asked for.
nitpick_ignore_regex = [
    (
        "std:ref",
        r"ansible_collections\\.ansible\\.builtin\\..*|common_return_values|action_plugins"
        r"|ansible_configuration_settings",
    )
]
"""


class Failed(Exception):
    """A step that did not end well; what it said was printed, or is the text."""


def main() -> None:
    """Take the steps that are named, or all; exit with their number of failures."""
    names = [name for name in sys.argv[1:] if name != quality.WRITE] or list(_STEPS)
    if set(names) - set(_STEPS):
        sys.exit(f"usage: galaxy.py [{quality.WRITE}] [{'|'.join(_STEPS)} ...]")
    outcomes = []
    try:
        binaries = environment(
            _ROOT / "build" / "galaxy-venv",
            _PYTHONS,
            ["--requirement", str(_ROOT / "requirements-galaxy.txt")],
        )
    except Missing as missing:
        print(f"make galaxy: skipped, {missing}")
        return
    shutil.rmtree(_PLACE, ignore_errors=True)
    _PLACE.mkdir(parents=True)
    _archive(binaries)
    for name in names:
        print(f"== {name}", flush=True)
        try:
            outcomes.append(f"{name}: {_STEPS[name](binaries)}")
        except Failed as failed:
            outcomes.append(f"{name}: FAILED, {failed}")
    failures = sum("FAILED" in outcome for outcome in outcomes)
    outcomes.append(f"{len(outcomes) - failures} passed, {failures} failed")
    print("\n".join(outcomes))
    if quality.WRITE in sys.argv:
        quality.keep("make galaxy", outcomes)
    sys.exit(bool(failures))


def _archive(binaries: Path) -> Path:
    found = list(_PLACE.glob("dayzero-spike-*.tar.gz"))
    if not found:
        _call(binaries, "ansible-galaxy", "collection", "build", "--output-path", str(_PLACE))
        found = list(_PLACE.glob("dayzero-spike-*.tar.gz"))
        _call(
            binaries,
            *("ansible-galaxy", "collection", "install", "--offline"),
            *("--collections-path", str(_TREE), str(found[0])),
        )
    return found[0]


def _importer(binaries: Path) -> str:
    """galaxy-importer, with Automation Hub's settings."""
    said = _call(
        binaries,
        *("python", "-m", "galaxy_importer.main", str(_archive(binaries))),
        environment=_IMPORTER,
        cwd=_PLACE,
    )
    complaints = [line for line in said.splitlines() if _COMPLAINT.match(line)]
    if complaints:
        raise Failed("\n".join(complaints))
    return f"{said.strip().splitlines()[-1]}, without a warning"


def _environment(binaries: Path) -> str:
    """A build context for an execution environment."""
    context = _PLACE / "context"
    definition = _INSTALLED / "docs" / "examples" / "execution-environment.yml"
    _call(
        binaries,
        *("ansible-builder", "create", "--file", str(definition), "--context", str(context)),
        *("--output-filename", "Containerfile"),
    )
    if _NAME not in (context / "_build" / "requirements.yml").read_text():
        raise Failed("the build context does not name the collection")
    found = _call(binaries, "ansible-builder", "introspect", str(_TREE))
    for library in ("cryptography", "requests", "spiffe"):
        if library not in found:
            raise Failed(f"ansible-builder does not see that the collection needs {library}")
    return f"ansible-builder has made {context.relative_to(_ROOT)}"


def _documentation(binaries: Path) -> str:
    """The linter of documentation, over all plugins, roles and extra pages."""
    said = _call(
        binaries,
        *("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck"),
        *("--validate-collection-refs", "self", str(_INSTALLED)),
    )
    if said.strip():
        raise Failed(said)
    return "antsibull-docs lint-collection-docs has found nothing"


def _pages(binaries: Path) -> str:
    """The user guide and the reference as HTML."""
    source = _PAGES / "rst"
    source.mkdir(parents=True, mode=0o755)
    _call(
        binaries,
        *("antsibull-docs", "collection", "--use-current", "--squash-hierarchy"),
        *("--fail-on-error", "--cleanup", "everything", "--dest-dir", str(source), _NAME),
    )
    (_PAGES / "conf.py").write_text(_CONFIGURATION)
    said = _call(
        binaries,
        *("sphinx-build", "-M", "html", str(source), str(_PAGES / "build"), "-c", str(_PAGES)),
        *("-W", "--keep-going", "-q"),
    )
    if said.strip():
        raise Failed(said)
    built = len(list((_PAGES / "build" / "html").rglob("*.html")))
    return f"{built} pages in {(_PAGES / 'build' / 'html').relative_to(_ROOT)}, without a warning"


_STEPS = {
    "galaxy-importer": _importer,
    "execution environment": _environment,
    "documentation": _documentation,
    "pages": _pages,
}


def _call(
    binaries: Path,
    name: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    cwd: Path = _ROOT,
) -> str:
    done = subprocess.run(
        [str(binaries / name), *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(binaries), os.environ["PATH"]]),
            "ANSIBLE_COLLECTIONS_PATH": str(_TREE),
            "ANSIBLE_HOME": str(_PLACE / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "NO_COLOR": "1",
            **(environment or {}),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"{name} has ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write what follows from the documentation of the options: one option, one place.

The doc fragments and the modules' own options are the source. From them come the role's argument
spec, its defaults, what it makes of variables that are null, the options that it hands to both
modules, and the table of settings. ``generate.py`` writes them between their markers,
``generate.py --check`` only compares; ``make generate`` and ``make check`` call it.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
import pictures
import rst

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "spike_bootstrap_"
# Options of the module that the role or the action plugin sets itself.
OF_THE_ROLE = {"naming", "progress"}
# Options of a module for an emergency that its role has in another way, or not at all.
OTHERWISE = {"spike_recover": {"directory"}, "spike_restore": set()}
# What such a role finds out before it gives it to its module.
GIVEN_BY_HAND = {
    "custodians",
    "shards",
    "proof_svid_cert",
    "proof_svid_key",
    "state_dir",
    "runtime_dir",
}
# Options whose default in the role is a variable that all roles share.
SHARED_DEFAULTS = dict.fromkeys(
    ("trust_root_keeper", "trust_root_nexus", "trust_root_bootstrap"),
    "[spike_trust_domain | default('spike.ist', true)]",
)
# How a variable is shown in the table where its default is no value.
_NO_DEFAULT = "none"
_WIDTH = 96
_FALLBACK = re.compile(r"Falls back to E\((\w+)\)")


def documented_options(module: str, *, fragments_only: bool = False) -> dict[str, dict[str, Any]]:
    """The options of ``module`` with those of its fragments, as documented, in their order."""
    documentation = _constant(ROOT / "plugins" / "modules" / f"{module}.py", "DOCUMENTATION")
    options: dict[str, dict[str, Any]] = {}
    for fragment in documentation.get("extends_documentation_fragment", []):
        name = fragment.rpartition(".")[2]
        path = ROOT / "plugins" / "doc_fragments" / f"{name}.py"
        options.update(_constant(path, "DOCUMENTATION")["options"])
    if not fragments_only:
        options.update(documentation.get("options", {}))
    return options


def _constant(path: Path, name: str) -> dict[str, Any]:
    """The YAML text that ``name`` is set to, in the file or in a class of it."""
    # Read, not imported: a module can be imported only where all that it runs on is installed.
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and [target.id for target in node.targets if isinstance(target, ast.Name)] == [name]
        ):
            loaded: dict[str, Any] = yaml.safe_load(str(node.value.value))
            return loaded
    raise LookupError(f"{path} has no {name}")


def spike_variable(option: Mapping[str, Any]) -> str | None:
    """The variable of SPIKE's that an option falls back to."""
    found = _FALLBACK.search(" ".join(_paragraphs(option)))
    return found[1] if found else None


def _paragraphs(option: Mapping[str, Any]) -> list[str]:
    description = option["description"]
    return [description] if isinstance(description, str) else list(description)


def role_paragraphs(option: Mapping[str, Any], prefix: str = PREFIX) -> list[str]:
    """How the role describes an option: it hands every one over, so nothing falls back."""
    paragraphs = [text for text in _paragraphs(option) if not text.startswith("Falls back to")]
    if isinstance(option.get("choices"), dict):
        paragraphs += [f"V({choice}). {text}" for choice, text in option["choices"].items()]
    return [_of_the_role(text, prefix) for text in paragraphs]


def _of_the_role(text: str, prefix: str) -> str:
    text = re.sub(r"\bO\((?=\w+[)=[])", f"O({prefix}", text)
    return re.sub(r"\bRV\((?!ignore:)", "RV(ignore:", text)


def argument_spec() -> str:
    """The role's options that are the module's, as ``meta/argument_specs.yml`` has them."""
    return _specs(_of_the_operator(), PREFIX)


def _specs(options: Iterable[tuple[str, Mapping[str, Any]]], prefix: str) -> str:
    lines: list[str] = []
    for name, option in options:
        lines += _spec(f"{prefix}{name}", option, prefix, indent=6)
    return "\n".join(lines)


def _spec(name: str, option: Mapping[str, Any], prefix: str, *, indent: int) -> list[str]:
    margin = " " * indent
    lines = [f"{margin}{name}:", f"{margin}  description:"]
    for text in role_paragraphs(option, prefix):
        lines.append(f"{margin}    - >-")
        lines += textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=f"{margin}      ",
            subsequent_indent=f"{margin}      ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    lines.append(f"{margin}  type: {option.get('type', 'str')}")
    # Ansible refuses null where there is a default or a choice, and here it is "not set".
    for field in ("elements", "required", "choices"):
        if field in option:
            value = option[field]
            value = [*value, None] if field == "choices" else value
            lines.append(f"{margin}  {field}: {_yaml(value)}")
    if "suboptions" in option:
        lines.append(f"{margin}  options:")
        for sub, suboption in option["suboptions"].items():
            lines += _spec(sub, suboption, prefix, indent=indent + 4)
    return lines


def _of_an_emergency(module: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The options of ``spike_recover`` or ``spike_restore`` that are variables of its role."""
    for name, option in documented_options(module).items():
        if name not in (*OF_THE_ROLE, "keeper_peers", *OTHERWISE[module]):
            yield name, {**option, "required": False}


def emergency_spec(module: str) -> str:
    """The options of such a role that are its module's."""
    return _specs(_of_an_emergency(module), f"{module}_")


def emergency_options(module: str) -> str:
    """What such a role gives its module: its own variable, else that of the bootstrap."""
    shared = documented_options("spike_bootstrap")
    lines = []
    for name, _unused in _of_an_emergency(module):
        if name in GIVEN_BY_HAND:
            continue
        value = f"{module}_{name} | default(omit)"
        if name in shared:
            last = f"_{module}_set.trust_roots" if name in SHARED_DEFAULTS else "omit"
            default = f"default({PREFIX}{name} | default({last}, true), true)"
            if len(default) > _WIDTH - 16:
                default = default.replace(" | ", "\n                   | ", 1)
            value = f"{module}_{name}\n         | {default}"
        elif name == "trust_root_pilot":
            value = f"{module}_{name}\n         | default(_{module}_set.trust_roots, true)"
        folded = [f"    {name}: >-", f"      {{{{ {value} }}}}"]
        line = f'    {name}: "{{{{ {value} }}}}"'
        lines += folded if "\n" in value else [line]
    return "\n".join(lines)


def defaults() -> str:
    """The role's defaults for the module's options; one without a default is commented out."""
    return "\n".join(_default(name, option) for name, option in _of_the_operator())


def _default(name: str, option: Mapping[str, Any]) -> str:
    if name in SHARED_DEFAULTS:
        return f"# null: spike_trust_domain.\n{PREFIX}{name}:"
    if "default" in option:
        return f"{PREFIX}{name}: {_yaml(option['default'])}"
    return f"# {PREFIX}{name}:"


def settings() -> str:
    """The value of every option for the module: null is the default."""
    lines = []
    for name, option in _of_the_operator():
        variable = PREFIX + name
        if "default" in option:
            default = SHARED_DEFAULTS.get(name, repr(option["default"]))
            value = f"[{variable}, {default}] | reject('none') | first"
        elif option.get("required"):
            value = variable
        else:
            value = f"{variable} | default(none)"
        line = f'  {name}: "{{{{ {value} }}}}"'
        broken = value.replace(", ", ",\n        ", 1).replace(" | reject", "\n       | reject", 1)
        folded = [f"  {name}: >-", f"    {{{{ {broken} }}}}"]
        lines += [line] if len(line) <= _WIDTH else folded
    return "\n".join(lines)


def shared() -> str:
    """What both modules are given: the options of the fragments."""
    own = documented_options("spike_bootstrap", fragments_only=True)
    return "\n".join(
        f'      {name}: "{{{{ _spike_bootstrap_set.{name} }}}}"'
        for name, _unused in _of_the_operator()
        if name in own
    )


def elsewhere() -> str:
    """Every variable of the role as another host has it, for a role that asks from there."""
    given = yaml.safe_load((ROOT / "roles/spike_bootstrap/defaults/main.yml").read_text())
    names = [PREFIX + name for name, _unused in _of_the_operator() if name != "keeper_peers"]
    names += [name for name in given if name not in names and name.startswith(PREFIX)]
    lines = []
    for name in names:
        value = f"{{{{ hostvars[_spike_asked].{name} | default(none) }}}}"
        line = f'        {name}: "{value}"'
        folded = [f"        {name}: >-", f"          {value}"]
        lines += [line] if len(line) <= _WIDTH else folded
    return "\n".join(lines)


def table() -> str:
    """The table of settings for people."""
    rows = ["| variable | default | SPIKE's variable |", "|---|---|---|"]
    for name, option in _of_the_operator():
        variable = spike_variable(option)
        default = f"`{_yaml(option['default'])}`" if "default" in option else _NO_DEFAULT
        default = "`[spike_trust_domain]`" if name in SHARED_DEFAULTS else default
        rows.append(f"| `{PREFIX}{name}` | {default} | {f'`{variable}`' if variable else ''} |")
    return "\n".join(rows)


def _of_the_operator() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in documented_options("spike_bootstrap").items():
        if name not in OF_THE_ROLE:
            yield name, option


def _yaml(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return text.removesuffix("\n...").strip()


def guide_pages() -> list[Path]:
    """The pages of ``docs`` that the user guide has too."""
    return sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / name for name in _OURS})


def _page(path: Path) -> str:
    return rst.of_markdown(path.name, path.read_text())


def reference() -> str:
    """The table of contents of those pages."""
    return "\n".join(f"      - {path.stem.replace('-', '_')}" for path in guide_pages())


# Pages for those who work on the collection.
_OURS = {"design.md", "fuzzing.md", "quality.md"}

GENERATED: Mapping[str, Callable[[], str]] = {
    "roles/spike_bootstrap/meta/argument_specs.yml": argument_spec,
    "roles/spike_bootstrap/defaults/main.yml": defaults,
    "roles/spike_bootstrap/vars/main.yml": settings,
    "roles/spike_bootstrap/tasks/with_python.yml": shared,
    "roles/spike_service/tasks/proof.yml": elsewhere,
    "roles/spike_recover/meta/argument_specs.yml": lambda: emergency_spec("spike_recover"),
    "roles/spike_recover/tasks/run.yml": lambda: emergency_options("spike_recover"),
    "roles/spike_restore/meta/argument_specs.yml": lambda: emergency_spec("spike_restore"),
    "roles/spike_restore/tasks/run.yml": lambda: emergency_options("spike_restore"),
    "docs/settings.md": table,
    "docs/docsite/extra-docs.yml": reference,
    "docs/docsite/rst/timeouts.rst": lambda: pictures.inlined(pictures.schedule()),
    "docs/docsite/rst/rerun.rst": lambda: pictures.inlined(pictures.rerun()),
}


def whole_files() -> dict[str, str]:
    """What is generated as a whole file."""
    pages = {
        f"docs/docsite/rst/{path.stem.replace('-', '_')}.rst": _page(path) for path in guide_pages()
    }
    return {
        **pages,
        "docs/pictures/schedule.svg": pictures.schedule(),
        "docs/pictures/rerun.svg": pictures.rerun(),
    }


def renewed(path: Path, text: str) -> str:
    """The content of ``path`` with ``text`` between its two markers."""
    begin, end = (
        re.compile(rf"^.*{word} generated by make generate.*$", re.MULTILINE)
        for word in ("BEGIN", "END")
    )
    content = path.read_text()
    first, last = begin.search(content), end.search(content)
    if first is None or last is None:
        raise LookupError(f"{path} has no markers")
    return f"{content[: first.end()]}\n{text}\n{content[last.start() :]}"


def _contents() -> Iterator[tuple[str, str]]:
    for name, generate in GENERATED.items():
        yield name, renewed(ROOT / name, generate())
    # They show what is written above.
    yield from whole_files().items()


def main() -> None:
    """Write the generated parts, or with ``--check`` say which are stale."""
    check = sys.argv[1:] == ["--check"]
    stale = []
    for name, content in _contents():
        path = ROOT / name
        if not path.exists() or content != path.read_text():
            stale.append(name)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
    if check and stale:
        sys.exit(f"Stale: {', '.join(stale)}. Run: make generate")
    if not check:
        print(f"Written: {', '.join(stale) or 'nothing, all was fresh'}")


if __name__ == "__main__":
    main()

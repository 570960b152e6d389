# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``spike_recover`` and ``spike_restore`` as a host runs them, beside a sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import split
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox
from ansible_collections.dayzero.spike.tests.support.custodian_keys import Owner
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import Result, run_directly

_ON_FAILURE = {"failed", "msg", "why", "what_to_do", "code"}
_ALWAYS = {"changed", "phase", "nexus", "shares", "scheme", "token_opened"}
FIELDS = {
    "spike_recover": _ALWAYS | {"shards", "recovery", "threshold"},
    "spike_restore": _ALWAYS | {"sent", "collected", "remaining", "restored", "proved"},
}


def lines_of(key: bytes, sandbox: Sandbox) -> dict[int, str]:
    """The custodians' lines of ``key``, by index."""
    shards = split(key, sandbox.threshold, len(sandbox.keepers), sandbox.scheme)
    return {index: f"spike:{index}:{shard.hex()}" for index, shard in enumerate(shards, 1)}


def common(host: Host, svid: tuple[Any, Any]) -> dict[str, Any]:
    """The options that both modules have."""
    options = host.options(keeper_timeout=None, init_verification_timeout=None)
    return {**options, "svid_cert": str(svid[0]), "svid_key": str(svid[1])}


def assert_whole(module: str, result: Result) -> None:
    """The result has every field that it must have at its end, and no other."""
    given = {name for name in result if not name.startswith("_ansible")}
    given -= {"option", "invocation", "warnings", "what_to_do"}
    expected = FIELDS[module] | (_ON_FAILURE if result.get("failed") else set())
    assert given == expected - {"what_to_do"}, sorted(given ^ expected)


def options_of_recover(host: Host, owners: Sequence[Owner], **changes: Any) -> dict[str, Any]:
    """The options of ``spike_recover``; ``changes`` that are None leave one out."""
    return _given(
        {
            **common(host, host.sandbox.recover_svid),
            "custodians": [owner.option for owner in owners],
            **changes,
        }
    )


def options_of_restore(
    host: Host, lines: Sequence[str], *, proof: bool = True, **changes: Any
) -> dict[str, Any]:
    """The options of ``spike_restore``; with ``proof`` the bootstrap's identity is at hand."""
    sandbox = host.sandbox
    mine = {"proof_svid_cert": str(sandbox.svid_cert), "proof_svid_key": str(sandbox.svid_key)}
    return _given(
        {
            **common(host, sandbox.restore_svid),
            **(mine if proof else {}),
            "shards": list(lines),
            **changes,
        }
    )


def recover(
    host: Host, owners: Sequence[Owner], *, check: bool = False, prelude: str = "", **changes: Any
) -> Result:
    """Run ``spike_recover``."""
    options = options_of_recover(host, owners, **changes)
    return _run("spike_recover", host, options, check=check, prelude=prelude)


def restore(
    host: Host,
    lines: Sequence[str],
    *,
    check: bool = False,
    proof: bool = True,
    prelude: str = "",
    **changes: Any,
) -> Result:
    """Run ``spike_restore``."""
    options = options_of_restore(host, lines, proof=proof, **changes)
    return _run("spike_restore", host, options, check=check, prelude=prelude)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _run(
    module: str, host: Host, options: Mapping[str, Any], *, check: bool, prelude: str
) -> Result:
    run = run_directly(
        options, environment=host.environment, check=check, prelude=prelude, module=module
    )
    assert_whole(module, run.result)
    assert run.stderr == ""
    return run.result


__all__ = [
    "FIELDS",
    "assert_whole",
    "common",
    "lines_of",
    "options_of_recover",
    "options_of_restore",
    "recover",
    "restore",
]

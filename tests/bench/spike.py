# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A SPIKE of the Go program, fresh for each run, and the module's options for it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.tests.bench.processes import Measured, measure
from ansible_collections.dayzero.spike.tests.interop.go_spike import GoSpike
from ansible_collections.dayzero.spike.tests.support.directories import memory_directory

_MODULE = "ansible_collections.dayzero.spike.plugins.modules.spike_bootstrap"
RUN_THE_MODULE = f"import runpy; runpy.run_module({_MODULE!r}, run_name='__main__')"
_FLOOR = Path(__file__).with_name("floor.py")
_RUN_THE_FLOOR = f"import runpy; runpy.run_path({str(_FLOOR)!r}, run_name='__main__')"
# Nexus is ready as soon as the keepers have what it needs: what is measured is ours.
_NEXUS_LOOKS_EVERY = 0.005
_THRESHOLD = 2


@dataclass(frozen=True)
class Place:
    """A SPIKE without a key, and a host that has the bootstrap's identity."""

    spike: GoSpike
    options: dict[str, Any]
    environment: dict[str, str]

    def bootstrap(self, body: str = RUN_THE_MODULE, **changes: Any) -> Measured:
        """Run the module, alone."""
        arguments = {**self.options, **changes}
        message = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
        return measure(body, message=message, environment=self.environment)

    def floor(self) -> Measured:
        """Ask every keeper once, by bare means."""
        plan = {
            "urls": self.options["keeper_peers"],
            "cert": self.options["svid_cert"],
            "key": self.options["svid_key"],
            "bundle": self.options["svid_bundle"],
        }
        return measure(
            _RUN_THE_FLOOR, message=json.dumps(plan).encode(), environment=self.environment
        )

    @contextlib.contextmanager
    def watched_nexus(self) -> Iterator[list[float]]:
        """Gives the moment in which Nexus has its key, in monotonic seconds."""
        moments: list[float] = []

        def wait() -> None:
            self.spike.await_key(60)
            moments.append(time.monotonic())

        watch = threading.Thread(target=wait)
        watch.start()
        yield moments
        watch.join()


@contextlib.contextmanager
def place(binary: Path, authority: Authority, keepers: int) -> Iterator[Place]:
    """Start a SPIKE with SPIKE's default threshold."""
    with (
        GoSpike(
            binary,
            authority,
            keepers=keepers,
            threshold=_THRESHOLD,
            nexus_poll=_NEXUS_LOOKS_EVERY,
        ) as spike,
        memory_directory() as runtime_dir,
        tempfile.TemporaryDirectory() as name,
    ):
        directory = Path(name)
        svid = authority.issue(f"spiffe://{authority.trust_domain}/spike/bootstrap")
        certificate, key = authority.write(directory, "bootstrap", svid)
        bundle = directory / "bundle.pem"
        bundle.write_bytes(authority.bundle_pem())
        options = {
            "keeper_peers": list(spike.keeper_urls),
            "shamir_threshold": _THRESHOLD,
            "nexus_api_url": spike.nexus_url,
            "svid_source": "files",
            "svid_cert": str(certificate),
            "svid_key": str(key),
            "svid_bundle": str(bundle),
            "state_dir": str(directory / "state"),
            "runtime_dir": str(runtime_dir),
        }
        path = os.environ["ANSIBLE_COLLECTIONS_PATH"]
        yield Place(spike, options, {**os.environ, "HOME": name, "PYTHONPATH": path})


__all__ = ["RUN_THE_MODULE", "Place", "place"]

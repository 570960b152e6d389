# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put in the place of the get-pip script that ansible-test would download.

It is called as that is, with the packages to install. The pip that comes with Python installs them.
"""

from __future__ import annotations

import runpy
import subprocess
import sys

_ONLY_OF_GET_PIP = ("--no-setuptools", "--no-wheel")


def main() -> None:
    """Bootstrap pip and let it do what get-pip was asked for."""
    subprocess.run(
        [sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL, timeout=300
    )
    wanted = [argument for argument in sys.argv[1:] if argument not in _ONLY_OF_GET_PIP]
    sys.argv[1:] = ["install", *wanted]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

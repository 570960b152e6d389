# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._decide.nexus_words import nexus_words
from ansible_collections.dayzero.spike.plugins.module_utils._errors import Cause, Failure


@pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.value)
def test_there_are_words_for_every_cause(cause: Cause) -> None:
    assert nexus_words(Failure(cause, "seen"))

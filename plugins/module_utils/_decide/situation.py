# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a run is refused, or not proved; the words for it are in ``nexus_words``."""

from __future__ import annotations

import enum


class Situation(enum.Enum):
    """Why a run is refused, or why it ended without Nexus's proof.

    ``code`` is that of the result: SPIKE's own where SPIKE has one (spike-sdk-go,
    errors/sentinel.go).
    """

    # Nexus cannot be spoken to as Nexus.
    NOT_NEXUS = ("not Nexus", "spiffe_invalid_spiffe_id")
    REFUSES_US = ("Nexus refuses us", "access_unauthorized")
    UNCLEAR = ("no clear answer", "nexus_unclear")
    # Nexus has a key that is not this run's.
    BOOTSTRAPPED = ("bootstrapped by nobody known", "state_already_initialized")
    LOST_RUN = ("another key than the unfinished run's", "state_already_initialized")
    KEY_REPLACED = ("another key than the proved one", "state_already_initialized")
    # Nexus has no key, and yet there is something to lose.
    FORGOTTEN = ("finished, and Nexus has no key", "state_not_ready")
    FINISHED_UNCLEAR = ("finished, and Nexus does not say", "state_not_ready")
    KEY_LOST = ("the unfinished run's key is gone", "root_key_missing")
    DATABASE = ("a database", "state_already_initialized")
    DATABASE_HIDDEN = ("perhaps a database", "state_already_initialized")
    # The settings are not those of the earlier run.
    SETTINGS_DIFFER = ("other settings", "store_invalid_configuration")
    KEY_OF_OTHER_SETTINGS = ("a key of other settings", "store_invalid_configuration")
    BEGUN_ELSEWHERE = ("begun with another state_dir", "store_invalid_configuration")
    # Giving up an unfinished run.
    ABANDON_PROVED = ("given up, and proved", "state_already_initialized")
    ABANDON_UNCLEAR = ("given up, and Nexus does not say", "nexus_unclear")
    # After the delivery.
    OTHER_KEY_AT_THE_END = ("another key at the end", "crypto_cipher_verification_failed")
    UNPROVED = ("not proved in time", "state_not_ready")
    NO_VERIFICATION = ("no verification", "state_not_ready")

    def __init__(self, words: str, code: str) -> None:
        self.words = words
        self.code = code


__all__ = ["Situation"]

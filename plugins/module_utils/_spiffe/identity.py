# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our identity: from the source that the options choose, and fit to bootstrap with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from ansible_collections.dayzero.spike.plugins.module_utils._errors import IdentityError
from ansible_collections.dayzero.spike.plugins.module_utils._identity_files import read_files
from ansible_collections.dayzero.spike.plugins.module_utils._identity_spire_agent import (
    fetch_with_spire_agent,
)
from ansible_collections.dayzero.spike.plugins.module_utils._identity_workload_api import (
    fetch_from_workload_api,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe_id import (
    BOOTSTRAP_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.plugins.module_utils._svid import (
    Identity,
    Offer,
    check_dates,
)

if TYPE_CHECKING:
    from ansible_collections.dayzero.spike.plugins.module_utils._settings import Settings


def obtain_identity(settings: Settings, *, now: Callable[[], datetime]) -> Identity:
    """Return the bootstrap identity, with the bundles to tell keepers and Nexus by.

    ``now`` returns an aware datetime. Of several SVIDs the first with a bootstrap ID is taken.

    Raises IdentityError when there is none, when it is not valid now, or when the bundle of a
    trust domain in ``trust_root_keeper`` or ``trust_root_nexus`` is missing.
    """
    rule = IdRule(BOOTSTRAP_PATH, settings.trust_root_bootstrap)
    offer = _offer(settings, rule)
    identity = _choose(offer, rule, now())
    _check_bundles(settings, identity, offer)
    return identity


def _offer(settings: Settings, rule: IdRule) -> Offer:
    endpoint, timeout = settings.spiffe_endpoint_socket, settings.spiffe_source_timeout
    if settings.svid_source == "files":
        return read_files(
            settings.svid_cert,
            settings.svid_key,
            settings.svid_bundle,
            settings.federated_bundles,
        )
    if settings.svid_source == "workload_api":
        return fetch_from_workload_api(endpoint, timeout, rule)
    if settings.svid_source == "spire_agent":
        if settings.runtime_dir is None:
            raise IdentityError(
                "spire-agent needs a place in memory for the SVID's key; give a directory on tmpfs",
                option="runtime_dir",
            )
        return fetch_with_spire_agent(
            settings.spire_agent_path, endpoint, timeout, settings.runtime_dir, rule
        )
    raise IdentityError(
        f"{settings.svid_source!r} is not one of workload_api, files, spire_agent",
        option="svid_source",
        code="data_invalid_input",
    )


def _choose(offer: Offer, rule: IdRule, now: datetime) -> Identity:
    """The first that is a bootstrap's and valid now."""
    outdated = None
    for identity in offer.identities:
        if rule.admits(identity.spiffe_id):
            try:
                check_dates(identity.chain, now)
                return identity
            except ValueError as error:
                outdated = outdated or IdentityError(
                    f"the SVID {identity.spiffe_id} {offer.origin} cannot be used: {error};"
                    f" {offer.if_outdated}",
                    option=offer.option,
                )
    if outdated is not None:
        raise outdated
    found = ", ".join(str(identity.spiffe_id) for identity in offer.identities)
    raise IdentityError(
        f"expected the bootstrap identity {rule} {offer.origin}, found {found}; {offer.if_other}",
        option=offer.option,
        code="access_unauthorized",
    )


def _check_bundles(settings: Settings, identity: Identity, offer: Offer) -> None:
    wanted = {
        "trust_root_keeper": settings.trust_root_keeper,
        "trust_root_nexus": settings.trust_root_nexus,
    }
    missing = {
        option: [domain for domain in domains if domain not in identity.bundles]
        for option, domains in wanted.items()
    }
    if any(missing.values()):
        told = " and ".join(
            f"{', '.join(domains)} (in {option})" for option, domains in missing.items() if domains
        )
        raise IdentityError(
            f"there is no trust bundle for {told}, and our own SVID is of"
            f" {identity.spiffe_id.trust_domain}; correct the trust domain there, or if it is"
            f" right, {offer.if_unfederated}",
            option="federated_bundles",
        )


__all__ = ["obtain_identity"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our identity: from the source that the options choose, and fit for what we are about to do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from .._errors import IdentityError
from .._naming import fill, place_of
from .source import SVID_SOURCES, SvidSettings
from .spiffe_id import IdRule
from .svid import (
    Identity,
    Offer,
    authority_trust_domain,
    check_dates,
)

# The trust domains whose bundles are needed, by the option that names them.
Trusted = Mapping[str, tuple[str, ...]]


def obtain_identity(
    source: SvidSettings,
    rule: IdRule,
    trusted: Trusted,
    *,
    scratch_dir: str,
    now: Callable[[], datetime],
    stopped: Callable[[], bool] = lambda: False,
) -> Identity:
    """Return the identity that ``rule`` admits, with the bundles of the ``trusted`` domains.

    ``scratch_dir``, in memory, is for a source that hands over files. ``now`` returns an aware
    datetime. A source that runs a program ends it when ``stopped`` says so. Of several SVIDs the
    first that is admitted is taken.

    Raises IdentityError when there is none, when it is not valid now, or when the bundle of a
    trusted domain is missing, or holds an authority of another one. What is broken and not needed,
    another SVID or another bundle, is passed over.
    """
    needed = frozenset(domain for domains in trusted.values() for domain in domains)
    offer = _offer(source, rule, needed, scratch_dir, stopped)
    identity = _choose(offer, rule, now())
    _check_bundles(trusted, identity, offer)
    _check_authorities(needed, identity, offer)
    return identity


def _offer(
    source: SvidSettings,
    rule: IdRule,
    needed: Collection[str],
    scratch_dir: str,
    stopped: Callable[[], bool],
) -> Offer:
    endpoint, timeout = source.spiffe_endpoint_socket, source.spiffe_source_timeout
    # A source that is not used is not loaded: together they take longer than reading files.
    if source.svid_source == "files":
        from .from_files import read_files

        return read_files(
            source.svid_cert,
            source.svid_key,
            source.svid_bundle,
            source.federated_bundles,
            needed,
        )
    if source.svid_source == "workload_api":
        from .from_workload_api import fetch_from_workload_api

        return fetch_from_workload_api(endpoint, timeout, rule)
    if source.svid_source == "spire_agent":
        from .from_spire_agent import fetch_with_spire_agent

        return fetch_with_spire_agent(
            source.spire_agent_path,
            endpoint,
            timeout,
            scratch_dir,
            rule,
            needed,
            stopped,
        )
    raise IdentityError(
        f"{source.svid_source!r} is not one of them",
        f"give one of {', '.join(SVID_SOURCES)}",
        option="svid_source",
        code="data_invalid_input",
    )


def _choose(offer: Offer, rule: IdRule, now: datetime) -> Identity:
    """The first that ``rule`` admits and is valid now."""
    outdated = None
    for identity in offer.identities:
        if rule.admits(identity.spiffe_id):
            try:
                check_dates(identity.chain, now)
                return identity
            except ValueError as error:
                outdated = outdated or IdentityError(
                    f"the SVID {identity.spiffe_id} {offer.origin} cannot be used: {error}",
                    offer.if_outdated,
                    option=offer.option,
                )
    if outdated is not None:
        raise outdated
    found = ", ".join(str(identity.spiffe_id) for identity in offer.identities)
    broken = f" (and one that cannot be used: {offer.broken})" if offer.broken else ""
    raise IdentityError(
        f"expected the {rule.part} identity {rule} {offer.origin}, found {found}{broken}",
        fill(offer.if_other, {"part": rule.part, "trust_root_bootstrap": place_of(rule.option)}),
        option=offer.option,
        code="access_unauthorized",
    )


def _check_bundles(trusted: Trusted, identity: Identity, offer: Offer) -> None:
    missing = {
        option: [domain for domain in domains if domain not in identity.bundles]
        for option, domains in trusted.items()
    }
    if any(missing.values()):
        told = " and ".join(
            f"{', '.join(domains)} (in {place_of(option)})"
            for option, domains in missing.items()
            if domains
        )
        raise IdentityError(
            f"there is no trust bundle for {told}, and our own SVID is of"
            f" {identity.spiffe_id.trust_domain}",
            f"correct the trust domain there, or if it is right, {offer.if_unfederated}",
            option="federated_bundles",
        )


def _check_authorities(needed: Collection[str], identity: Identity, offer: Offer) -> None:
    for domain in needed:
        for authority in identity.bundles[domain]:
            named = authority_trust_domain(authority)
            if named not in (None, domain):
                own = domain == identity.spiffe_id.trust_domain
                raise IdentityError(
                    f"the trust bundle of {domain} holds an authority of {named}, and would let its"
                    " SVIDs pass for those of the other",
                    offer.if_foreign,
                    option=offer.bundle_option if own else "federated_bundles",
                )


__all__ = ["Trusted", "obtain_identity"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our identity from the SPIFFE Workload API, through the PyPI package ``spiffe``.

The package is imported only here and only when it is needed: most hosts do not have it.
Versions 0.1.5 (the last for Python 3.9) to 0.3.x are known to work. Only the newer ones have
deadlines, so the call runs on a thread that is left behind when the time is up.

Source: SPIFFE_Workload_API.md, sections 4 to 6, and SPIFFE_Workload_Endpoint.md, sections 3 to 6
(https://github.com/spiffe/spiffe, standards).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

from .._dataclass import dataclass
from .._errors import IdentityError
from .svid import (
    Identity,
    Offer,
    build_identity,
    ec_or_rsa,
)

if TYPE_CHECKING:
    from .._clock import Duration
    from .spiffe_id import IdRule

DEFAULT_SOCKET = "unix:///tmp/spire-agent/public/api.sock"

_OPTION = "spiffe_endpoint_socket"
# unix(7); Python refuses a longer one itself, without an error of the system's.
_LONGEST_PATH = 107
_EXTRACT = "spiffe_failed_to_extract_x509_svid"


def fetch_from_workload_api(endpoint: str | None, timeout: Duration, rule: IdRule) -> Offer:
    """Ask the Workload API for all X.509-SVIDs that this process may have.

    ``endpoint`` is a path, a ``unix:`` URL or None for SPIRE's default. ``rule`` only serves to
    say which registration entry is missing. Raises IdentityError, within ``timeout``.
    """
    ends = time.monotonic() + timeout.seconds
    path = socket_path(endpoint)
    check_socket(path, timeout)
    client = _client(path)
    try:
        answer = _ask(client, ends)
    finally:
        # Also what ends a call that got no answer.
        client.close()
    if answer is None:
        raise IdentityError(
            f"{path}: the Workload API did not answer within {timeout.text}",
            "check that spire-agent is healthy (spire-agent healthcheck), or raise"
            " {spiffe_source_timeout}",
            option=_OPTION,
        )
    error = answer.exception()
    if error is not None:
        raise _refusal(path, _status(error), rule)
    identities, problem = _identities(answer.result())
    if not identities:
        raise IdentityError(
            f"the SVID from the Workload API at {path} cannot be used: {problem}",
            "set {svid_source} to spire_agent, which reports what the agent itself thinks of it",
            option="svid_source",
            code=_EXTRACT,
        )
    return agent_offer(identities, f"from the Workload API at {path}", rule, problem)


def socket_path(endpoint: str | None) -> str:
    """Return the path of the Workload API's socket, given a path or a ``unix:`` URL.

    Raises IdentityError for anything else; the specification's ``tcp:`` is not supported, because
    an agent cannot attest a process that calls over TCP.
    """
    text = DEFAULT_SOCKET if endpoint is None else endpoint
    path = text[len("unix:") :] if text.startswith("unix:") else text
    if path.startswith("//"):
        # unix:///path has an empty authority; with any other, the path would be a host name.
        path = path[2:]
    # gRPC takes what it gets for a URL: these would be read as something other than a path.
    if not path.startswith("/") or any(character in path for character in "%?#"):
        raise IdentityError(
            f"{text!r} is not an absolute path or a unix: URL",
            f"give for example {DEFAULT_SOCKET}",
            option=_OPTION,
        )
    return path


def check_socket(path: str, timeout: Duration) -> None:
    """Raise IdentityError, with the system's own reason, unless somebody listens on the socket.

    gRPC would call every reason "unavailable".
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            # Zero would mean "do not wait at all", and a connection on one host needs no time.
            probe.settimeout(max(timeout.seconds, 0.1))
            probe.connect(path)
    except PermissionError:
        problem = "Permission denied"
        remedy = (
            f"let the user who runs the task (uid {os.geteuid()}) open it, or run the task as one"
            " who may (become_user)"
        )
    except OSError as error:
        too_long = len(os.fsencode(path)) > _LONGEST_PATH
        unknown = "AF_UNIX path too long" if too_long else "it cannot be opened"
        problem = error.strerror or unknown
        remedy = "start spire-agent, or give the socket_path of its configuration"
    else:
        return
    raise IdentityError(f"{path}: {problem}", remedy, option=_OPTION)


def registration_hint(rule: IdRule) -> str:
    """Return the sentence on how to register this process as what the rule asks for."""
    return (
        "create the registration entry: spire-server entry create -parentID AGENT_SPIFFE_ID"
        f" -spiffeID {str(rule).split(' or ', maxsplit=1)[0]} -selector unix:uid:{os.geteuid()}"
        " (it takes some seconds to reach the agent), or run the task as the user of the entry"
        " (become_user)"
    )


def agent_offer(
    identities: tuple[Identity, ...], origin: str, rule: IdRule, broken: str = ""
) -> Offer:
    """Return the identities of an agent with what to do when none of them will do."""
    return Offer(
        identities=identities,
        option="svid_source",
        origin=origin,
        if_other=registration_hint(rule),
        if_outdated="check the host's clock, and that spire-agent reaches its server",
        if_unfederated="federate the registration entry with it (-federatesWith), or set"
        " {svid_source} to files and give {federated_bundles}",
        if_foreign="correct the bundle of that trust domain on the SPIRE server (spire-server"
        " bundle list)",
        broken=broken,
    )


def _client(path: str) -> Any:
    try:
        import spiffe

        return spiffe.WorkloadApiClient(f"unix://{path}")
    # A package that does not fit its gRPC or protobuf fails with errors of theirs.
    except Exception as error:
        problem = type(error).__name__
    raise IdentityError(
        f"workload_api needs the Python package spiffe, which {sys.executable} cannot use"
        f" ({problem})",
        f"install it there ({sys.executable} -m pip install spiffe), or set {{svid_source}} to"
        " spire_agent or files",
        option="svid_source",
    )


@dataclass(frozen=True)
class _Offered:
    """The package's X509Svids and X509Bundles, and why one of them cannot be used."""

    svids: tuple[Any, ...]
    bundles: tuple[Any, ...]
    problem: str = ""


def _ask(client: Any, ends: float) -> futures.Future[_Offered] | None:
    """Return the answer, or the package's exception; None when time is up."""
    answer: futures.Future[_Offered] = futures.Future()

    def ask() -> None:
        try:
            answer.set_result(_offered(client))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="workload-api", daemon=True).start()
    done, _late = futures.wait([answer], timeout=max(ends - time.monotonic(), 0.0))
    return answer if done else None


def _status(error: BaseException) -> str:
    """Return the name of gRPC's status, empty when the call itself did not fail.

    Only the newer versions of the package chain its error to gRPC's on purpose.
    """
    cause: BaseException | None = error
    while cause is not None:
        code = getattr(cause, "code", None)
        if callable(code):
            return str(code().name)
        cause = cause.__cause__ or cause.__context__
    return ""


def _refusal(path: str, status: str, rule: IdRule) -> IdentityError:
    if status == "PERMISSION_DENIED":
        return IdentityError(
            f"the agent at {path} has no identity for this process (PermissionDenied)",
            registration_hint(rule),
            option="svid_source",
        )
    if status:
        return IdentityError(
            f"{path}: no Workload API answers there (gRPC status {status})",
            "give the socket_path of spire-agent's configuration, and check that the agent is"
            " healthy",
            option=_OPTION,
        )
    return IdentityError(
        f"the Workload API at {path} gave no SVID that the Python package spiffe can read",
        "set {svid_source} to spire_agent, which reports what the agent itself thinks of it",
        option="svid_source",
        code=_EXTRACT,
    )


def _offered(client: Any) -> _Offered:
    try:
        context = client.fetch_x509_context()
    except Exception as error:
        if _status(error):
            raise
        # The package takes an answer whole or not at all; one SVID or federated bundle that is
        # broken must not keep us from those that we need.
        offered = _offered_one_by_one(client)
        if offered is None:
            raise
        return offered
    return _Offered(tuple(context.x509_svids), tuple(context.x509_bundle_set.bundles))


def _offered_one_by_one(client: Any) -> _Offered | None:
    """The same from the answer's parts, without those that are broken; None where all are.

    The message is read through the package's own stub, which is private: where a release has it no
    longer, the answer is taken whole or not at all.
    """
    try:
        from spiffe import TrustDomain, X509Bundle, X509Svid
        from spiffe._proto import workload_pb2

        stub = client._spiffe_workload_api_stub
        message = next(iter(stub.FetchX509SVID(workload_pb2.X509SVIDRequest())))
    except (AttributeError, ImportError):
        return None
    svids, bundles, problem = [], [], ""
    for offered in message.svids:
        try:
            svid = X509Svid.parse_raw(offered.x509_svid, offered.x509_svid_key)
            bundles.append(X509Bundle.parse_raw(svid.spiffe_id.trust_domain, offered.bundle))
            svids.append(svid)
        except Exception as error:
            problem = f"the package spiffe cannot read it ({type(error).__name__})"
    for name, bundle in message.federated_bundles.items():
        with contextlib.suppress(Exception):
            bundles.append(X509Bundle.parse_raw(TrustDomain(name), bundle))
    return _Offered(tuple(svids), tuple(bundles), problem) if svids else None


def _identities(offered: _Offered) -> tuple[tuple[Identity, ...], str]:
    """The identities that can be used, and why one cannot, empty where all can."""
    bundles = {
        bundle.trust_domain.name: tuple(bundle.x509_authorities) for bundle in offered.bundles
    }
    identities, problem = [], offered.problem
    for svid in offered.svids:
        try:
            identities.append(build_identity(svid.cert_chain, ec_or_rsa(svid.private_key), bundles))
        except ValueError as error:
            problem = str(error)
    return tuple(identities), problem


__all__ = [
    "DEFAULT_SOCKET",
    "agent_offer",
    "check_socket",
    "fetch_from_workload_api",
    "registration_hint",
    "socket_path",
]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A SPIFFE Workload API on a unix socket, with the faults that a real agent shows.

Real gRPC, with the messages that the PyPI package ``spiffe`` brings along.
Source: SPIFFE_Workload_API.md, section 5, and SPIFFE_Workload_Endpoint.md, section 6.
"""

from __future__ import annotations

import enum
import importlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
    Authority,
    IssuedSvid,
)
from cryptography import x509
from cryptography.hazmat.primitives import serialization


def _generated(name: str) -> Any:
    # The package moved its generated code between 0.1.5 and 0.3.
    try:
        return importlib.import_module(f"spiffe._proto.{name}")
    except ModuleNotFoundError:
        return importlib.import_module(f"spiffe.proto.{name}")


_GARBAGE = b"neither a certificate nor a key"

_messages = _generated("workload_pb2")
_services = _generated("workload_pb2_grpc")


class Fault(enum.Enum):
    """What the agent does instead of answering well."""

    NONE = "none"
    SILENT = "never answers"
    UNREGISTERED = "has no registration entry for the caller"
    EMPTY = "answers without any SVID"
    GARBAGE = "answers with bytes that are no certificate"


class Part(enum.Enum):
    """A part of one SVID that can be broken, whatever the others are."""

    CHAIN = "chain"
    KEY = "key"
    BUNDLE = "bundle"


@dataclass(frozen=True)
class Grant:
    """One SVID that the agent hands out, and the authority whose bundle goes with it.

    ``garbage`` is the part that comes as bytes which are none, if any.
    """

    svid: IssuedSvid
    authority: Authority
    garbage: Part | None = None

    def bytes_of(self, part: Part) -> bytes:
        """The bytes of one part, as the agent sends them."""
        if part is self.garbage:
            return _GARBAGE
        if part is Part.KEY:
            return _der_key(self.svid.key_pem)
        return _der(self.svid.chain_pem if part is Part.CHAIN else self.authority.bundle_pem())


class WorkloadApi:
    """The server, as a context manager; it listens while inside, and its socket goes with it.

    ``asked`` is set by the first call that reaches it. ``federated`` maps trust domains to their
    authorities, or to the bytes that come in place of their bundle.
    """

    def __init__(
        self,
        grants: Sequence[Grant] = (),
        *,
        federated: Mapping[str, Authority | bytes] | None = None,
        fault: Fault = Fault.NONE,
    ) -> None:
        self.asked = threading.Event()
        self._answer = _answer(grants, federated or {}, fault)
        self._fault = fault
        self._over = threading.Event()
        # Not under pytest's directory: a socket's path has 107 bytes at most.
        self._directory = tempfile.TemporaryDirectory(prefix="wlapi-")
        self.path = Path(self._directory.name, "api.sock")
        self._server = grpc.server(ThreadPoolExecutor(2))
        _services.add_SpiffeWorkloadAPIServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.path}")

    def __enter__(self) -> WorkloadApi:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.stop(None).wait()
        self._directory.cleanup()

    def FetchX509SVID(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        """Answer once, then keep the stream open, as agents do."""
        self.asked.set()
        if ("workload.spiffe.io", "true") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        if self._fault is Fault.UNREGISTERED:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
        hung_up = threading.Event()
        context.add_callback(hung_up.set)
        if self._fault is not Fault.SILENT:
            yield self._answer
        while not hung_up.wait(0.05) and not self._over.is_set():
            pass

    def _unimplemented(self, request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "only X.509-SVIDs are served")

    FetchX509Bundles = FetchJWTSVID = FetchJWTBundles = ValidateJWTSVID = _unimplemented


class RawWorkloadApi:
    """A Workload API that answers with the bytes of ``answer``, which need be no message."""

    def __init__(self) -> None:
        self.answer = b""
        self._directory = tempfile.TemporaryDirectory(prefix="wlapi-")
        self.path = Path(self._directory.name, "api.sock")
        self._server = grpc.server(ThreadPoolExecutor(2))
        # Without a serializer gRPC hands on what it is given.
        methods = {"FetchX509SVID": grpc.unary_stream_rpc_method_handler(self._fetch)}
        handler = grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", methods)
        self._server.add_generic_rpc_handlers((handler,))
        self._server.add_insecure_port(f"unix:{self.path}")
        self._server.start()

    def stop(self) -> None:
        """Stop, and remove the socket."""
        self._server.stop(None).wait()
        self._directory.cleanup()

    def _fetch(self, _request: Any, _context: Any) -> Iterator[bytes]:
        yield self.answer


def good_answer(grants: Sequence[Grant]) -> bytes:
    """The bytes with which an agent hands ``grants`` out."""
    answer: bytes = _answer(grants, {}, Fault.NONE).SerializeToString()
    return answer


def _answer(
    grants: Sequence[Grant], federated: Mapping[str, Authority | bytes], fault: Fault
) -> Any:
    if fault is Fault.EMPTY:
        grants = ()
    if fault is Fault.GARBAGE:
        grants = [replace(grant, garbage=Part.CHAIN) for grant in grants]
    return _messages.X509SVIDResponse(
        svids=[
            _messages.X509SVID(
                spiffe_id=grant.svid.spiffe_id,
                x509_svid=grant.bytes_of(Part.CHAIN),
                x509_svid_key=grant.bytes_of(Part.KEY),
                bundle=grant.bytes_of(Part.BUNDLE),
            )
            for grant in grants
        ],
        federated_bundles={
            f"spiffe://{domain}": sent if isinstance(sent, bytes) else _der(sent.bundle_pem())
            for domain, sent in federated.items()
        },
    )


def _der(pem: bytes) -> bytes:
    end = b"-----END CERTIFICATE-----\n"
    return b"".join(
        x509.load_pem_x509_certificate(block + end).public_bytes(serialization.Encoding.DER)
        for block in pem.split(end)
        if block.strip()
    )


def _der_key(pem: bytes) -> bytes:
    return serialization.load_pem_private_key(pem, password=None).private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


__all__ = ["Fault", "Grant", "Part", "RawWorkloadApi", "WorkloadApi", "good_answer"]

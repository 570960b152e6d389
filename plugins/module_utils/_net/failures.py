# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the exceptions of socket, ssl, http.client, urllib3 and requests mean to an operator.

Foreign exceptions become ours here and nowhere else. Only fixed texts of the C libraries are
taken over (``strerror``, OpenSSL's reasons), never the text of an exception: requests' hold a
reference to the request, and so to a shard.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Optional, cast

from .._errors import (
    AttemptFailed,
    Cause,
    Failure,
    Finding,
)
from .._third_party import requests, urllib3
from .attempt import Attempt

# Alerts with which a peer refuses our certificate (RFC 8446, 6.2); go-spiffe sends bad_certificate
# for a SPIFFE ID that it does not admit.
_REFUSED_CERTIFICATE = re.compile(
    r"ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_REVOKED|CERTIFICATE_EXPIRED"
    r"|CERTIFICATE_UNKNOWN|CERTIFICATE_REQUIRED|UNKNOWN_CA|ACCESS_DENIED)"
)

# Somebody on the way says, sooner than a time-out would, that no host answers there.
_NOBODY_THERE = (errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN)

# What this host itself lacks, or forbids: no keeper is to blame.
_LOCAL = {
    errno.EMFILE: "too many open files in this process (ulimit -n)",
    errno.ENFILE: "too many open files on this host (fs.file-max)",
    errno.EADDRNOTAVAIL: "no local port is left (net.ipv4.ip_local_port_range)",
    errno.ENOBUFS: "no buffer space is left",
    errno.ENOMEM: "no memory is left",
    errno.EACCES: "a rule of this host forbids the connection (permission denied)",
    errno.EPERM: "a rule of this host forbids the connection (operation not permitted)",
    errno.EAFNOSUPPORT: "this host does not support the address's family",
}

# OpenSSL's verification results (x509_vfy.h) in an operator's words; others keep OpenSSL's.
_STRANGER = "it is signed by an authority that is not in the trust bundle"
_UNTRUSTED = {
    9: ("the certificate is not valid yet", Finding.NOT_YET_VALID),
    10: ("the certificate has expired", Finding.EXPIRED),
    18: (
        "a self-signed certificate, not one of the trust bundle's authorities",
        Finding.UNKNOWN_AUTHORITY,
    ),
    19: (_STRANGER, Finding.UNKNOWN_AUTHORITY),
    20: (_STRANGER, Finding.UNKNOWN_AUTHORITY),
    21: (_STRANGER, Finding.UNKNOWN_AUTHORITY),
}


# Each is called with an error of the kind that it stands next to in _MEANINGS.
_Meaning = Callable[[BaseException, Attempt], Optional[Failure]]


def translate(error: BaseException, attempt: Attempt) -> Failure:
    """The failure that ``error``, raised while ``attempt`` was made, amounts to."""
    chain = list(_unwrapped(error))
    for kind, meaning in _MEANINGS:
        for found in chain:
            failure = meaning(found, attempt) if isinstance(found, kind) else None
            if failure is not None:
                return failure
    return Failure(Cause.BAD_RESPONSE, f"unexpected {type(error).__name__}", sent=attempt.sent)


def _unwrapped(error: BaseException) -> Iterator[BaseException]:
    # requests wraps urllib3's exceptions, and these the socket's: as an argument, as ``reason``,
    # or as the context.
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop(0)
        if isinstance(current, BaseException) and current not in seen:
            seen.append(current)
            yield current
            waiting += [*current.args, getattr(current, "reason", None)]
            waiting += [current.__cause__, current.__context__]


def _ours(error: BaseException, attempt: Attempt) -> Failure:
    return cast(AttemptFailed, error).failure


def _timeout(error: BaseException, attempt: Attempt) -> Failure:
    return attempt.out_of_time()


def _untrusted(error: BaseException, attempt: Attempt) -> Failure:
    # Only OpenSSL's own errors have these fields; Python's ssl raises bare ones as well.
    code = getattr(error, "verify_code", 0)
    words, finding = _UNTRUSTED.get(code, ("", None))
    words = words or getattr(error, "verify_message", "") or "not trusted"
    return Failure(Cause.PEER_UNTRUSTED, words, final=True, finding=finding)


def _tls(error: BaseException, attempt: Attempt) -> Failure:
    reason = getattr(error, "reason", None) or ""
    alert = _REFUSED_CERTIFICATE.search(reason)
    if alert:
        return Failure(
            Cause.IDENTITY_REFUSED,
            f"TLS alert {alert.group(1).lower()}",
            final=True,
            sent=attempt.sent,
        )
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return _closed(error, attempt)
    words = reason.replace("_", " ").lower() or "protocol error"
    return Failure(Cause.TLS, words, sent=attempt.sent)


def _closed(error: BaseException, attempt: Attempt) -> Failure:
    if attempt.sent:
        return Failure(
            Cause.BAD_RESPONSE, "the connection was closed before a complete answer", sent=True
        )
    if attempt.doing is Cause.TLS_TIMEOUT:
        return Failure(Cause.TLS, "the connection was closed during the TLS handshake")
    return Failure(Cause.CONNECTION_REFUSED, "the connection was reset")


def _unknown_name(error: BaseException, attempt: Attempt) -> Failure:
    return Failure(Cause.NAME_RESOLUTION, cast(OSError, error).strerror or "unknown name")


def _refused(error: BaseException, attempt: Attempt) -> Failure:
    # Of several addresses another failure is raised, where there was another: see ``sockets``.
    return Failure(Cause.CONNECTION_REFUSED, "connection refused", finding=Finding.PORT_REFUSES)


def _system(error: BaseException, attempt: Attempt) -> Failure | None:
    number = cast(OSError, error).errno
    if not isinstance(number, int):
        # requests' exceptions are OSErrors too, and what they wrap says more.
        return None
    if number == errno.ETIMEDOUT:
        return attempt.out_of_time()
    if number == errno.ENOTCONN:
        return _closed(error, attempt)
    # By number, and not ``strerror``: Python code raises OSErrors with texts of its own as well.
    words = os.strerror(number).lower()
    if attempt.sent:
        return Failure(Cause.BAD_RESPONSE, words, sent=True)
    if number in _LOCAL:
        return Failure(Cause.LOCAL, _LOCAL[number])
    away = number in _NOBODY_THERE
    return Failure(Cause.CONNECT_TIMEOUT if away else Cause.CONNECTION_REFUSED, words)


def _nameless(error: BaseException, attempt: Attempt) -> Failure:
    cause = Cause.BAD_RESPONSE if attempt.sent else Cause.CONNECTION_REFUSED
    return Failure(cause, "network error", sent=attempt.sent)


def _not_http(error: BaseException, attempt: Attempt) -> Failure:
    return Failure(Cause.BAD_RESPONSE, "the answer is not valid HTTP", sent=attempt.sent)


# The first kind that occurs anywhere in the chain and means something decides; the more specific
# stand first.
_MEANINGS: tuple[tuple[type[BaseException], _Meaning], ...] = (
    (AttemptFailed, _ours),
    (ssl.SSLCertVerificationError, _untrusted),
    (ssl.SSLError, _tls),
    (socket.timeout, _timeout),
    (socket.gaierror, _unknown_name),
    (ConnectionRefusedError, _refused),
    (ConnectionError, _closed),  # http.client.RemoteDisconnected is one of these
    (OSError, _system),
    (http.client.IncompleteRead, _closed),
    (http.client.HTTPException, _not_http),
    (urllib3.exceptions.TimeoutError, _timeout),
    (urllib3.exceptions.HTTPError, _not_http),
    (requests.RequestException, _not_http),
    (OSError, _nameless),
)

__all__ = ["translate"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
from types import ModuleType

import pytest
import requests
import urllib3
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    AttemptFailed,
    Cause,
    Failure,
    Finding,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._net.failures import translate
from ansible_collections.dayzero.spike.tests.support.spiffe_side import attempt

# Stands for whatever an exception's text could hold: a request, and so a shard.
FOREIGN = "foreign text [1,2,3]"

REFUSED = Cause.CONNECTION_REFUSED
BAD = Cause.BAD_RESPONSE


def while_resolving() -> Attempt:
    made = attempt(1)
    made.doing = Cause.NAME_RESOLUTION
    return made


def while_connecting() -> Attempt:
    made = attempt(1)
    made.doing = Cause.CONNECT_TIMEOUT
    return made


def while_shaking_hands() -> Attempt:
    made = attempt(1)
    made.doing = Cause.TLS_TIMEOUT
    return made


def after_sending() -> Attempt:
    made = attempt(1)
    made.mark_sent()
    return made


def ssl_error(kind: type[ssl.SSLError], **fields: object) -> ssl.SSLError:
    error = kind(1, FOREIGN)
    for name, value in fields.items():
        setattr(error, name, value)
    return error


def alert(name: str) -> ssl.SSLError:
    return ssl_error(ssl.SSLError, reason=name)


# About proxies and os.sendfile, neither of which we use; bare ValueError and Exception.
NEVER_RAISED = {"ProxySchemeUnsupported", "_GiveupOnSendfile"}


def exceptions_of(module: ModuleType) -> list[type[Exception]]:
    """The exception classes that the module defines, or names as its own."""
    root = module.__name__.partition(".")[0]
    return [
        found
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, Exception)
        and not issubclass(found, Warning)
        and found.__name__ not in NEVER_RAISED
        and (issubclass(found, OSError) or found.__module__.partition(".")[0] == root)
    ]


FOREIGN_MODULES = (socket, ssl, http.client, urllib3.exceptions, requests.exceptions)
FOREIGN_EXCEPTIONS = sorted(
    {
        found
        for module in (*FOREIGN_MODULES, __import__("builtins"))
        for found in exceptions_of(module)
        if module in FOREIGN_MODULES or issubclass(found, OSError)
    },
    key=lambda kind: (kind.__module__, kind.__name__),
)


def test_the_walk_finds_the_exceptions_of_every_library() -> None:
    found = set(FOREIGN_EXCEPTIONS)
    assert {
        ConnectionRefusedError,
        TimeoutError,
        socket.gaierror,
        ssl.SSLCertVerificationError,
        http.client.IncompleteRead,
        urllib3.exceptions.NewConnectionError,
        requests.exceptions.ChunkedEncodingError,
    } <= found
    assert len(found) > 70


@pytest.mark.parametrize("made", [while_connecting, while_shaking_hands, after_sending])
@pytest.mark.parametrize(
    "kind", FOREIGN_EXCEPTIONS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}"
)
def test_every_exception_of_the_libraries_has_a_meaning(kind: type[Exception], made) -> None:
    # Without __init__, some of which want a whole pool or request: the kind is what decides.
    error = kind.__new__(kind, FOREIGN)
    error.args = (FOREIGN,)
    limits = made()
    failure = translate(error, limits)
    assert "unexpected" not in failure.detail
    assert failure.detail
    assert FOREIGN not in failure.detail
    assert failure.cause is not Cause.HTTP_STATUS


@pytest.mark.parametrize(
    ("error", "made", "expected"),
    [
        pytest.param(
            ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
            while_connecting,
            Failure(REFUSED, "connection refused", finding=Finding.PORT_REFUSES),
            id="refused",
        ),
        pytest.param(
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            while_connecting,
            Failure(REFUSED, "the connection was reset"),
            id="reset while connecting",
        ),
        pytest.param(
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            while_shaking_hands,
            Failure(Cause.TLS, "the connection was closed during the TLS handshake"),
            id="reset in the handshake",
        ),
        pytest.param(
            OSError(errno.ENOTCONN, "Transport endpoint is not connected"),
            while_shaking_hands,
            Failure(Cause.TLS, "the connection was closed during the TLS handshake"),
            id="reset before the handshake",
        ),
        pytest.param(
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            after_sending,
            Failure(BAD, "the connection was closed before a complete answer", sent=True),
            id="reset after sending",
        ),
        pytest.param(
            http.client.RemoteDisconnected(FOREIGN),
            after_sending,
            Failure(BAD, "the connection was closed before a complete answer", sent=True),
            id="no answer",
        ),
        pytest.param(
            http.client.IncompleteRead(FOREIGN.encode(), 10),
            after_sending,
            Failure(BAD, "the connection was closed before a complete answer", sent=True),
            id="half an answer",
        ),
        pytest.param(
            http.client.BadStatusLine(FOREIGN),
            after_sending,
            Failure(BAD, "the answer is not valid HTTP", sent=True),
            id="not HTTP",
        ),
        pytest.param(
            OSError(errno.EHOSTUNREACH, "No route to host"),
            while_connecting,
            Failure(Cause.CONNECT_TIMEOUT, "no route to host"),
            id="no route",
        ),
        pytest.param(
            OSError(errno.EHOSTUNREACH, "No route to host"),
            after_sending,
            Failure(BAD, "no route to host", sent=True),
            id="no route any more",
        ),
        pytest.param(
            OSError(errno.EMFILE, "Too many open files"),
            while_connecting,
            Failure(Cause.LOCAL, "too many open files in this process (ulimit -n)"),
            id="no more files",
        ),
        pytest.param(
            OSError(errno.EIO, "Input/output error"),
            after_sending,
            Failure(BAD, "input/output error", sent=True),
            id="network error after sending",
        ),
        pytest.param(
            OSError(errno.EIO, FOREIGN),
            while_connecting,
            Failure(REFUSED, "input/output error"),
            id="somebody else's words for a number",
        ),
        pytest.param(
            OSError(FOREIGN),
            while_connecting,
            Failure(REFUSED, "network error"),
            id="an error without a number",
        ),
        pytest.param(
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            while_resolving,
            Failure(Cause.NAME_RESOLUTION, "Name or service not known"),
            id="unknown name",
        ),
        pytest.param(
            socket.timeout("timed out"),
            while_connecting,
            Failure(Cause.CONNECT_TIMEOUT, "nothing answered the TCP connection"),
            id="timeout while connecting",
        ),
        pytest.param(
            OSError(errno.ETIMEDOUT, "Connection timed out"),
            while_connecting,
            Failure(Cause.CONNECT_TIMEOUT, "nothing answered the TCP connection"),
            id="the kernel gave up connecting",
        ),
        pytest.param(
            OSError(errno.ETIMEDOUT, "Connection timed out"),
            after_sending,
            Failure(
                Cause.RESPONSE_TIMEOUT, "the request was sent, no complete answer came", sent=True
            ),
            id="the kernel gave up waiting",
        ),
        pytest.param(
            socket.timeout("The handshake operation timed out"),
            while_shaking_hands,
            Failure(Cause.TLS_TIMEOUT, "the TLS handshake did not end in time"),
            id="timeout in the handshake",
        ),
        pytest.param(
            socket.timeout("The read operation timed out"),
            after_sending,
            Failure(
                Cause.RESPONSE_TIMEOUT, "the request was sent, no complete answer came", sent=True
            ),
            id="timeout after sending",
        ),
        pytest.param(
            ssl_error(ssl.SSLCertVerificationError, verify_code=10, verify_message="x"),
            while_shaking_hands,
            Failure(
                Cause.PEER_UNTRUSTED,
                "the certificate has expired",
                final=True,
                finding=Finding.EXPIRED,
            ),
            id="expired",
        ),
        pytest.param(
            ssl_error(ssl.SSLCertVerificationError, verify_code=9, verify_message="x"),
            while_shaking_hands,
            Failure(
                Cause.PEER_UNTRUSTED,
                "the certificate is not valid yet",
                final=True,
                finding=Finding.NOT_YET_VALID,
            ),
            id="not valid yet",
        ),
        pytest.param(
            ssl_error(ssl.SSLCertVerificationError, verify_code=20, verify_message="x"),
            while_shaking_hands,
            Failure(
                Cause.PEER_UNTRUSTED,
                "it is signed by an authority that is not in the trust bundle",
                final=True,
                finding=Finding.UNKNOWN_AUTHORITY,
            ),
            id="unknown authority",
        ),
        pytest.param(
            ssl_error(
                ssl.SSLCertVerificationError, verify_code=66, verify_message="EE key too weak"
            ),
            while_shaking_hands,
            Failure(Cause.PEER_UNTRUSTED, "EE key too weak", final=True),
            id="untrusted in OpenSSL's words",
        ),
        pytest.param(
            ssl.SSLCertVerificationError(FOREIGN),
            while_shaking_hands,
            Failure(Cause.PEER_UNTRUSTED, "not trusted", final=True),
            id="untrusted in Python's words",
        ),
        pytest.param(
            alert("SSLV3_ALERT_HANDSHAKE_FAILURE"),
            while_shaking_hands,
            Failure(Cause.TLS, "sslv3 alert handshake failure"),
            id="no common cipher",
        ),
        pytest.param(
            alert("WRONG_VERSION_NUMBER"),
            while_shaking_hands,
            Failure(Cause.TLS, "wrong version number"),
            id="no TLS",
        ),
        pytest.param(
            ssl.SSLError(FOREIGN),
            while_shaking_hands,
            Failure(Cause.TLS, "protocol error"),
            id="TLS without a reason",
        ),
        pytest.param(
            ssl.SSLEOFError(8, FOREIGN),
            while_shaking_hands,
            Failure(Cause.TLS, "the connection was closed during the TLS handshake"),
            id="hung up in the handshake",
        ),
        pytest.param(
            AttemptFailed(Failure(Cause.PEER_IDENTITY, "ours", final=True)),
            while_shaking_hands,
            Failure(Cause.PEER_IDENTITY, "ours", final=True),
            id="ours stays what it is",
        ),
        pytest.param(
            ZeroDivisionError(FOREIGN),
            after_sending,
            Failure(BAD, "unexpected ZeroDivisionError", sent=True),
            id="a defect is told by its kind",
        ),
    ],
)
def test_an_exception_is_told_as(error: Exception, made, expected: Failure) -> None:
    assert translate(error, made()) == expected


# What this host itself lacks or forbids, by its number.
LOCAL = {
    errno.EMFILE: "too many open files in this process (ulimit -n)",
    errno.ENFILE: "too many open files on this host (fs.file-max)",
    errno.EADDRNOTAVAIL: "no local port is left (net.ipv4.ip_local_port_range)",
    errno.ENOBUFS: "no buffer space is left",
    errno.ENOMEM: "no memory is left",
    errno.EACCES: "a rule of this host forbids the connection (permission denied)",
    errno.EPERM: "a rule of this host forbids the connection (operation not permitted)",
    errno.EAFNOSUPPORT: "this host does not support the address's family",
}
LACKING = pytest.mark.parametrize("number", LOCAL, ids=errno.errorcode.get)


@LACKING
@pytest.mark.parametrize("made", [while_resolving, while_connecting, while_shaking_hands])
def test_what_this_host_lacks_is_no_peers_fault(number: int, made) -> None:
    assert translate(OSError(number, FOREIGN), made()) == Failure(Cause.LOCAL, LOCAL[number])


@LACKING
def test_once_a_request_is_sent_what_this_host_lacks_leaves_its_answer_unknown(
    number: int,
) -> None:
    failure = translate(OSError(number, FOREIGN), after_sending())
    assert failure == Failure(BAD, os.strerror(number).lower(), sent=True)


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        (9, Finding.NOT_YET_VALID),
        (10, Finding.EXPIRED),
        (18, Finding.UNKNOWN_AUTHORITY),
        (19, Finding.UNKNOWN_AUTHORITY),
        (20, Finding.UNKNOWN_AUTHORITY),
        (21, Finding.UNKNOWN_AUTHORITY),
        (26, None),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_a_verification_result_of_openssl_is_the_finding(
    code: int, finding: Finding | None
) -> None:
    error = ssl_error(ssl.SSLCertVerificationError, verify_code=code, verify_message="x")
    failure = translate(error, while_shaking_hands())
    assert (failure.cause, failure.final, failure.finding) == (Cause.PEER_UNTRUSTED, True, finding)


@pytest.mark.parametrize(
    "name",
    [
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_3_ALERT_BAD_CERTIFICATE",
    ],
)
@pytest.mark.parametrize("made", [while_shaking_hands, after_sending])
def test_an_alert_about_a_certificate_means_that_ours_is_refused(name: str, made) -> None:
    limits = made()
    failure = translate(alert(name), limits)
    assert failure == Failure(
        Cause.IDENTITY_REFUSED,
        f"TLS alert {name.partition('ALERT_')[2].lower()}",
        final=True,
        sent=limits.sent,
    )


def in_context(inner: Exception, outer: Exception) -> Exception:
    outer.__context__ = inner
    return outer


def caused_by(inner: Exception, outer: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


RESET = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
UNKNOWN_CA = alert("TLSV1_ALERT_UNKNOWN_CA")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(requests.exceptions.SSLError(UNKNOWN_CA, request=object()), id="argument"),
        pytest.param(
            requests.exceptions.SSLError(
                urllib3.exceptions.MaxRetryError(None, "/", urllib3.exceptions.SSLError(UNKNOWN_CA))
            ),
            id="reason",
        ),
        pytest.param(caused_by(UNKNOWN_CA, requests.ConnectionError(FOREIGN)), id="cause"),
        pytest.param(in_context(UNKNOWN_CA, requests.ConnectionError(FOREIGN)), id="context"),
        pytest.param(in_context(RESET, UNKNOWN_CA), id="after a failed write"),
        pytest.param(in_context(UNKNOWN_CA, RESET), id="before a failed write"),
    ],
)
def test_the_most_telling_exception_of_a_chain_decides(error: Exception) -> None:
    assert translate(error, after_sending()).cause is Cause.IDENTITY_REFUSED


def test_a_chain_that_runs_in_a_circle_ends() -> None:
    one, other = requests.ConnectionError(FOREIGN), requests.ConnectionError(FOREIGN)
    one.args, other.args = (other,), (one,)
    assert translate(one, after_sending()).cause is BAD

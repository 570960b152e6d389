# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The URIs that a certificate names, without any library: a keeper's host has none.

Source: X.690 (DER), RFC 5280, section 4.2.1.6.
"""

from __future__ import annotations

from collections.abc import Iterator

_OCTET_STRING = 0x04
_OBJECT_IDENTIFIER = 0x06
_EXTENSIONS = 0xA3
_URI = 0x86
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")
_LONG_LENGTH = 0x80


def uris(certificate: bytes) -> list[str]:
    """The URIs in the subject alternative names of a certificate, in DER.

    Raises ValueError for what is no certificate.
    """
    found: list[str] = []
    try:
        (_tag, whole), *_rest = _values(certificate)
        (_tag, to_be_signed), *_rest = _values(whole)
        for tag, extensions in _values(to_be_signed):
            if tag == _EXTENSIONS:
                (_tag, listed), *_rest = _values(extensions)
                for _tag, extension in _values(listed):
                    found += _uris_of(extension)
    except (IndexError, ValueError):
        raise ValueError("it is no certificate") from None
    return found


def _uris_of(extension: bytes) -> list[str]:
    fields = list(_values(extension))
    if fields[0] != (_OBJECT_IDENTIFIER, _SUBJECT_ALT_NAME):
        return []
    tag, value = fields[-1]
    if tag != _OCTET_STRING:
        return []
    (_tag, names), *_rest = _values(value)
    return [name.decode("ascii", "replace") for kind, name in _values(names) if kind == _URI]


def _values(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Each value in ``content``, with its tag."""
    at = 0
    while at < len(content):
        tag, length = content[at], content[at + 1]
        at += 2
        if length & _LONG_LENGTH:
            size = length & ~_LONG_LENGTH
            length = int.from_bytes(content[at : at + size], "big")
            at += size
        if at + length > len(content):
            raise ValueError("a value is longer than what holds it")
        yield tag, content[at : at + length]
        at += length


__all__ = ["uris"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The libraries that a host may lack, imported here and nowhere else.

Ansible wants every file to be importable without them. Where one is missing, its names stand for
nothing that could be used, and ``_entry.libraries`` says so before anything is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests
    import urllib3
    from cryptography import x509
    from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    from requests.adapters import HTTPAdapter
else:

    class _AnyName(type):
        def __getattr__(cls, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return cls

    class _Missing(Exception, metaclass=_AnyName):
        """Stands for all that a missing library has: classes, also exceptions, and modules."""

    try:
        import requests
        import urllib3
        from requests.adapters import HTTPAdapter
    except ImportError:
        requests = urllib3 = HTTPAdapter = _Missing

    try:
        from cryptography import x509
        from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError:
        x509 = hashes = serialization = ec = rsa = AESGCM = _Missing
        InvalidTag = UnsupportedAlgorithm = ExtendedKeyUsageOID = NameOID = _Missing


__all__ = [
    "AESGCM",
    "ExtendedKeyUsageOID",
    "HTTPAdapter",
    "InvalidTag",
    "NameOID",
    "UnsupportedAlgorithm",
    "ec",
    "hashes",
    "requests",
    "rsa",
    "serialization",
    "urllib3",
    "x509",
]

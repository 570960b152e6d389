# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our identity from files, as spiffe-helper or ``spire-agent api fetch x509 -write`` leave them."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping

from .._dataclass import dataclass
from .._errors import IdentityError
from .._third_party import x509
from .svid import (
    Offer,
    build_identity,
    certificates_from_pem,
    check_key,
    leaf_spiffe_id,
    private_key_from_pem,
)

_EXTRACT = "spiffe_failed_to_extract_x509_svid"
# Far more than any chain, key or bundle; a wrong path must not fill the memory.
_LARGEST = 4 * 1024 * 1024


def read_files(
    svid_cert: str | None,
    svid_key: str | None,
    svid_bundle: str | None,
    federated_bundles: Mapping[str, str],
    needed: Collection[str],
) -> Offer:
    """Read the SVID in PEM files: its chain, its key, and the bundle of its own trust domain.

    ``federated_bundles`` maps other trust domains to the files with their bundles; those that are
    not ``needed`` are not read. Raises IdentityError, which begins with the name of the option to
    blame.
    """
    cert_file = _File.of("svid_cert", svid_cert)
    key_file = _File.of("svid_key", svid_key)
    bundle_file = _File.of("svid_bundle", svid_bundle)

    chain = _certificates(cert_file, "give the SVID's chain, the leaf first")
    try:
        spiffe_id = leaf_spiffe_id(chain[0])
    except ValueError as error:
        raise cert_file.refused(
            f"the first certificate is not an SVID: {error}",
            "give the SVID's chain, the leaf first",
            "spiffe_invalid_spiffe_id",
        ) from None
    # The key's bytes must not hang on an exception, not even as the context of ours.
    problem = None
    try:
        private_key = private_key_from_pem(key_file.read())
    except ValueError as error:
        problem = str(error)
    if problem is not None:
        raise key_file.refused(problem, "give the SVID's EC or RSA key, in PEM, unencrypted")
    try:
        check_key(chain[0], private_key)
    except ValueError as error:
        raise key_file.refused(
            f"{error} in {cert_file.path}", "give the two files of one and the same SVID"
        ) from None

    own = spiffe_id.trust_domain
    bundles = {own: _certificates(bundle_file, f"give the trust bundle of {own}, in PEM")}
    for domain, bundle in _federated(own, federated_bundles).items():
        if domain not in needed:
            continue
        bundles[domain] = _certificates(bundle, f"give the trust bundle of {domain}, in PEM")
    return Offer(
        identities=(build_identity(chain, private_key, bundles),),
        option="svid_cert",
        origin=f"in {cert_file.path}",
        if_other="give the files of the {part} SVID, or correct {trust_root_bootstrap}",
        if_outdated="have it renewed (spiffe-helper does it by itself), and check the host's clock",
        if_unfederated="give its bundle in {federated_bundles}, as a dictionary from trust domain"
        " to file",
        if_foreign="give the bundle of the trust domain itself",
        bundle_option="svid_bundle",
    )


@dataclass(frozen=True)
class _File:
    """A file and the option that points to it, as messages name them."""

    option: str
    path: str

    @classmethod
    def of(cls, option: str, path: str | None) -> _File:
        if not path:
            raise IdentityError(
                "it is needed where {svid_source} is files",
                remedy="give {svid_cert}, {svid_key} and {svid_bundle}",
                option=option,
            )
        return cls(option, path)

    def refused(self, problem: str, remedy: str, code: str = _EXTRACT) -> IdentityError:
        return IdentityError(f"{self.path}: {problem}", remedy, option=self.option, code=code)

    def read(self) -> bytes:
        """Read the whole file.

        A pipe or a device is refused, not read: that might never end.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise self.refused("it is not a regular file", "give a file")
                content = stream.read(_LARGEST + 1)
        except PermissionError:
            raise self._unreadable(
                "Permission denied",
                f"let the user who runs the task (uid {os.geteuid()}) read it, or run the task"
                " as one who may (become_user)",
            ) from None
        except IsADirectoryError:
            raise self._unreadable("Is a directory", "give a file") from None
        except OSError as error:
            raise self._unreadable(
                error.strerror or "it cannot be opened",
                "give a path on the host that runs the bootstrap, and check that whatever"
                " writes the file (spiffe-helper, for example) has run",
            ) from None
        if len(content) > _LARGEST:
            raise self.refused("it is larger than 4 MiB", "give the right file")
        return content

    def _unreadable(self, problem: str, remedy: str) -> IdentityError:
        return self.refused(problem, remedy, IdentityError.code)


def _certificates(file: _File, remedy: str) -> tuple[x509.Certificate, ...]:
    try:
        return certificates_from_pem(file.read())
    except ValueError as error:
        raise file.refused(str(error), remedy) from None


def _federated(own: str, federated_bundles: Mapping[str, str]) -> dict[str, _File]:
    if own in federated_bundles:
        raise IdentityError(
            f"{own} is the SVID's own trust domain",
            "give its bundle in {svid_bundle} instead",
            option="federated_bundles",
        )
    return {d: _File("federated_bundles", path) for d, path in federated_bundles.items()}


__all__ = ["read_files"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the SVID that keepers and Nexus are shown comes from."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  svid_source:
    description:
      - Where the X.509-SVID and the trust bundles come from, V(workload_api) by default.
    type: str
    choices:
      workload_api: >-
        The SPIFFE Workload API at O(spiffe_endpoint_socket). Needs the Python package V(spiffe) on
        the target host.
      files: >-
        The files O(svid_cert), O(svid_key) and O(svid_bundle), for example those that
        spiffe-helper keeps up to date.
      spire_agent: >-
        What C(spire-agent api fetch x509) gets from O(spiffe_endpoint_socket). Needs no Python
        package.
    default: workload_api
    version_added: 1.0.0
  spiffe_endpoint_socket:
    description:
      - The Workload API's socket, as a path or a V(unix:) URL, by default where SPIRE's agent puts
        it. Not used when O(svid_source=files).
      - Falls back to E(SPIFFE_ENDPOINT_SOCKET) on the target host.
    type: str
    default: unix:///tmp/spire-agent/public/api.sock
    version_added: 1.0.0
  spiffe_source_timeout:
    description:
      - Time for getting the identity, 30 seconds by default, as a Go duration or a number of
        seconds. Not used when O(svid_source=files).
      - Falls back to E(SPIKE_SPIFFE_SOURCE_TIMEOUT) on the target host.
    type: str
    default: 30s
    version_added: 1.0.0
  svid_cert:
    description:
      - Path of the SVID's certificate chain, PEM, the SVID itself first. Required when
        O(svid_source=files), otherwise not used.
    type: path
    version_added: 1.0.0
  svid_key:
    description:
      - Path of the SVID's private key, PEM, not encrypted. Required when O(svid_source=files),
        otherwise not used.
    type: path
    version_added: 1.0.0
  svid_bundle:
    description:
      - Path of the trust bundle of the SVID's own trust domain, PEM. Required when
        O(svid_source=files), otherwise not used.
    type: path
    version_added: 1.0.0
  spire_agent_path:
    description:
      - The C(spire-agent) program, searched for in E(PATH) by default. Used only when
        O(svid_source=spire_agent).
    type: path
    default: spire-agent
    version_added: 1.0.0
  federated_bundles:
    description:
      - Paths of the trust bundles of trust domains other than the SVID's own, PEM, as a dictionary
        from trust domain to path, empty by default.
      - Used only when O(svid_source=files), and needed there for every trust domain of a peer that
        is not the SVID's own, keepers' where keepers are contacted, and those in
        O(trust_root_nexus).
    type: dict
    default: {}
    version_added: 1.0.0
"""

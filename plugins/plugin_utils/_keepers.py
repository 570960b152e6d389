# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which keeper is which: from an inventory to keepers with their ids, or what is wrong with it.

A keeper's id decides which shard it gets, so an order that Nexus does not have makes a wrong key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ID = "spike_keeper_id"
URL = "spike_keeper_url"


@dataclass(frozen=True)
class Keeper:
    """A keeper: its id, the inventory's name of its host, and its URL."""

    id: int
    host: str
    url: str


def keepers_of(
    group: str,
    hosts: Sequence[str],
    variables: Mapping[str, Mapping[str, Any]],
    children: Sequence[str] | None,
) -> tuple[list[Keeper], list[str]]:
    """The keepers in id order, and what is wrong, in sentences; one of the two is empty.

    ``hosts`` are those of ``group``, in the order in which Ansible has them, ``variables`` theirs,
    and ``children`` the group's child groups, None where they cannot be known.
    """
    problems = [*_missing_urls(group, hosts, variables), *_bad_ids(group, hosts, variables)]
    if not hosts:
        problems.append(
            f"The group {group} is empty. It must hold all keepers, in the order in which SPIKE"
            " Nexus lists them."
        )
    given = [host for host in hosts if _id_of(variables[host]) is not None]
    if not given and children != [] and len(hosts) > 1:
        problems.append(_unordered(group, hosts, children))
    if problems:
        return [], problems
    ids = {host: _id_of(variables[host]) or i for i, host in enumerate(hosts, 1)}
    in_order = sorted(hosts, key=lambda host: ids[host])
    return [Keeper(ids[host], host, _url_of(variables[host])) for host in in_order], []


def _missing_urls(
    group: str, hosts: Sequence[str], variables: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    without = [host for host in hosts if not _url_of(variables[host])]
    if not without:
        return []
    have = "has" if len(without) == 1 else "have"
    return [
        f"{_listed(without)} in the group {group} {have} no {URL}. Set it to the keeper's address"
        f" as seen from the bootstrap host, for example https://{without[0]}:8443."
    ]


def _bad_ids(
    group: str, hosts: Sequence[str], variables: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    given = {host: variables[host].get(ID) for host in hosts if _given(variables[host].get(ID))}
    if not given:
        return []
    without = [host for host in hosts if host not in given]
    if without:
        return [
            f"{ID} is set for {len(given)} of the {len(hosts)} keepers, and not for"
            f" {_listed(without)}. Set it for all of them, 1 to {len(hosts)} in the order of"
            " Nexus's SPIKE_NEXUS_KEEPER_PEERS, or for none."
        ]
    numbers = {host: _id_of(variables[host]) for host in hosts}
    if sorted(number or 0 for number in numbers.values()) == list(range(1, len(hosts) + 1)):
        return []
    shown = ", ".join(f"{host}: {given[host]}" for host in hosts[:20])
    return [
        f"{ID} must count the keepers of the group {group} from 1 to {len(hosts)}, each number"
        f" once, in the order of Nexus's SPIKE_NEXUS_KEEPER_PEERS. It is {shown}."
    ]


def _unordered(group: str, hosts: Sequence[str], children: Sequence[str] | None) -> str:
    why = (
        f"The group {group} has child groups ({', '.join(children)}), and Ansible lists the hosts"
        " of those in another order than they are written in"
        if children
        else f"It cannot be seen whether the group {group} has child groups, which Ansible would"
        " list in another order than they are written in"
    )
    return (
        f"{why}: it has {_listed(hosts)} now. A wrong order makes a wrong root key. Set {ID} for"
        f" each keeper, 1 to {len(hosts)} in the order of Nexus's SPIKE_NEXUS_KEEPER_PEERS, or list"
        " the keepers in the group itself."
    )


def _given(value: object) -> bool:
    return value is not None and value != ""


def _id_of(variables: Mapping[str, Any]) -> int | None:
    value = variables.get(ID)
    if isinstance(value, bool) or not _given(value):
        return None
    try:
        return int(str(value).strip())
    except ValueError:
        return None


def _url_of(variables: Mapping[str, Any]) -> str:
    value = variables.get(URL)
    return "" if value is None else str(value).strip()


def _listed(hosts: Sequence[str]) -> str:
    more = f" and {len(hosts) - 20} more" if len(hosts) > 20 else ""
    return ", ".join(hosts[:20]) + more


__all__ = ["ID", "URL", "Keeper", "keepers_of"]

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each step that is printed about this host is tried, to the letter.

For what is wrong with its directories, its memory of earlier runs, its identity, its limits and its
libraries. What is wrong with Nexus and keepers is in ``test_steps_followed``.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._naming import Naming
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.tests.support.host_operator import (
    NOBODY,
    Site,
    Step,
    become,
    command,
    follow,
    give,
    nothing,
    rerun,
    rerun_in_check_mode,
    without_what_is_wrong,
)
from ansible_collections.dayzero.spike.tests.support.module_forks import Forks
from ansible_collections.dayzero.spike.tests.support.rerun_world import world
from ansible_collections.dayzero.spike.tests.support.workload_api import (
    Fault,
    Grant,
    WorkloadApi,
)

pytestmark = pytest.mark.slow

MODULE_UTILS = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"
RERUN = ("Rerun bootstrap.", rerun)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture(scope="module")
def other_forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture
def site(forks: Forks, tmp_path: Path) -> Iterator[Site]:
    with contextlib.ExitStack() as resources:
        cluster = resources.enter_context(world(forks))
        # Readable for whoever runs the module: pytest's own directories are not.
        files = cluster.state_dir.parent / "files"
        files.mkdir()
        yield Site(cluster, resources, files)


@dataclass(frozen=True)
class Row:
    """Something that is wrong on a host.

    ``cause`` brings it about and may make a run of its own. ``steps`` are all that is printed, with
    what is done about each. ``ends`` is the code of the refusal in which the last rerun ends, where
    that is not a cluster that is proved. ``option`` is the refused one, whose name is before the
    first step.
    """

    name: str
    cause: Callable[[Site], object]
    steps: tuple[Step, ...]
    code: str = "data_invalid_input"
    option: str | None = None
    ends: str | None = None
    root: bool = False

    @property
    def printed(self) -> tuple[Step, ...]:
        if self.option is None:
            return self.steps
        (text, act), *others = self.steps
        return ((f"{self.option}: {text}", act), *others)


def refused(option: str, name: str, cause: Any, step: str, act: Any, **named: Any) -> Row:
    """A refused option: one step about it, then a rerun."""
    return Row(name, cause, ((step, act), RERUN), option=option, **named)


def all_of(*acts: Callable[[Site], object]) -> Callable[[Site], None]:
    def do(site: Site) -> None:
        for act in acts:
            act(site)

    return do


# -- directories


def as_nobody(site: Site) -> None:
    site.become(NOBODY)
    site.own_directories(NOBODY)


def state_of_root(site: Site) -> None:
    """The journal of an unfinished run is root's, and another user comes along."""
    site.leave_unfinished()
    site.become(NOBODY)
    given_runtime_dir(site)


def given_runtime_dir(site: Site) -> None:
    os.chown(site.runtime_dir, NOBODY, -1)


def back_to_root(site: Site, user: str) -> None:
    # The directory in memory was given away only so that state_dir is what is refused.
    become(site, user)
    os.chown(site.runtime_dir, 0, -1)


def empty_state_of_root(site: Site) -> None:
    site.state_dir.mkdir(mode=0o755)
    site.become(NOBODY)
    given_runtime_dir(site)


def below_a_closed_parent(site: Site) -> None:
    """state_dir is missing, and only an administrator may make it."""
    site.become(NOBODY)
    given_runtime_dir(site)


def lock_of_root(site: Site) -> None:
    as_nobody(site)
    (site.state_dir / "lock").touch(mode=0o600)


def closed_to_its_owner(site: Site) -> None:
    as_nobody(site)
    site.state_dir.chmod(0)


def on_disk(site: Site) -> str:
    return str(site.files / "private")


def fresh_state_dir(site: Site) -> str:
    return str(site.files / "state")


def fresh_runtime_dir(site: Site) -> str:
    return str(Path(site.resources.enter_context(memory())))


@contextlib.contextmanager
def memory() -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="host-steps-") as path:
        yield path


def make_private(site: Site) -> None:
    (site.files / "private").mkdir(mode=0o700)


def made_by_hand(site: Site) -> None:
    """A directory in memory whose parent is root's, as /run is."""
    parent = Path(fresh_runtime_dir(site))
    parent.chmod(0o755)
    site.options["runtime_dir"] = str(parent / "spike-bootstrap")
    site.become(NOBODY)
    site.state_dir.mkdir(mode=0o700)
    os.chown(site.state_dir, NOBODY, -1)


def runtime_of_nobody(site: Site) -> None:
    os.chown(site.runtime_dir, NOBODY, -1)


def run_as_the_owner(site: Site, user: str) -> None:
    become(site, user)
    # Its own, as it was before root came along.
    site.state_dir.mkdir(mode=0o700, exist_ok=True)
    os.chown(site.state_dir, NOBODY, -1)


def remove_what_is_named(site: Site, *_found: str) -> None:
    path = site.last["msg"].removeprefix("runtime_dir: ").split(" is not for ")[0]
    shutil.rmtree(path)


def linked(site: Site) -> None:
    link = site.runtime_dir / "link"
    (site.runtime_dir / "real").mkdir(mode=0o700)
    link.symlink_to("real")
    site.options["runtime_dir"] = str(link)


def no_default(site: Site) -> None:
    site.options["runtime_dir"] = None
    site.prelude = """
from ansible_collections.dayzero.spike.plugins.module_utils._state import memory_dir
memory_dir.lies_in_memory = lambda path: False
"""


TMPFS = "Give a directory on tmpfs, such as /run/spike-bootstrap, that the running user owns."
OTHERS = (
    "Run the task as <user> (become_user), to whom it belongs: it may hold the key of that user's"
    " unfinished run; or, if no run of that user can have made it, let an administrator remove it."
)
ON_DISK = (
    "Give a directory on disk that user id <user> can write, for example /var/lib/spike-bootstrap."
)
WHOSE_STATE = (
    "Run the task as <user> (become_user), to whom it belongs: it may hold the journal of that"
    " user's run; or, if no run has used it, let an administrator hand it over with chown <chown>."
)


def hand_over(site: Site, _user: str, chown: str) -> None:
    command("chown")(site, *chown.split(" "))


DIRECTORIES = [
    refused(
        "state_dir",
        "in memory",
        lambda site: site.options.update(state_dir=f"{site.runtime_dir}/state"),
        ON_DISK,
        give(state_dir=fresh_state_dir),
    ),
    refused(
        "state_dir",
        "a file",
        lambda site: site.state_dir.touch(),
        ON_DISK,
        give(state_dir=fresh_state_dir),
    ),
    refused(
        "state_dir",
        "its parent is a file",
        lambda site: (
            (site.files / "file").touch(),
            site.options.update(state_dir=f"{site.files}/file/state"),
        ),
        ON_DISK,
        give(state_dir=fresh_state_dir),
    ),
    refused(
        "state_dir",
        "of another user's run, which is gone on with",
        state_of_root,
        WHOSE_STATE,
        lambda site, user, _chown: back_to_root(site, user),
        root=True,
    ),
    refused(
        "state_dir",
        "of another user, and never used",
        empty_state_of_root,
        WHOSE_STATE,
        hand_over,
        root=True,
    ),
    refused(
        "state_dir",
        "may not be made",
        below_a_closed_parent,
        "Let an administrator make it with install <arguments>.",
        lambda site, arguments: command(f"install {arguments}")(site),
        root=True,
    ),
    refused(
        "state_dir",
        "its lock is another user's",
        lock_of_root,
        "Let an administrator hand the lock over with chown <user> <path>.",
        command("chown"),
        root=True,
    ),
    refused(
        "state_dir",
        "closed to its owner",
        closed_to_its_owner,
        "Open it to its owner with chmod u+rwx <path>.",
        command("chmod u+rwx"),
        root=True,
    ),
    refused(
        "runtime_dir",
        "on a disk",
        lambda site: (make_private(site), site.options.update(runtime_dir=on_disk(site))),
        TMPFS,
        give(runtime_dir=fresh_runtime_dir),
    ),
    refused(
        "runtime_dir",
        "would lie on a disk",
        lambda site: site.options.update(runtime_dir=on_disk(site)),
        TMPFS,
        give(runtime_dir=fresh_runtime_dir),
    ),
    refused(
        "runtime_dir",
        "of another user, who runs it",
        runtime_of_nobody,
        OTHERS,
        run_as_the_owner,
        root=True,
    ),
    refused(
        "runtime_dir",
        "of another user who never ran it",
        runtime_of_nobody,
        OTHERS,
        remove_what_is_named,
        root=True,
    ),
    refused(
        "runtime_dir",
        "open to others",
        lambda site: site.runtime_dir.chmod(0o755),
        "Close it with chmod 0700 <path>.",
        command("chmod 0700"),
    ),
    refused(
        "runtime_dir",
        "everybody's",
        lambda site: site.runtime_dir.chmod(0o1777),
        TMPFS,
        give(runtime_dir=fresh_runtime_dir),
    ),
    refused("runtime_dir", "a link", linked, TMPFS, give(runtime_dir=fresh_runtime_dir)),
    refused(
        "runtime_dir",
        "without a parent",
        lambda site: site.options.update(runtime_dir=f"{site.runtime_dir}/no/such"),
        TMPFS,
        give(runtime_dir=fresh_runtime_dir),
    ),
    refused(
        "runtime_dir",
        "a file",
        lambda site: (
            (site.runtime_dir / "file").touch(),
            site.options.update(runtime_dir=f"{site.runtime_dir}/file"),
        ),
        TMPFS,
        give(runtime_dir=fresh_runtime_dir),
    ),
    refused(
        "runtime_dir",
        "may not be made",
        made_by_hand,
        "Let an administrator make it with install <arguments>.",
        lambda site, arguments: command(f"install {arguments}")(site),
        root=True,
    ),
    refused(
        "runtime_dir",
        "not given, on a host without a default",
        no_default,
        TMPFS,
        give(runtime_dir=fresh_runtime_dir),
    ),
    refused(
        "nexus_data_dir",
        "a file that is no database",
        lambda site: (
            (site.files / "notes").touch(),
            site.options.update(nexus_data_dir=f"{site.files}/notes"),
        ),
        "Give the directory of Nexus's data, for example <path>.",
        lambda site, path: site.options.update(nexus_data_dir=path),
    ),
    refused(
        "nexus_data_dir",
        "the database itself",
        lambda site: (
            (site.files / "spike.db").touch(),
            site.options.update(nexus_data_dir=f"{site.files}/spike.db"),
        ),
        "Give the directory of Nexus's data, for example <path>.",
        lambda site, path: site.options.update(nexus_data_dir=path),
        ends="state_already_initialized",
    ),
]


# -- what runs remember


def finish_well(site: Site) -> None:
    assert not site.run().get("failed")


def damage(site: Site) -> None:
    site.notes["backup"] = site.journal.read_bytes()
    site.journal.write_bytes(site.notes["backup"][:100])


def restore_and_rerun(site: Site) -> None:
    site.journal.write_bytes(site.notes["backup"])
    site.run()


def move_away(site: Site) -> None:
    site.journal.rename(site.files / "journal.json")


def check_is_refused(site: Site) -> None:
    assert site.run(check=True)["failed"]


BACKUP = "Restore it from a backup, if there is one, and rerun bootstrap."
AWAY = "Otherwise move it away, and keep it."
CHECK = "Then rerun bootstrap in check mode: it says whether Nexus has a root key already."
IF_NOT = "If that is not refused, rerun bootstrap."


def of_a_newer_version(site: Site) -> None:
    site.leave_unfinished()
    written = json.loads(site.journal.read_text())
    site.journal.write_text(json.dumps({**written, "version": 2}))


def upgrade(site: Site) -> None:
    """A newer collection, whose journals have this version."""
    site.prelude = (
        "from ansible_collections.dayzero.spike.plugins.module_utils._state import journal\n"
        "journal.VERSION = 2\n"
    )


def unreadable_journal(site: Site) -> None:
    site.leave_unfinished()
    as_nobody(site)
    os.chown(site.journal, 0, -1)
    site.journal.chmod(0o600)


def as_root_again(site: Site) -> None:
    site.become(0)
    site.own_directories(0)


def readable_again(site: Site) -> None:
    site.journal.chmod(0o644)


def not_to_be_written(site: Site) -> None:
    """A lock is there, but nothing new may be written beside it."""
    as_nobody(site)
    (site.state_dir / "lock").touch(mode=0o600)
    os.chown(site.state_dir / "lock", NOBODY, -1)
    site.state_dir.chmod(0o500)


def writable_again(site: Site, path: str = "") -> None:
    assert not path or path == "state_dir"
    site.state_dir.chmod(0o700)


def no_space_for_a_journal(site: Site) -> None:
    # For the journal alone: a limit that holds earlier is met by the SVID's memory file.
    site.prelude = """
import resource
from ansible_collections.dayzero.spike.plugins.module_utils._state import journal
replace_file = journal.replace_file
def replace_where_it_is_full(*arguments, **named):
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
    replace_file(*arguments, **named)
journal.replace_file = replace_where_it_is_full
"""


WRITABLE = "Make state_dir writable for the running user, with free space."


def key_of_root(site: Site) -> None:
    site.leave_unfinished()
    as_nobody(site)
    os.chown(site.cluster.key_file, 0, -1)


def key_is_a_link(site: Site) -> None:
    site.cluster.key_file.symlink_to("/dev/null")


def move_what_is_printed(site: Site, path: str) -> None:
    os.rename(path, f"{path}.away")


def full(site: Site) -> None:
    """A tmpfs of one page, which is taken."""
    path = fresh_runtime_dir(site)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "none", path]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    site.resources.callback(subprocess.run, ["umount", path], check=True)
    Path(path, "filler").write_bytes(bytes(4096))
    site.options["runtime_dir"] = path


def free(site: Site) -> None:
    (site.runtime_dir / "filler").unlink()


def closed_memory(site: Site) -> None:
    as_nobody(site)
    site.runtime_dir.chmod(0o500)


def another_of_nobodys(site: Site) -> None:
    site.options["runtime_dir"] = fresh_runtime_dir(site)
    os.chown(site.runtime_dir, NOBODY, -1)


def key_stays(site: Site) -> None:
    """Nexus proves the key of an unfinished run whose directory is closed by then."""
    site.leave_unfinished()
    closed_memory(site)


def half_written_key_stays(site: Site) -> None:
    """What a crash left beside the key, in a directory that is closed by then."""
    finish_well(site)
    site.cluster.key_file.with_name(f".{site.cluster.key_file.name}.new").touch()
    closed_memory(site)


KEPT = "Free memory there, or give another runtime_dir in memory."
REMOVE = "Let an administrator remove <path>."
UNUSABLE = "store_invalid_configuration"

MEMORY = [
    Row(
        "a damaged journal of which there is a backup",
        all_of(Site.leave_unfinished, damage),
        ((BACKUP, restore_and_rerun), (AWAY, nothing), (CHECK, nothing), (IF_NOT, nothing)),
        UNUSABLE,
    ),
    Row(
        "a damaged journal whose key still waits",
        all_of(Site.leave_unfinished, damage),
        ((BACKUP, nothing), (AWAY, move_away), (CHECK, rerun_in_check_mode), (IF_NOT, rerun)),
        UNUSABLE,
    ),
    Row(
        "a damaged journal of a finished cluster",
        all_of(finish_well, damage),
        ((BACKUP, nothing), (AWAY, move_away), (CHECK, check_is_refused), (IF_NOT, nothing)),
        UNUSABLE,
        ends="state_already_initialized",
    ),
    Row(
        "a journal of a newer version",
        of_a_newer_version,
        (("Upgrade the collection dayzero.spike.", upgrade), RERUN),
        UNUSABLE,
    ),
    *(
        Row(
            f"an unreadable journal, {name}",
            unreadable_journal,
            (
                (
                    "Run bootstrap as the user who ran it before, or make the journal readable for"
                    " the running one.",
                    act,
                ),
                RERUN,
            ),
            UNUSABLE,
            root=True,
        )
        for name, act in [("run as before", as_root_again), ("made readable", readable_again)]
    ),
    Row(
        "a journal that may not be written",
        not_to_be_written,
        ((WRITABLE, writable_again), RERUN),
        UNUSABLE,
        root=True,
    ),
    Row(
        "no space for a journal",
        no_space_for_a_journal,
        ((WRITABLE, without_what_is_wrong), RERUN),
        UNUSABLE,
    ),
    Row(
        "a key of another user",
        key_of_root,
        (("Let an administrator hand it over with chown <user> <path>.", command("chown")), RERUN),
        UNUSABLE,
        root=True,
    ),
    Row(
        "a key that is a link",
        key_is_a_link,
        (
            (
                "Let an administrator move <path> away: no run has made it.",
                move_what_is_printed,
            ),
            RERUN,
        ),
        UNUSABLE,
    ),
    Row("no memory for a key", full, ((KEPT, free), RERUN), UNUSABLE, root=True),
    Row(
        "no memory for a key, and another place",
        full,
        ((KEPT, give(runtime_dir=fresh_runtime_dir)), RERUN),
        UNUSABLE,
        root=True,
    ),
    Row(
        "a directory in memory that is closed",
        closed_memory,
        ((KEPT, another_of_nobodys), RERUN),
        UNUSABLE,
        root=True,
    ),
    Row(
        "a key that cannot be removed",
        key_stays,
        ((REMOVE, command("rm")), RERUN),
        UNUSABLE,
        root=True,
    ),
    Row(
        "a half-written key that cannot be removed",
        half_written_key_stays,
        ((REMOVE, command("rm")), RERUN),
        UNUSABLE,
        root=True,
    ),
]


# -- identities


def issue(site: Site, name: str, **issued: Any) -> dict[str, str]:
    """The options for an SVID of the sandbox's authority, in files of its own."""
    svid = site.cluster.sandbox.authority.issue(**{"spiffe_id": BOOTSTRAP, **issued})
    certificate, key = site.cluster.sandbox.authority.write(site.files, name, svid)
    return {"svid_cert": str(certificate), "svid_key": str(key)}


def shows(**issued: Any) -> Callable[[Site], None]:
    return lambda site: site.options.update(issue(site, "other", **issued))


def renew(site: Site) -> None:
    """What spiffe-helper does: the files are the same, and their content is new."""
    issue(site, "other")


def right_files(site: Site, *_found: str) -> None:
    for option in ("svid_cert", "svid_key", "svid_bundle"):
        site.options.pop(option, None)


def another_key(site: Site) -> None:
    site.options["svid_key"] = issue(site, "other")["svid_key"]


def content(option: str, text: bytes) -> Callable[[Site], None]:
    def do(site: Site) -> None:
        (site.files / "other.pem").write_bytes(text)
        site.options[option] = str(site.files / "other.pem")

    return do


def foreign_bundle(site: Site) -> None:
    bundle = site.cluster.sandbox.svid_bundle.read_bytes() + Authority("other.org").bundle_pem()
    content("svid_bundle", bundle)(site)


def other_domain(site: Site) -> None:
    site.options["trust_root_keeper"] = ["spike.ist", "other.org"]


def federate(site: Site) -> None:
    path = site.files / "other.org.pem"
    path.write_bytes(Authority("other.org").bundle_pem())
    site.options["federated_bundles"] = {"other.org": str(path)}


def key_closed(site: Site) -> None:
    as_nobody(site)
    os.chown(site.cluster.sandbox.svid_key, 0, -1)


def let_read(site: Site, user: str) -> None:
    os.chown(site.cluster.sandbox.svid_key, int(user), -1)


def run_as_one_who_may(site: Site, _user: str) -> None:
    site.become(0)
    site.own_directories(0)


def over_the_api(site: Site, fault: Fault = Fault.NONE) -> None:
    """An agent that listens, and serves the bootstrap's identity unless it has a fault."""
    authority = site.cluster.sandbox.authority
    grant = Grant(authority.issue(BOOTSTRAP), authority)
    api = site.resources.enter_context(WorkloadApi([grant], fault=fault))
    site.options.update(svid_source="workload_api", spiffe_endpoint_socket=str(api.path))


def no_agent(site: Site) -> None:
    site.options.update(
        svid_source="workload_api", spiffe_endpoint_socket=str(site.files / "api.sock")
    )


def start_agent(site: Site) -> None:
    """It listens where it was looked for."""
    path = Path(site.options["spiffe_endpoint_socket"])
    over_the_api(site)
    path.symlink_to(site.options["spiffe_endpoint_socket"])
    site.options["spiffe_endpoint_socket"] = str(path)


def well_agent(site: Site, *_found: str) -> None:
    """What was wrong with the agent, or was missing in its server, is so no longer."""
    over_the_api(site)


def listener(site: Site) -> str:
    """A socket that accepts connections, as far as a look before the call can tell."""
    directory = site.resources.enter_context(tempfile.TemporaryDirectory(prefix="agent-"))
    server = site.resources.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(f"{directory}/api.sock")
    server.listen(8)
    Path(directory).chmod(0o711)
    Path(directory, "api.sock").chmod(0o777)
    return f"{directory}/api.sock"


def no_workload_api(site: Site) -> None:
    """Something else listens: it ends every connection at once."""
    directory = site.resources.enter_context(tempfile.TemporaryDirectory(prefix="agent-"))
    server = socketserver.UnixStreamServer(f"{directory}/api.sock", socketserver.BaseRequestHandler)
    site.resources.callback(server.server_close)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    site.resources.callback(thread.join)
    site.resources.callback(server.shutdown)
    site.options.update(svid_source="workload_api", spiffe_endpoint_socket=f"{directory}/api.sock")


def no_package(site: Site) -> None:
    over_the_api(site)
    site.prelude = "import sys\nsys.modules['spiffe'] = None\n"


def with_agent_program(site: Site, script: str) -> None:
    program = site.files / "spire-agent"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    site.options.update(
        svid_source="spire_agent",
        spire_agent_path=str(program),
        spiffe_endpoint_socket=listener(site),
    )


def fetching(script: str) -> Callable[[Site], None]:
    return lambda site: with_agent_program(site, script)


def right_program(site: Site, *_found: str) -> None:
    sandbox = site.cluster.sandbox
    with_agent_program(
        site,
        f'cp {sandbox.svid_cert} "$9/svid.0.pem" && cp {sandbox.svid_key} "$9/svid.0.key"'
        f' && cp {sandbox.svid_bundle} "$9/bundle.0.pem"',
    )


def no_program(site: Site) -> None:
    right_program(site)
    site.options["spire_agent_path"] = str(site.files / "no-such-agent")


def socket_closed(site: Site) -> None:
    as_nobody(site)
    right_program(site)
    os.chmod(site.options["spiffe_endpoint_socket"], 0o600)


def let_open(site: Site, uid: str) -> None:
    os.chown(site.options["spiffe_endpoint_socket"], int(uid), -1)


SVID_FILES = "Give svid_cert, svid_key and svid_bundle."
CHAIN = "Give the SVID's chain, the leaf first."
DOMAIN = (
    "Correct the trust domain there, or if it is right, give its bundle in federated_bundles, as a"
    " dictionary from trust domain to file."
)
LET_READ = (
    "Let the user who runs the task (uid <user>) read it, or run the task as one who may"
    " (become_user)."
)
HEALTHY = (
    "Check that spire-agent is healthy (spire-agent healthcheck), or raise spiffe_source_timeout."
)
ENTRY = (
    "Create the registration entry: spire-server entry create -parentID AGENT_SPIFFE_ID"
    " -spiffeID <id> -selector unix:uid:<uid> (it takes some seconds to reach the agent), or run"
    " the task as the user of the entry (become_user)."
)
PATH = (
    "Give a path on the host that runs the bootstrap, and check that whatever writes the file"
    " (spiffe-helper, for example) has run."
)
RENEW = "Have it renewed (spiffe-helper does it by itself), and check the host's clock."
BOOTSTRAP_FILES = "Give the files of the bootstrap SVID, or correct trust_root_bootstrap."
NO_SOURCE = "spiffe_unable_to_fetch_x509_source"
NO_SVID = "spiffe_failed_to_extract_x509_svid"
ASK_AGENT = "Set svid_source to spire_agent, which reports what the agent itself thinks of it."
AGENT_HEALTHY = (
    "Check that the agent is healthy (spire-agent healthcheck), or raise spiffe_source_timeout."
)


def create_entry(site: Site, spiffe_id: str, uid: str) -> None:
    assert (spiffe_id, uid) == (BOOTSTRAP, str(site.user))
    well_agent(site)


def quick(fault: Fault) -> Callable[[Site], None]:
    """A fault of the agent's, met without much patience."""

    def do(site: Site) -> None:
        over_the_api(site, fault)
        site.options["spiffe_source_timeout"] = "1s" if fault is Fault.SILENT else "20s"

    return do


IDENTITIES = [
    *(
        refused(
            option,
            "a path that is wrong",
            lambda site, option=option: site.options.update({option: "/no/such.pem"}),
            PATH,
            right_files,
            code=NO_SOURCE,
        )
        for option in ("svid_cert", "svid_key", "svid_bundle")
    ),
    refused(
        "svid_cert",
        "not given",
        lambda site: site.options.update(svid_cert=None),
        SVID_FILES,
        right_files,
        code=NO_SOURCE,
    ),
    refused(
        "svid_cert",
        "a directory",
        lambda site: site.options.update(svid_cert=str(site.files)),
        "Give a file.",
        right_files,
        code=NO_SOURCE,
    ),
    refused(
        "svid_cert",
        "a device",
        lambda site: site.options.update(svid_cert="/dev/zero"),
        "Give a file.",
        right_files,
        code=NO_SVID,
    ),
    refused(
        "svid_cert",
        "too large",
        content("svid_cert", bytes(4 * 1024 * 1024 + 1)),
        "Give the right file.",
        right_files,
        code=NO_SVID,
    ),
    refused("svid_cert", "no PEM", content("svid_cert", b"x"), CHAIN, right_files, code=NO_SVID),
    refused(
        "svid_cert",
        "no SVID",
        shows(spiffe_id=""),
        CHAIN,
        right_files,
        code="spiffe_invalid_spiffe_id",
    ),
    refused("svid_cert", "expired", shows(lifetime_seconds=-60), RENEW, renew, code=NO_SOURCE),
    refused(
        "svid_cert",
        "another workload's",
        shows(spiffe_id="spiffe://spike.ist/spike/pilot"),
        BOOTSTRAP_FILES,
        right_files,
        code="access_unauthorized",
    ),
    refused(
        "svid_cert",
        "the bootstrap's, and trust_root_bootstrap is wrong",
        lambda site: site.options.update(trust_root_bootstrap=["other.org"]),
        BOOTSTRAP_FILES,
        give(trust_root_bootstrap=["spike.ist"]),
        code="access_unauthorized",
    ),
    refused(
        "svid_key",
        "of another certificate",
        another_key,
        "Give the two files of one and the same SVID.",
        right_files,
        code=NO_SVID,
    ),
    refused(
        "svid_key",
        "no key",
        content("svid_key", b"x"),
        "Give the SVID's EC or RSA key, in PEM, unencrypted.",
        right_files,
        code=NO_SVID,
    ),
    *(
        refused(
            "svid_key",
            f"closed to the running user, {name}",
            key_closed,
            LET_READ,
            act,
            code=NO_SOURCE,
            root=True,
        )
        for name, act in [("let read it", let_read), ("run as another", run_as_one_who_may)]
    ),
    refused(
        "svid_bundle",
        "no PEM",
        content("svid_bundle", b"x"),
        "Give the trust bundle of spike.ist, in PEM.",
        right_files,
        code=NO_SVID,
    ),
    refused(
        "svid_bundle",
        "with an authority of another trust domain",
        foreign_bundle,
        "Give the bundle of the trust domain itself.",
        right_files,
        code=NO_SOURCE,
    ),
    *(
        refused(
            "federated_bundles",
            f"missing for a trust domain, {name}",
            other_domain,
            DOMAIN,
            act,
            code=NO_SOURCE,
        )
        for name, act in [
            ("which is wrong", give(trust_root_keeper=["spike.ist"])),
            ("which is right", federate),
        ]
    ),
    refused(
        "federated_bundles",
        "of our own trust domain",
        lambda site: site.options.update(federated_bundles={"spike.ist": "/x.pem"}),
        "Give its bundle in svid_bundle instead.",
        give(federated_bundles={}),
        code=NO_SOURCE,
    ),
    *(
        refused(
            "spiffe_endpoint_socket",
            f"missing, {name}",
            no_agent,
            "Start spire-agent, or give the socket_path of its configuration.",
            act,
            code=NO_SOURCE,
        )
        for name, act in [("the agent is started", start_agent), ("it is elsewhere", well_agent)]
    ),
    refused(
        "spiffe_endpoint_socket",
        "a file of the name of a URL with a fragment",
        lambda site: site.options.update(
            svid_source="workload_api", spiffe_endpoint_socket="/run/a#b.sock"
        ),
        "Give for example unix:///tmp/spire-agent/public/api.sock.",
        give(spiffe_endpoint_socket="unix:///tmp/spire-agent/public/api.sock"),
        code=NO_SOURCE,
        # It is an example: nobody listens there, and that is what is said next.
        ends=NO_SOURCE,
    ),
    refused(
        "spiffe_endpoint_socket",
        "of something else",
        no_workload_api,
        "Give the socket_path of spire-agent's configuration, and check that the agent is healthy.",
        well_agent,
        code=NO_SOURCE,
    ),
    refused(
        "spiffe_endpoint_socket",
        "silent",
        quick(Fault.SILENT),
        HEALTHY,
        well_agent,
        code=NO_SOURCE,
    ),
    refused(
        "svid_source", "no entry", quick(Fault.UNREGISTERED), ENTRY, create_entry, code=NO_SOURCE
    ),
    *(
        refused("svid_source", name, quick(fault), ASK_AGENT, right_program, code=NO_SVID)
        for name, fault in [("no SVID", Fault.EMPTY), ("an unreadable SVID", Fault.GARBAGE)]
    ),
    *(
        refused(
            "svid_source",
            f"the package spiffe is missing, {name}",
            no_package,
            "Install it there (<python> -m pip install spiffe), or set svid_source to spire_agent"
            " or files.",
            act,
            code=NO_SOURCE,
        )
        for name, act in [
            ("and installed", without_what_is_wrong),
            ("and not needed", give(svid_source="files")),
        ]
    ),
    refused(
        "spiffe_endpoint_socket",
        "closed to the running user",
        socket_closed,
        "Let the user who runs the task (uid <uid>) open it, or run the task as one who may"
        " (become_user).",
        let_open,
        code=NO_SOURCE,
        root=True,
    ),
    refused(
        "runtime_dir",
        "closed, and spire-agent needs a place",
        all_of(closed_memory, right_program),
        "Give one in memory that the user who runs the task owns.",
        another_of_nobodys,
        code=NO_SOURCE,
        root=True,
    ),
    refused(
        "spire_agent_path",
        "no program",
        no_program,
        "Install spire-agent on this host, or give its full path.",
        right_program,
        code=NO_SOURCE,
    ),
    refused(
        "spire_agent_path",
        "another program",
        fetching("exit 0"),
        "Check that it is spire-agent.",
        right_program,
        code=NO_SVID,
    ),
    refused(
        "svid_source",
        "the agent's command fails",
        fetching("echo 'rpc error: broken' >&2; exit 1"),
        "Look at the agent's log.",
        right_program,
        code=NO_SOURCE,
    ),
    refused(
        "svid_source",
        "the agent's command has no entry",
        fetching("echo 'rpc error: code = PermissionDenied' >&2; exit 1"),
        ENTRY,
        right_program,
        code=NO_SOURCE,
    ),
    refused(
        "svid_source",
        "the agent's command hangs",
        lambda site: (
            with_agent_program(site, "exec sleep 60"),
            site.options.update(spiffe_source_timeout="300ms"),
        ),
        AGENT_HEALTHY,
        lambda site: (right_program(site), site.options.update(spiffe_source_timeout="20s")),
        code=NO_SOURCE,
    ),
]


# -- limits and libraries


def twins(site: Site) -> None:
    first, _unused, third = (keeper.url for keeper in site.cluster.keepers)
    site.options["keeper_peers"] = [first, first.replace("127.0.0.1", "localhost"), third]


def late(site: Site) -> None:
    site.options["timeout"] = "1ms"


def no_threads(site: Site) -> None:
    # The kernel lets root have all it wants.
    site.prelude = """
import threading
def refuse(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
"""


def module_without(name: str) -> Callable[[Site], None]:
    def do(site: Site) -> None:
        site.prelude = f"import sys\nsys.modules[{name!r}] = None\n"

    return do


def too_old(site: Site) -> None:
    site.prelude = "import requests\nrequests.__version__ = '2.0'\n"


RAISE = "Raise timeout above <limit>, or set it to 0 for no limit."
LIBRARY = (
    f"Install it for {sys.executable} (package python3-<name>, or pip install <again>), or set"
    " ansible_python_interpreter to a Python that has it."
)


def raised(site: Site, limit: str) -> None:
    assert limit == "1ms"
    site.options["timeout"] = "20s"


LIMITS = [
    refused(
        "keeper_peers",
        "two names of one keeper",
        twins,
        "Correct the URL of keeper <one> or <other> in keeper_peers.",
        lambda site, one, other: site.options["keeper_peers"].__setitem__(
            int(other) - 1, site.cluster.keepers[1].url
        ),
    ),
    *(
        Row(
            f"the time for the whole run is used up, {name}",
            late,
            ((RAISE, act), RERUN),
            "retry_max_elapsed_time_reached",
        )
        for name, act in [("raised", raised), ("no limit", give(timeout="0"))]
    ),
    Row(
        "no thread can be started",
        no_threads,
        (
            (
                "Raise the limit (ulimit -u of the running user, TasksMax of the systemd unit, the"
                " pids limit of the container), or end what uses it up.",
                without_what_is_wrong,
            ),
            RERUN,
        ),
        "gen_general_failure",
    ),
    *(
        Row(name, cause, ((LIBRARY, without_what_is_wrong), RERUN), "gen_general_failure")
        for name, cause in [
            ("cryptography is missing", module_without("cryptography")),
            ("requests is missing", module_without("requests")),
            ("requests is too old", too_old),
        ]
    ),
    Row(
        "no memory file for the key",
        lambda site: setattr(site, "prelude", "import os\ndel os.memfd_create\n"),
        (
            (
                "Run the module on a Linux host with memfd_create and /proc.",
                without_what_is_wrong,
            ),
            RERUN,
        ),
        NO_SOURCE,
    ),
]

ROWS = [*DIRECTORIES, *MEMORY, *IDENTITIES, *LIMITS]


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row.option} {row.name}" if row.option else row.name
)
def test_following_the_steps_about_this_host_to_the_letter_ends_well(row: Row, site: Site) -> None:
    if row.root and os.geteuid() != 0:
        pytest.skip("only root can run as another user")
    row.cause(site)
    refusal = site.run()
    assert refusal.get("failed"), refusal
    assert (refusal["code"], refusal.get("option")) == (row.code, row.option), refusal["msg"]
    follow(site, row.printed)
    if row.ends is None:
        site.assert_proved()
        return
    # It explains itself: another refusal, with its own steps.
    assert site.last["code"] == row.ends
    assert site.last["what_to_do"]
    assert site.last["msg"] != refusal["msg"]


def test_the_run_that_holds_the_lock_is_waited_for_and_then_all_is_done(
    site: Site, other_forks: Forks
) -> None:
    cluster = site.cluster
    # It waits for Nexus's proof.
    cluster.nexus.stop()
    other = other_forks.start(cluster.arguments())
    other.until("phase verify")
    site.last = cluster.run(keeper_timeout="200ms").result
    assert site.last["code"] == "bootstrap_locked"

    def wait_for_the_other(_site: Site) -> None:
        cluster.nexus.start()
        assert other.end().result["phase"] == "done"

    follow(site, (("Wait for the other run to end.", wait_for_the_other), RERUN))
    site.assert_proved()


def test_a_run_that_is_given_up_though_its_journal_may_not_be_moved_is_given_up_in_the_end(
    site: Site,
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run as another user")
    site.leave_unfinished()
    not_to_be_written(site)
    site.options["state"] = "abandoned"
    assert site.run()["code"] == UNUSABLE
    follow(site, ((WRITABLE, writable_again), RERUN))
    assert not site.last.get("failed"), site.last["msg"]
    assert not site.journal.exists()


NOWHERE = "Give one in memory that the running user owns, for example /run/spike-bootstrap."


def test_a_check_that_has_nowhere_to_fetch_to_is_told_where(site: Site) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run as another user")
    # Nothing can be made beside the runtime_dir, which is missing.
    made_by_hand(site)
    right_program(site)
    assert site.run(check=True)["option"] == "runtime_dir"
    step = (f"runtime_dir: {NOWHERE}", another_of_nobodys)
    follow(site, (step, ("Rerun bootstrap.", rerun_in_check_mode)))
    assert site.last["phase"] == "reach"


# -- that nothing is left out

# Why nobody follows them.
NOT_FOLLOWED = {
    "Give one of workload_api, files, spire_agent.": "Ansible refuses any other value first.",
    "Remove it from the bundle, or have its authority replaced.": "OpenSSL's own policy decides.",
    "Have it issued with a key that this host's policy allows, for example EC P-256.": (
        "OpenSSL's own policy decides."
    ),
}
# Those of the options themselves are in ``tests/unit/test_remedies``.
ELSEWHERE = {"settings.py", "emergency_settings.py"}


# Where a refusal has its remedy.
REMEDY_AT = {"IdentityError": 1, "refused": 1, "_unreadable": 1, "ConfigError": 2}


def first_steps(tree: ast.AST) -> Iterator[ast.expr]:
    """The first step of each refusal, where it is written down as it is raised."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "id", None) or getattr(call.func, "attr", None)
        if name == "StateUnusable" and isinstance(call.args[0], ast.Call):
            steps = call.args[0].args[2]
            assert isinstance(steps, ast.Tuple)
            yield steps.elts[0]
        elif name in REMEDY_AT and len(call.args) > REMEDY_AT[name]:
            yield call.args[REMEDY_AT[name]]


def as_printed(step: ast.expr) -> re.Pattern[str] | None:
    """What is printed, whatever is filled in; None for what is written down elsewhere."""
    if isinstance(step, ast.Constant):
        parts = [re.escape(Naming.OPTIONS.spell(step.value))]
    elif isinstance(step, ast.JoinedStr):
        parts = [
            re.escape(Naming.OPTIONS.spell(part.value)) if isinstance(part, ast.Constant) else ".+"
            for part in step.values
        ]
    else:
        return None
    # Remedies have neither a capital nor a period before they are steps.
    return re.compile("".join(parts).removesuffix(re.escape(".")) + r"\.", re.IGNORECASE)


FIRST_STEPS = {
    printed.pattern: printed
    for path in sorted(MODULE_UTILS.rglob("*.py"))
    if "_sandbox" not in path.parts and path.name not in ELSEWHERE
    for step in first_steps(ast.parse(path.read_text()))
    if (printed := as_printed(step)) is not None
}


def test_the_steps_are_found_in_the_code() -> None:
    assert len(FIRST_STEPS) > 30


@pytest.mark.parametrize("step", FIRST_STEPS.values(), ids=lambda step: step.pattern)
def test_the_first_step_of_every_refusal_about_this_host_is_followed(step: re.Pattern[str]) -> None:
    followed = [re.sub(r"<\w+>", "X", row.steps[0][0]) for row in ROWS]
    # By tests of their own.
    followed += ["Wait for the other run to end.", NOWHERE]
    followed += ["Give a public key of alice that can encrypt now."]
    assert any(step.fullmatch(text) for text in [*followed, *NOT_FOLLOWED]), step.pattern


def test_what_is_not_followed_is_still_printed() -> None:
    for text in NOT_FOLLOWED:
        assert any(step.fullmatch(text) for step in FIRST_STEPS.values()), text

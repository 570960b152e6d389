# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options and identities that are refused: named, told whole, and before anybody is contacted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import IssuedSvid
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_through_ansible
from ansible_collections.dayzero.spike.tests.support.module_host import Host, file_system_of
from ansible_collections.dayzero.spike.tests.support.module_run import (
    ModuleRun,
    assert_whole,
    run_directly,
)

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Healthy servers for all tests of this file: no run may ever connect to one."""
    with Sandbox(tmp_path_factory.mktemp("untouched")) as sandbox:
        yield sandbox


@pytest.fixture
def host(untouched: Sandbox, make_host: Callable[..., Host]) -> Host:
    return make_host(sandbox=untouched)


def assert_refused(host: Host, run: ModuleRun, option: str, phase: str) -> None:
    assert_whole(run.result)
    assert (run.result["failed"], run.result["changed"]) == (True, False)
    assert (run.result["phase"], run.result["option"]) == (phase, option)
    step, last = run.result["what_to_do"]
    assert step.startswith(f"{option}: ")
    assert step.endswith(".")
    remedy = step[len(f"{option}: ") : -1]
    assert remedy[:1] == remedy[:1].upper()
    assert run.result["msg"].startswith(f"{option}: ")
    assert run.result["msg"].endswith(f"; {remedy[:1].lower()}{remedy[1:]}")
    assert last == "Rerun bootstrap."
    assert run.result["log"] == []
    assert "Traceback" not in run.output
    sandbox = host.sandbox
    assert [node.stats.connections for node in (*sandbox.keepers, sandbox.nexus)] == [0, 0, 0, 0]


@dataclass(frozen=True)
class Bad:
    """Changed options; ``shown`` is in the message beside the option's name, ``hidden`` nowhere.

    In a list of URLs, "1" to "3" stand for those of the sandbox's keepers.
    """

    name: str
    option: str
    change: Any
    shown: str
    hidden: str | None = None
    besides: dict[str, Any] = field(default_factory=dict)


ALL = ["1", "2", "3"]

BAD = [
    Bad("no keepers", "keeper_peers", [], "0 given"),
    Bad("one keeper", "keeper_peers", ["1"], "1 given"),
    Bad(
        "1001 keepers",
        "keeper_peers",
        [f"https://127.0.0.1:{port}" for port in range(20000, 21001)],
        "1001 given",
    ),
    Bad("a keeper twice", "keeper_peers", ["1", "2", "1"], "keepers 1 and 3 are the same"),
    Bad(
        "a keeper twice, in capitals",
        "keeper_peers",
        ["https://keeper.invalid:8443", "https://KEEPER.invalid:8443"],
        "keepers 1 and 2 are the same",
    ),
    Bad(
        "a keeper twice, once with the default port",
        "keeper_peers",
        ["https://keeper.invalid", "https://keeper.invalid:443"],
        "keepers 1 and 2 are the same",
    ),
    Bad(
        "a keeper twice, once with a slash",
        "keeper_peers",
        ["https://keeper.invalid:8443", "https://keeper.invalid:8443/"],
        "keepers 1 and 2 are the same",
    ),
    Bad(
        "http", "keeper_peers", ["1", "http://127.0.0.1:1", "3"], "keeper 2 is 'http://127.0.0.1:1'"
    ),
    Bad(
        "user and password",
        "keeper_peers",
        ["1", "https://admin:hunter2@127.0.0.1:1", "3"],
        "keeper 2 has a user name in its URL",
        hidden="hunter2",
    ),
    Bad(
        "password without https",
        "keeper_peers",
        ["1", "2", "http://admin:hunter2@"],
        "keeper 3 has a user name in its URL",
        hidden="hunter2",
    ),
    Bad("no host", "keeper_peers", ["1", "https://:8443", "3"], "is not a URL"),
    Bad(
        "no scheme",
        "keeper_peers",
        ["1", "keeper2:8443", "3"],
        "a port from 1 to 65535; give it as https://keeper2:8443 in keeper_peers",
    ),
    Bad(
        "nothing but a scheme",
        "keeper_peers",
        ["1", "https://", "3"],
        "a port from 1 to 65535; give it as https://keeper2:8443 in keeper_peers",
    ),
    Bad("port 0", "keeper_peers", ["1", "https://127.0.0.1:0", "3"], "is not a URL"),
    Bad(
        "port 99999",
        "keeper_peers",
        ["1", "https://127.0.0.1:99999", "3"],
        "a port from 1 to 65535; give it as https://127.0.0.1:8443 in keeper_peers",
    ),
    Bad("a query", "keeper_peers", ["1", "https://127.0.0.1:1?a=b", "3"], "has a query"),
    Bad(
        "a path",
        "keeper_peers",
        ["1", "2", "https://127.0.0.1:1/v1/store"],
        "keeper 3 is 'https://127.0.0.1:1/v1/store', which has a path;"
        " give it as https://127.0.0.1:1 in keeper_peers",
    ),
    Bad("an empty keeper", "keeper_peers", ["1", "", "3"], "is not a URL"),
    Bad(
        "port 99999 for Nexus",
        "nexus_api_url",
        "https://127.0.0.1:99999",
        "a port from 1 to 65535; give it as https://127.0.0.1:8553",
    ),
    Bad("Nexus over http", "nexus_api_url", "http://127.0.0.1:1", "does not begin with https://"),
    Bad(
        "a password for Nexus",
        "nexus_api_url",
        "https://admin:hunter2@127.0.0.1:1",
        "has a user name",
        hidden="hunter2",
    ),
    Bad("threshold -1", "shamir_threshold", -1, "-1 is below 2"),
    Bad("threshold 0", "shamir_threshold", 0, "0 is below 2"),
    Bad("threshold 1", "shamir_threshold", 1, "1 is below 2"),
    Bad("threshold 4 of 3", "shamir_threshold", 4, "4 is more than the 3 keepers"),
    Bad("2 shares for 3 keepers", "shamir_shares", 2, "2 does not match the 3 keepers"),
    Bad("4 shares for 3 keepers", "shamir_shares", 4, "4 does not match the 3 keepers"),
    Bad("no attempts", "keeper_max_retries", 0, "0 is not in 1 to 1000"),
    Bad("fewer than no attempts", "keeper_max_retries", -3, "-3 is not in 1 to 1000"),
    *(
        Bad(f"{option} of nonsense", option, value, f"{value!r} is not a duration; give")
        for option, value in (
            ("keeper_timeout", "5 fortnights"),
            ("keeper_timeout", "-1s"),
            ("keeper_timeout", "1e3"),
            ("keeper_timeout", ""),
            ("keeper_timeout", "nan"),
            ("keeper_timeout", "30 s"),
            ("keeper_retry_initial_interval", "soon"),
            ("keeper_retry_max_interval", "-30s"),
            ("timeout", "inf"),
            ("init_verification_timeout", "30minutes"),
            ("spiffe_source_timeout", "1_000"),
        )
    ),
    Bad(
        "a timeout of 293 years",
        "keeper_timeout",
        "2570000h",
        "'2570000h' is longer than Go's longest duration, about 292 years; give",
    ),
    Bad("an endless keeper", "keeper_timeout", "0", "is not greater than 0"),
    Bad("an endless keeper, with a unit", "keeper_timeout", "0s", "is not greater than 0"),
    Bad("no wait", "keeper_retry_initial_interval", "0", "is not greater than 0"),
    Bad("no longest wait", "keeper_retry_max_interval", "0ms", "is not greater than 0"),
    Bad("an endless Nexus", "init_verification_timeout", "0", "is not greater than 0"),
    Bad("a relative state_dir", "state_dir", "state", "is not an absolute path"),
    Bad("a relative runtime_dir", "runtime_dir", "run", "is not an absolute path"),
    Bad("a relative nexus_data_dir", "nexus_data_dir", "data", "is not an absolute path"),
    Bad("a trust domain in capitals", "trust_root_keeper", ["Spike.IST"], "Spike.IST"),
    Bad("a SPIFFE ID as trust domain", "trust_root_nexus", ["spike.ist/spike/nexus"], "trust"),
    Bad("no trust domain", "trust_root_bootstrap", [], "is empty"),
    Bad("a bundle without a path", "federated_bundles", {"other.org": ""}, "has no path"),
    Bad("a socket that is none", "spiffe_endpoint_socket", "tcp://127.0.0.1:1", "unix:"),
]


def changed_options(host: Host, bad: Bad) -> dict[str, Any]:
    urls = {str(keeper.id): keeper.url for keeper in host.sandbox.keepers}
    change = bad.change
    if bad.option == "keeper_peers":
        change = [urls.get(item, item) for item in change]
    # An option of a source that is not used is not refused.
    source = {"svid_source": "workload_api"} if bad.option.startswith("spiffe_") else {}
    return {**host.options(), **source, bad.option: change}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_option_is_named_and_refused_before_anybody_is_contacted(
    bad: Bad, host: Host
) -> None:
    run = run_directly(changed_options(host, bad), environment=host.environment)
    assert_refused(host, run, bad.option, "config")
    assert run.result["code"] == "data_invalid_input"
    assert bad.shown in run.result["msg"]
    assert "\n" not in run.result["msg"]
    assert not host.state_dir.exists()


@pytest.mark.parametrize(
    "bad",
    [bad for bad in BAD if bad.name in ("threshold 1", "an endless keeper", "http")],
    ids=lambda bad: bad.name,
)
def test_ansible_shows_the_same_refusal(bad: Bad, host: Host) -> None:
    run = run_through_ansible(changed_options(host, bad), environment=host.environment)
    assert_refused(host, run, bad.option, "config")
    assert bad.shown in run.result["msg"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"shamir_threshold": 1},
            "spike_bootstrap_shamir_threshold: 1 is below 2, and with 1 every shard would be the"
            " root key itself; give 2 or more",
        ),
        (
            {"keeper_peers": ["keeper1:8443", "https://keeper2:8443"]},
            "spike_bootstrap_keeper_peers: keeper 1 is 'keeper1:8443', which is not a URL with a"
            " host and, if any, a port from 1 to 65535; give it as https://keeper1:8443 in"
            " spike_keeper_url",
        ),
    ],
    ids=["an option", "the URL of one keeper"],
)
def test_who_wrote_an_inventory_is_told_the_names_of_its_variables(
    change: dict[str, Any], told: str, host: Host
) -> None:
    result = host.run(naming="variables", **change).result
    assert_whole(result)
    assert result["msg"] == told
    about, _unused, remedy = told.partition("; ")
    variable, _unused, _unused = about.partition(":")
    assert result["what_to_do"] == [
        f"{variable}: {remedy[:1].upper()}{remedy[1:]}.",
        "Rerun bootstrap.",
    ]
    assert result["option"] in change


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.hidden], ids=lambda bad: bad.name)
def test_a_password_in_a_url_is_not_shown(bad: Bad, host: Host) -> None:
    run = run_directly(changed_options(host, bad), environment=host.environment)
    assert_refused(host, run, bad.option, "config")
    assert bad.hidden is not None
    assert bad.hidden not in run.output


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"share_scheme": "circl-1.7"}, "share_scheme must be one of: circl-1.6.2, circl-1.6.1"),
        ({"svid_source": "vault"}, "svid_source must be one of"),
        (
            {"nexus_silence": "always"},
            "nexus_silence must be one of: refused, never, accept, got: always",
        ),
        ({"nexus_database": "gone"}, "nexus_database must be one of: look, present, absent"),
        ({"state": "absent"}, "state must be one of: bootstrapped, abandoned"),
        ({"naming": "mine"}, "naming must be one of: options, variables"),
        ({"accept_existing": "perhaps"}, "accept_existing"),
        ({"shamir_threshold": "two"}, "shamir_threshold"),
        ({"verify": "perhaps"}, "verify"),
        ({"keeper_peers": None}, "missing required arguments: keeper_peers"),
        ({"keeper_timeouts": "1s"}, "keeper_timeouts"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_ansible_itself_refuses_names_the_option(
    change: dict[str, Any], shown: str, host: Host
) -> None:
    run = host.run(**change)
    assert run.result["failed"]
    assert shown in run.result["msg"]
    assert "phase" not in run.result
    assert "Traceback" not in run.output
    assert [keeper.stats.connections for keeper in host.sandbox.keepers] == [0, 0, 0]


def on_disk(tmp_path: Path) -> Path:
    """A directory that does not be in memory."""
    # /tmp is in memory on many systems; where a clone lies there as well, nothing can be shown.
    if file_system_of(tmp_path) not in ("tmpfs", "ramfs"):
        return tmp_path
    if file_system_of(REPOSITORY) not in ("tmpfs", "ramfs"):
        return REPOSITORY
    pytest.skip("neither the temporary directory nor the repository is on a disk")


def test_a_runtime_dir_on_a_disk_is_refused(host: Host, tmp_path: Path) -> None:
    run = host.run(runtime_dir=str(on_disk(tmp_path)))
    assert_refused(host, run, "runtime_dir", "config")
    assert "is on a disk" in run.result["msg"]


def test_a_runtime_dir_that_was_made_on_a_disk_is_not_left_there(
    host: Host, tmp_path: Path
) -> None:
    path = on_disk(tmp_path) / "made-by-a-run"
    run = host.run(runtime_dir=str(path))
    assert_refused(host, run, "runtime_dir", "config")
    assert "is on a disk" in run.result["msg"]
    assert not path.exists()


def test_a_nexus_data_dir_that_is_a_file_is_refused_before_nexus_is_asked(host: Host) -> None:
    path = host.directory / "spike.db"
    path.touch()
    run = host.run(nexus_data_dir=str(path))
    assert_refused(host, run, "nexus_data_dir", "config")
    assert f"{path} is a file" in run.result["msg"]


def test_a_runtime_dir_that_is_a_link_is_refused(host: Host) -> None:
    real, link = host.runtime_dir / "real", host.runtime_dir / "link"
    real.mkdir(mode=0o700)
    link.symlink_to(real)
    run = host.run(runtime_dir=str(link))
    assert_refused(host, run, "runtime_dir", "config")
    assert "symbolic link" in run.result["msg"]


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o702], ids=oct)
def test_a_runtime_dir_that_is_open_to_others_is_refused(mode: int, host: Host) -> None:
    host.runtime_dir.chmod(mode)
    run = host.run()
    assert_refused(host, run, "runtime_dir", "config")
    assert f"is open to others (mode {mode:04o}); close it with chmod 0700" in run.result["msg"]


def test_a_runtime_dir_whose_parent_is_missing_is_refused(host: Host) -> None:
    run = host.run(runtime_dir=str(host.runtime_dir / "no" / "such"))
    assert_refused(host, run, "runtime_dir", "config")
    assert "parent directory does not exist" in run.result["msg"]


def test_a_state_dir_that_is_a_file_is_refused(host: Host) -> None:
    host.state_dir.write_text("mine")
    run = host.run()
    assert_refused(host, run, "state_dir", "config")
    assert host.state_dir.read_text() == "mine"


def test_a_state_dir_in_memory_is_refused(host: Host) -> None:
    path = host.runtime_dir / "state"
    run = host.run(state_dir=str(path))
    assert_refused(host, run, "state_dir", "config")
    assert f"{path} cannot be used: it is in memory, where a reboot" in run.result["msg"]
    assert not path.exists()


def run_changed(host: Host, option: str, value: Any) -> ModuleRun:
    return run_directly(host.options(**{option: value}), environment=host.environment)


@pytest.mark.parametrize("option", ["svid_cert", "svid_key", "svid_bundle"])
def test_a_missing_svid_file_is_named(option: str, host: Host) -> None:
    run = run_changed(host, option, "/no/such/file.pem")
    assert_refused(host, run, option, "identity")
    assert "/no/such/file.pem" in run.result["msg"]


@pytest.mark.parametrize("option", ["svid_cert", "svid_key", "svid_bundle"])
def test_an_svid_file_that_is_not_given_is_asked_for(option: str, host: Host) -> None:
    run = run_changed(host, option, None)
    assert_refused(host, run, option, "identity")
    assert "give svid_cert, svid_key and svid_bundle" in run.result["msg"]


@pytest.mark.parametrize("option", ["svid_cert", "svid_key", "svid_bundle"])
def test_an_svid_file_with_something_else_in_it_is_named(option: str, host: Host) -> None:
    path = host.directory / "other.pem"
    path.write_text("-----BEGIN NOTHING-----\nc2VjcmV0\n-----END NOTHING-----\n")
    run = run_changed(host, option, str(path))
    assert_refused(host, run, option, "identity")
    assert str(path) in run.result["msg"]
    assert "c2VjcmV0" not in run.output


def test_a_key_that_may_not_be_read_is_named(host: Host) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv (util-linux) is missing")
    path = host.directory / "key.pem"
    path.write_bytes(host.sandbox.svid_key.read_bytes())
    path.chmod(0)
    # Root reads what it likes unless it gives that up.
    wrapper = [setpriv, "--bounding-set=-dac_override,-dac_read_search"]
    run = run_directly(
        host.options(svid_key=str(path)),
        environment=host.environment,
        wrapper=wrapper if path.stat().st_uid == 0 else (),
    )
    assert_refused(host, run, "svid_key", "identity")
    assert "Permission denied" in run.result["msg"]


def run_with(host: Host, svid: IssuedSvid, **changes: Any) -> ModuleRun:
    certificate, key = host.sandbox.authority.write(host.directory, "other", svid)
    return host.run(**{"svid_cert": str(certificate), "svid_key": str(key), **changes})


BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"


def test_a_key_that_does_not_match_the_certificate_is_named(host: Host) -> None:
    other = host.sandbox.authority.issue(BOOTSTRAP)
    run = run_with(host, other, svid_cert=str(host.sandbox.svid_cert))
    assert_refused(host, run, "svid_key", "identity")
    assert str(host.sandbox.svid_cert) in run.result["msg"]


@pytest.mark.parametrize(
    ("issue", "shown"),
    [
        ({"spiffe_id": BOOTSTRAP, "lifetime_seconds": -60}, "expired"),
        ({"spiffe_id": BOOTSTRAP, "not_before_offset": 600}, "not valid"),
        ({"spiffe_id": "spiffe://spike.ist/spike/pilot"}, "found spiffe://spike.ist/spike/pilot"),
        ({"spiffe_id": "spiffe://spike.ist/spike/bootstrapper"}, "spike/bootstrapper"),
        ({"spiffe_id": "spiffe://other.org/spike/bootstrap"}, "found spiffe://other.org/spike"),
        ({"spiffe_id": ""}, "not an SVID"),
        ({"spiffe_id": BOOTSTRAP, "extra_uris": [f"{BOOTSTRAP}/2"]}, "not an SVID"),
        ({"spiffe_id": BOOTSTRAP, "ca": True}, "not an SVID"),
    ],
    ids=[
        "expired",
        "not yet valid",
        "another role",
        "a longer name",
        "another trust domain",
        "no SPIFFE ID",
        "two SPIFFE IDs",
        "an authority",
    ],
)
def test_an_svid_that_is_not_a_bootstraps_is_refused(
    issue: dict[str, Any], shown: str, host: Host
) -> None:
    run = run_with(host, host.sandbox.authority.issue(**issue))
    assert_refused(host, run, "svid_cert", "identity")
    assert shown in run.result["msg"]


@pytest.mark.parametrize("option", ["trust_root_keeper", "trust_root_nexus"])
def test_a_bundle_that_is_missing_for_another_trust_domain_is_asked_for(
    option: str, host: Host
) -> None:
    run = run_changed(host, option, ["spike.ist", "other.org"])
    assert_refused(host, run, "federated_bundles", "identity")
    shown = f"no trust bundle for other.org (in {option}), and our own SVID is of"
    assert shown in run.result["msg"]

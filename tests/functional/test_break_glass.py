# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page for the night when the root key is lost: its every command, run as it is written.

Custodians decrypt with their own programs: age, and GnuPG.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.description import (
    describe,
    inventory,
)
from ansible_collections.dayzero.spike.tests.support.age_program import age_directory
from ansible_collections.dayzero.spike.tests.support.documents import examples
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.terminal import Session, typed

pytestmark = pytest.mark.slow

PAGE = "docs/break-glass.md"
PROMPT = "hex digits>"


def of_the_page(language: str) -> list[str]:
    return [one.text for one in examples() if (one.document, one.language) == (PAGE, language)]


def commands() -> list[str]:
    return [line for text in of_the_page("bash") for line in text.splitlines() if line]


RECOVER, ALICE, BOB, CAROL, STATUS, RESTORE, ONE_BY_ONE, DRILL = commands()


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    """The path on which everything is that the page calls."""
    directory = age_directory()
    if directory is None:
        pytest.skip("Missing: age, and apt-get cannot fetch it (apt-get install age)")
    for program in ("gpg", "ssh-keygen", "sha256sum"):
        if shutil.which(program) is None:
            pytest.skip(f"Missing: {program}")
    return {"PATH": os.pathsep.join([str(directory), os.environ["PATH"]])}


class Reader:
    """Somebody who does what the page says, in one directory, with keys of three custodians."""

    def __init__(self, host: Host, directory: Path, programs: dict[str, str], gnupg: Path) -> None:
        self.host = host
        self.directory = directory
        # GnuPG makes sockets below it, whose paths must be short.
        self.environment = {
            **host.environment,
            **programs,
            "HOME": str(directory),
            "GNUPGHOME": str(gnupg),
        }
        self._make_keys()
        described = describe(host.sandbox, host.state_dir, host.runtime_dir)
        (directory / "inventory.yml").write_text(inventory(described))
        (example,) = of_the_page("yaml")
        custodians = yaml.safe_load(example)
        alice, bob, carol = custodians["spike_recover_custodians"]
        assert (alice["age"], bob["age"]) == ("age1...", "ssh-ed25519 AAAA...")
        alice["age"] = self.do("age-keygen -y key.txt").strip()
        bob["age"] = (directory / ".ssh" / "id_ed25519.pub").read_text().strip()
        assert "carol.asc" in carol["pgp"]
        variables = directory / "group_vars" / "all.yml"
        variables.parent.mkdir()
        variables.write_text(yaml.safe_dump(custodians))

    def _make_keys(self) -> None:
        (self.directory / ".ssh").mkdir()
        self.do("age-keygen -o key.txt")
        self.do("ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519")
        batch = "gpg --batch --passphrase ''"
        self.do(f"{batch} --quick-generate-key carol@example.org future-default default 1y")
        self.do(f"{batch} --armor --output carol.asc --export carol@example.org")

    def do(self, line: str) -> str:
        """What a command says that goes well."""
        done = self.try_to(line)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def try_to(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            line,
            shell=True,
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def answer(self, line: str, *answers: str) -> Session:
        """The same at a terminal, where lines are asked for."""
        return typed(
            shlex.split(line),
            answers,
            prompt=PROMPT,
            environment=self.environment,
            directory=self.directory,
        )

    def hand_out(self) -> None:
        """Run the recovery, and give each custodian the file."""
        said = self.do(RECOVER)
        assert "2 of these 3 custodians can give the cluster its key back:" in said
        for path in (self.directory / "shards").iterdir():
            shutil.copy(path, self.directory)

    def line_of(self, check: str) -> str:
        """What a custodian decrypts, with the command that checks it."""
        return self.do(check.removesuffix(" | sha256sum"))


@pytest.fixture
def reader(host: Host, programs: dict[str, str], tmp_path: Path) -> Iterator[Reader]:
    """A reader of the page, with a finished cluster."""
    assert host.run().result["changed"]
    with tempfile.TemporaryDirectory(prefix="gpg-") as gnupg:
        Path(gnupg).chmod(0o700)
        directory = tmp_path / "reader"
        directory.mkdir()
        made = Reader(host, directory, programs, Path(gnupg))
        yield made
        made.try_to("gpgconf --kill all")


@pytest.mark.long
def test_custodians_check_what_they_get_with_their_own_programs(reader: Reader) -> None:
    reader.hand_out()
    described = json.loads((reader.directory / "recovery.json").read_text())["shards"]
    assert [entry["custodian"] for entry in described] == ["alice", "bob", "carol"]
    for check, entry in zip((ALICE, BOB, CAROL), described, strict=True):
        assert entry["file"] in check
        assert reader.do(check).split() == [entry["sha256"], "-"]


def test_the_worst_day_ends_with_the_proof(reader: Reader) -> None:
    reader.hand_out()
    reader.host.sandbox.restart()
    assert "has no root key in memory" in " ".join(reader.do(STATUS).split())
    alice, carol = reader.line_of(ALICE), reader.line_of(CAROL)
    mistyped = carol[:-1] + ("1" if carol[-1] == "0" else "0")
    refused = reader.answer(RESTORE, alice, mistyped)
    assert refused.returncode != 0
    assert "Nothing was sent" in " ".join(refused.output.split())
    restored = reader.answer(RESTORE, alice, carol)
    assert restored.returncode == 0, restored.output
    assert "Nexus proves the root key" in restored.output
    shown = [line.split(":")[2] for line in (alice, carol, mistyped)]
    assert not any(digits in refused.output + restored.output for digits in shown)


@pytest.mark.long
def test_one_more_than_the_threshold_names_the_wrong_one_and_may_be_left_out(
    reader: Reader,
) -> None:
    reader.hand_out()
    reader.host.sandbox.restart()
    one_more = "-e spike_restore_prompts=3"
    assert f"`{one_more}`" in Path(__file__).parents[2].joinpath(PAGE).read_text()
    lines = [reader.line_of(check) for check in (ALICE, BOB, CAROL)]
    all_three = reader.answer(f"{RESTORE} {one_more}", *lines)
    assert all_three.returncode == 0, all_three.output
    reader.host.sandbox.restart()
    two = reader.answer(f"{RESTORE} {one_more}", lines[0], "", lines[2])
    assert two.returncode == 0, two.output


@pytest.mark.long
def test_custodians_who_cannot_come_together_come_one_by_one(reader: Reader) -> None:
    reader.hand_out()
    reader.host.sandbox.restart()
    first = reader.answer(ONE_BY_ONE, reader.line_of(BOB))
    assert first.returncode == 0, first.output
    assert "Nexus proves the root key" not in first.output
    second = reader.answer(ONE_BY_ONE, reader.line_of(ALICE))
    assert second.returncode == 0, second.output
    assert "Nexus proves the root key" in second.output


@pytest.mark.long
def test_a_lost_shard_and_a_custodian_who_leaves_cost_the_others_nothing(reader: Reader) -> None:
    reader.hand_out()
    before = [reader.line_of(check) for check in (ALICE, BOB, CAROL)]
    others = [(reader.directory / "shards" / f"shard-{name}").read_bytes()
              for name in ("2-bob.age", "3-carol.asc")]  # fmt: skip
    variables = reader.directory / "group_vars" / "all.yml"
    reader.do("age-keygen -o dave.txt")
    custodians = yaml.safe_load(variables.read_text())
    custodians["spike_recover_custodians"][0] = {
        "name": "dave",
        "age": reader.do("age-keygen -y dave.txt").strip(),
    }
    variables.write_text(yaml.safe_dump(custodians))
    reader.do(RECOVER)
    shards = reader.directory / "shards"
    assert not (shards / "shard-1-alice.age").exists()
    assert reader.do("age -d -i dave.txt shards/shard-1-dave.age") == before[0]
    # The others' files are new ones, with the same lines: theirs are as good as before.
    assert others != [
        (shards / f"shard-{name}").read_bytes() for name in ("2-bob.age", "3-carol.asc")
    ]
    assert reader.do("gpg --decrypt shards/shard-3-carol.asc") == before[2]


@pytest.mark.long
def test_the_drill_says_how_long_it_took(host: Host, tmp_path: Path) -> None:
    place = {"spike_drill_directory": str(tmp_path / "drill")}
    done = subprocess.run(
        [*shlex.split(DRILL), "-e", json.dumps(place)],
        env=dict(host.environment),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    output = " ".join(done.stdout.split())
    assert done.returncode == 0, output + done.stderr
    assert "Nothing was sent" in output
    assert "From the loss to the proof: " in output
    assert "Day zero, the encrypted shards and their loss: " in output

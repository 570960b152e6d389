# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real Debian hosts on this machine: systemd, sshd, a network of their own, and stand-ins.

Each is a root file system made by debootstrap under an overlay of its own, booted with
systemd-nspawn in its own network namespace on one bridge. SPIRE's agent and server, and SPIKE's
programs, are stood in for by the Go test program.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.dayzero.spike.tests.hosts.file_system import (
    check_machine,
    file_system,
    provide,
)
from ansible_collections.dayzero.spike.tests.hosts.leftovers import (
    MARK,
    ended_in_order,
    site_directory,
)
from ansible_collections.dayzero.spike.tests.interop.go_build import build_gospike

# Init's word for "power off" where nobody can be asked (systemd(1)).
_POWER_OFF = signal.SIGRTMIN + 4
PATIENCE_SECONDS = 180
TRUST_DOMAIN = "spike.ist"
_AGENT = """[Unit]
Description=A stand-in for SPIRE's agent
[Service]
ExecStart=/usr/local/bin/gospike agent -socket /run/spire/agent.sock -id {id} \
-store /var/lib/spire/entries.json -ca-cert /var/lib/spire/ca.pem -ca-key /var/lib/spire/ca.key
Restart=always
RestartSec=200ms
[Install]
WantedBy=multi-user.target
"""
_NETWORK = "[Match]\nName=host0\n[Network]\nAddress={address}/24\nLinkLocalAddressing=no\n"


class Machine:
    """One host, which can be powered off, booted again, and cut from the network."""

    def __init__(self, site: Site, name: str, address: str, suite: str) -> None:
        self.name = name
        self.address = address
        self.agent_id = f"spiffe://{TRUST_DOMAIN}/spire/agent/{name}"
        self._site = site
        self._place = site.directory / name
        self._process: subprocess.Popen[bytes] | None = None
        self.root = self._place / "root"
        self._mount(file_system(suite))
        self._furnish()

    def _mount(self, lower: Path) -> None:
        upper, work = self._place / "upper", self._place / "work"
        for directory in (self.root, upper, work):
            directory.mkdir(parents=True)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)], check=True
        )

    def _furnish(self) -> None:
        lines = ["127.0.0.1 localhost", *self._site.names(), f"{self.address} {self.name}"]
        self.write("/etc/hosts", "\n".join(lines) + "\n")
        self.write("/etc/hostname", f"{self.name}\n")
        self.write("/etc/systemd/network/10-host0.network", _NETWORK.format(address=self.address))
        for user in ("ops", "plain"):
            self.write(f"/home/{user}/.ssh/authorized_keys", self._site.public_key, mode=0o644)
        self.install(self._site.gospike, "/usr/local/bin/gospike")
        for name in ("spire-server", "spire-agent"):
            (self.root / f"usr/local/bin/{name}").symlink_to("gospike")
        self.write("/etc/systemd/system/spire-agent.service", _AGENT.format(id=self.agent_id))
        self.enable("spire-agent")

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """A file of the host, written whether it runs or not."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    def install(self, source: Path, path: str) -> None:
        """A program of the host."""
        target = self.root / path.lstrip("/")
        shutil.copy(source, target)
        target.chmod(0o755)

    def enable(self, unit: str) -> None:
        """Have a unit of ``/etc/systemd/system`` started at boot."""
        wants = self.root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / f"{unit}.service").symlink_to(f"/etc/systemd/system/{unit}.service")

    def boot(self) -> None:
        """Start the host, and return when its sshd answers."""
        self.start()
        self.await_ssh()

    def start(self) -> None:
        """Start the host."""
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot"]
        command += ["--register=no", "--keep-unit", f"--machine={self._site.bridge}-{self.name}"]
        command += [f"--network-bridge={self._site.bridge}", "--resolv-conf=off"]
        command += [f"--bind={self._site.shared}:/var/lib/spire", "--console=pipe"]
        command += [f"--setenv={MARK}={self._site.directory}"]
        with (self._place / "console").open("ab") as console:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=self._site.environment,
                # The terminal's interrupt is for the tests, which then end the hosts.
                start_new_session=True,
            )

    def await_ssh(self) -> None:
        """Return when sshd answers."""
        wait_for(f"sshd of {self.name}", self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            with socket.create_connection((self.address, 22), timeout=1) as link:
                return link.recv(4) == b"SSH-"
        return False

    @property
    def leader(self) -> int:
        """The process of the host's init."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0])

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the host, as root, and return what it said."""
        done = subprocess.run(
            ["nsenter", f"--target={self.leader}", "--all", "--", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {command}: {done.stdout}{done.stderr}")
        return done.stdout

    def power_off(self) -> None:
        """Power the host off, as somebody who pulls the plug of a rack does."""
        if self._process is None:
            return
        with contextlib.suppress(OSError, IndexError):
            os.kill(self.leader, _POWER_OFF)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError, IndexError):
                os.kill(self.leader, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._process = None

    def reap(self) -> None:
        """Wait for its process, which was killed."""
        if self._process is not None:
            self._process.wait()

    def reboot(self) -> None:
        """Restart the host, whose /run is empty afterwards."""
        self.power_off()
        self.boot()

    def cut(self) -> None:
        """Drop all that comes from the network and goes there, connections that are open too."""
        self.run("nft", "add", "table", "inet", "cut")
        for hook, side in (("input", "iif"), ("output", "oif")):
            chain = f"{{ type filter hook {hook} priority 0; policy drop; }}"
            self.run("nft", "add", "chain", "inet", "cut", hook, chain)
            self.run(*f"nft add rule inet cut {hook} {side} lo accept".split())

    def reconnect(self) -> None:
        """End what ``cut``, ``filter_port``, ``lose_packets`` and ``delay_packets`` did."""
        self.run("nft", "flush", "ruleset")
        self.run("tc", "qdisc", "delete", "dev", "host0", "root", check=False)

    def lose_packets(self, percent: int) -> None:
        """Drop so many of 100 packets that come in."""
        self._filter(f"iif host0 tcp dport 8443 numgen random mod 100 < {percent} drop")

    def delay_packets(self, seconds: float) -> bool:
        """Send every packet so much later; False where the kernel cannot do it."""
        command = f"tc qdisc add dev host0 root netem delay {seconds * 1000:.0f}ms || echo cannot"
        return "cannot" not in self.run("sh", "-c", command)

    def filter_port(self, port: int, verdict: str) -> None:
        """A firewall in front of a port: ``drop`` or ``reject``."""
        self._filter(f"tcp dport {port} {verdict}")

    def _filter(self, rule: str) -> None:
        self.run("nft", "add", "table", "inet", "filter")
        chain = "{ type filter hook input priority 0; }"
        self.run("nft", "add", "chain", "inet", "filter", "input", chain)
        self.run(*f"nft add rule inet filter input {rule}".split())


class Site:
    """Hosts on one bridge, with one SPIRE between them."""

    def __init__(self, directory: Path, suites: dict[str, str]) -> None:
        """``suites``: the names of the hosts, each with its Debian release."""
        self.directory = directory
        # Of every process that belongs to the site.
        self.environment = {**os.environ, MARK: str(directory)}
        number = self._make_bridge()
        self.bridge = f"spk{number}"
        self._subnet = f"10.213.{number}"
        self._addresses = {name: f"{self._subnet}.{i}" for i, name in enumerate(suites, 11)}
        self.gospike = build_gospike()
        self.shared = directory / "spire"
        self.shared.mkdir()
        self.shared.chmod(0o700)
        subprocess.run([str(self.gospike), "authority", TRUST_DOMAIN, str(self.shared)], check=True)
        self.entries = self.shared / "entries.json"
        self.ssh_key = directory / "ssh_key"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.ssh_key)], check=True
        )
        self.public_key = Path(f"{self.ssh_key}.pub").read_text()
        self.machines = {
            name: Machine(self, name, self._addresses[name], suite)
            for name, suite in suites.items()
        }

    def names(self) -> list[str]:
        """Lines for /etc/hosts."""
        return [f"{address} {name}" for name, address in self._addresses.items()]

    def _make_bridge(self) -> int:
        """A bridge with the first number that no other site has; it is gone with the site."""
        for number in range(1, 250):
            name = f"spk{number}"
            made = subprocess.run(
                ["ip", "link", "add", name, "type", "bridge"], capture_output=True, check=False
            )
            if made.returncode == 0:
                break
        # The kernel keeps the namespace of a host that was killed for a while, and the link to it.
        for link in Path("/sys/class/net").glob(f"vb-{name}-*"):
            subprocess.run(["ip", "link", "delete", link.name], capture_output=True, check=False)
        for command in (
            f"ip link set {name} alias {self.directory}",
            f"ip address add 10.213.{number}.1/24 dev {name}",
            f"ip link set {name} up",
        ):
            subprocess.run(command.split(), check=True)
        return number

    def boot(self) -> None:
        """Start every host, and return when the last one's sshd answers."""
        for machine in self.machines.values():
            machine.start()
        for machine in self.machines.values():
            machine.await_ssh()

    def reap(self) -> None:
        """Wait for hosts that were killed."""
        for machine in self.machines.values():
            machine.reap()

    def entry(self, host: str, path: str, *selectors: str, ttl: int = 3600) -> None:
        """Make a registration entry with the stand-in for SPIRE's server."""
        command = [str(self.gospike), "entry", "create"]
        command += ["-parentID", self.machines[host].agent_id]
        command += ["-spiffeID", f"spiffe://{TRUST_DOMAIN}{path}", "-x509SVIDTTL", str(ttl)]
        for selector in selectors:
            command += ["-selector", selector]
        subprocess.run(
            ["spire-server", *command[1:]],
            executable=str(self.gospike),
            env={**os.environ, "GOSPIKE_ENTRIES": str(self.entries)},
            check=True,
            capture_output=True,
        )


@contextlib.contextmanager
def hosts(suites: dict[str, str], prepare: Callable[[Site], None]) -> Iterator[Site]:
    """Hosts that run, and are gone afterwards; ``prepare`` is called before they boot.

    Raises Missing where this machine cannot have them. However the process ends, nothing of them
    is left, or the next run of this removes it.
    """
    check_machine()
    with ended_in_order():
        provide(suites.values())
        with contextlib.ExitStack() as afterwards, site_directory() as directory:
            site = Site(directory, suites)
            afterwards.callback(site.reap)
            prepare(site)
            site.boot()
            yield site


def wait_for(what: str, happened: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Return when ``happened()`` is true; AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        # Other hosts have no event that could be waited for.
        time.sleep(0.2)


def access(site: Site) -> dict[str, Any]:
    """Variables with which Ansible reaches the hosts, as a user with sudo, and asks nobody."""
    options = (
        f"-i {site.ssh_key}",
        "-o StrictHostKeyChecking=no",
        "-o UserKnownHostsFile=/dev/null",
        "-o LogLevel=ERROR",
    )
    return {
        "ansible_user": "ops",
        "ansible_become": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": " ".join(options),
    }


__all__ = [
    "PATIENCE_SECONDS",
    "TRUST_DOMAIN",
    "Machine",
    "Site",
    "access",
    "hosts",
    "wait_for",
]

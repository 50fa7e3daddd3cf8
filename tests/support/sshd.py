"""OpenSSH's sshd on a loopback port, with throwaway keys."""

import getpass
import os
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from support.php_site import free_port, need, wait_for_port

SSHD = "/usr/sbin/sshd"


@dataclass
class Sshd:
    """A running one. `key` is whom it lets in; `known_hosts` has its own key."""

    directory: Path
    port: int
    process: subprocess.Popen
    host: str

    @property
    def key(self):
        return self.directory / "id"

    @property
    def known_hosts(self):
        return self.directory / "known_hosts"

    @property
    def options(self):
        """What ssh must be told to reach it."""
        return f"-F none -p {self.port} -o UserKnownHostsFile={self.known_hosts}"

    def settings(self, **more):
        """The fields of a site's table."""
        return {"ssh": self.host, "ssh_options": self.options, "ssh_key_file": str(self.key), **more}

    def sessions(self):
        """The pids of the sshd processes that serve connections."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split()]

    def left_behind(self):
        """What was started through it and still runs."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("SSH_CONNECTION", "").endswith(f" {self.port}"):
                    found.append(process)
        return found

    def drop(self):
        """Cut every connection: the far side's PHP lives on, as behind a network that went away."""
        for pid in self.sessions():
            os.kill(pid, signal.SIGKILL)


@contextmanager
def sshd(directory):
    """Start one; stopped at the end."""
    need("ssh")
    need(SSHD, what="sshd (openssh-server)")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("host", "id", "stranger"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(keygen, check=True)
    (directory / "authorized_keys").write_text((directory / "id.pub").read_text())
    port = free_port()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {(directory / 'host.pub').read_text()}")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    lines = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": directory / "host", "PidFile": "none",
        "AuthorizedKeysFile": directory / "authorized_keys", "StrictModes": "no", "UsePAM": "no",
        "PasswordAuthentication": "no", "PermitRootLogin": "prohibit-password", "MaxStartups": "100",
        "MaxSessions": "100",
    }  # fmt: skip
    config = directory / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    log = (directory / "sshd.log").open("ab")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stdout=log, stderr=log)
    server = Sshd(directory, port, process, f"{getpass.getuser()}@127.0.0.1")
    try:
        wait_for_port(port, process)
        yield server
    finally:
        server.drop()
        for each in server.left_behind():
            with suppress(psutil.Error):
                each.kill()
        process.terminate()
        process.wait()
        log.close()

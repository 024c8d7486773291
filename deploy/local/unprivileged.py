"""PostgreSQL refuses to run as root: for root, its commands run as an account without privileges."""

import os
import pwd
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import ServiceFailed

# linux/capability.h. Either lets the account reach programs and data below folders that are closed to others (a
# checkout in /root); the first only to read and search, but containers often have just the second.
_CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}


@dataclass(frozen=True)
class Account:
    """Who runs a command; the present user unless that is root."""

    uid: int
    gid: int

    def wrap(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` as this account."""
        if self.uid == os.geteuid():
            return list(command)
        capabilities = [f"+{name}" for name, bit in _CAPABILITIES.items() if _effective_capabilities() >> bit & 1][:1]
        return [
            _setpriv(),
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            "--clear-groups",
            "--no-new-privs",
            "--pdeathsig=KILL",  # changing the user cleared what the guard had set
            "--securebits=+no_setuid_fixup",  # so that access(2), too, counts the capability
            *(f"--{kind}={each}" for kind in ("inh-caps", "ambient-caps") for each in capabilities),
            "--",
            *command,
        ]

    def own(self, path: Path) -> None:
        """Give `path` itself (a file or folder, not what is in it) to this account."""
        if path.stat().st_uid != self.uid:
            os.chown(path, self.uid, self.gid)


def account_for(data: Path) -> Account:
    """Return who may run a server on the folder `data`: we ourselves, or for root its owner, or else `nobody`."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if data.exists() and (kept := data.stat()).st_uid != 0:
        return Account(kept.st_uid, kept.st_gid)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _setpriv() -> str:
    program = shutil.which("setpriv")
    if program is None:
        raise ServiceFailed(
            "PostgreSQL does not run as root: run this as an ordinary user, or install `setpriv` (util-linux)"
        )
    return program


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0

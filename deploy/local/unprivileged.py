"""As whom does PostgreSQL run when we are root, which it refuses to be, and how does that user reach our files?

A fresh machine's clone is below /root, which nobody else may enter. The server then keeps one capability: to
read past folder permissions (or, where a container's bounding set lacks that one, to override them). It stays
another user.
"""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from deploy.local.errors import LocalServicesError

ACCOUNTS = ("postgres", "nobody")
PROBE_TIMEOUT_S = 10
CAPABILITIES = {
    "dac_read_search": 2,
    "dac_override": 1,
}  # numbers from linux/capability.h, the narrower one first


class Account(msgspec.Struct, frozen=True):
    """Who runs the server, and the command that becomes them; the command is empty when we already are."""

    uid: int
    gid: int
    launcher: tuple[str, ...]


def account_for(folders: Sequence[Path]) -> Account:
    """The account that PostgreSQL runs as, able to reach all of `folders`. Raises LocalServicesError."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), ())
    setpriv = shutil.which("setpriv")
    entry = next((found for name in ACCOUNTS if (found := _entry(name)) is not None), None)
    if setpriv is None or entry is None:
        raise LocalServicesError("PostgreSQL refuses to run as root, and setpriv or another account is missing")
    switch = (setpriv, "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups")
    capabilities = [name for name, number in CAPABILITIES.items() if _in_bounding_set(number)]
    launchers = [
        (*switch, "--inh-caps", "-all"),
        # PostgreSQL asks access(2), which forgets capabilities after a change of user unless this bit is set.
        *(
            (*switch, "--securebits", "+no_setuid_fixup", "--inh-caps", f"-all,+{name}", "--ambient-caps", f"+{name}")
            for name in capabilities
        ),
    ]
    for launcher in launchers:
        if _reaches(launcher, folders):
            return Account(entry.pw_uid, entry.pw_gid, launcher)
    raise LocalServicesError(
        f"PostgreSQL refuses to run as root, and the user {entry.pw_name} cannot enter {folders[0]}"
    )


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _in_bounding_set(number: int) -> bool:
    match = re.search(r"^CapBnd:\s+([0-9a-f]+)", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    return match is not None and bool(int(match[1], 16) >> number & 1)


def _reaches(launcher: Sequence[str], folders: Sequence[Path]) -> bool:
    for folder in folders:
        probe = subprocess.run(
            [*launcher, "test", "-r", str(folder), "-a", "-x", str(folder)],
            cwd="/",
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
        if probe.returncode:
            return False
    return True

"""SELinux and fapolicyd, which can prevent programs of an install from starting, as `policy.rs` sees them."""

import os
import re
import shlex

from failure import Failure, shown

# Neither systemd starts programs of these types, nor does a confined web server read them.
REFUSED = ("admin_home_t", "default_t", "home_root_t", "unlabeled_t", "user_home_dir_t", "user_home_t", "user_tmp_t")
# Where fapolicyd has what it trusts.
TRUST = ("fapolicyd.trust", "fapolicyd.rules", "trust.d", "rules.d")
# A list of trusted files is longer than other configuration, in bytes.
LONGEST = 16 << 20


def notes(standing, destination, machine=b"/"):
    """What refuses an install once it is there; `standing` is the nearest directory that exists."""
    kind = type_of(standing) if read(os.path.join(machine, b"sys/fs/selinux/enforce"))[:1] == b"1" else None
    found = []
    if kind in REFUSED:
        found.append(
            Failure(
                0,
                "SELinux enforces its policy, and files that are made in %s have the type %s: systemd cannot start the"
                " site's Python, and a web server cannot read static files" % (shown(standing), kind),
                hint="name a destination below /srv or /opt, or add file contexts with `semanage fcontext` and run"
                " `restorecon -R` after the install",
            )
        )
    if fapolicyd_trusts_none(machine, destination):
        rule = shlex.quote("allow perm=any all : dir=%s/" % os.fsdecode(destination))
        found.append(
            Failure(
                0,
                "fapolicyd runs, which refuses programs and libraries that it does not trust, and nothing in it names %s"
                % shown(destination),
                hint="`echo %s >/etc/fapolicyd/rules.d/35-wheelbarrow.rules && systemctl restart fapolicyd` trusts all"
                " files there" % rule,
            )
        )
    return found


def type_of(path):
    """The type in the SELinux label of a file: `bin_t`."""
    try:
        label = os.getxattr(path, "security.selinux", follow_symlinks=False)
    except OSError:
        return None
    parts = label.rstrip(b"\0").decode("utf-8", "replace").split(":")
    return parts[2] if len(parts) > 2 else None


def fapolicyd_trusts_none(machine, destination):
    configuration = os.path.join(machine, b"etc/fapolicyd")
    # What its service makes, and removes at its end.
    runs = [os.path.join(machine, path) for path in (b"run/fapolicyd/fapolicyd.fifo", b"run/fapolicyd.pid")]
    if not any(map(os.path.exists, runs)) or not os.path.isdir(configuration):
        return False
    return not any(trusts(read(path), destination) for path in trust_files(configuration))


def trust_files(configuration):
    for name in TRUST:
        path = os.path.join(configuration, name.encode("ascii"))
        try:
            entries = sorted(os.listdir(path))
        except OSError:
            yield path
        else:
            for entry in entries:
                yield os.path.join(path, entry)


def trusts(text, destination):
    """Whether a text speaks of the path, and not of one whose name only begins like it, or of a directory above it."""
    if re.search(re.escape(destination) + rb"(?![\w.-])", text):
        return True
    directories = [word[4:].rstrip(b"/") for word in re.split(rb"[ ,\t\n]", text) if word.startswith(b"dir=/")]
    return any(path and (destination + b"/").startswith(path + b"/") for path in directories)


def read(path):
    """The first LONGEST bytes of a file; no bytes if it is not a regular file or cannot be read."""
    try:
        if not os.path.isfile(path):
            return b""
        with open(path, "rb") as file:
            return file.read(LONGEST)
    except OSError:
        return b""

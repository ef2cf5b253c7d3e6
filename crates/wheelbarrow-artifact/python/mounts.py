"""What the kernel says of file systems, proc_pid_mountinfo(5), and what they can. Paths are bytes."""

import errno
import os

# Known to have symbolic links. Others are asked, which takes making one.
LINKING = frozenset(b"ext2 ext3 ext4 xfs btrfs f2fs zfs bcachefs tmpfs ramfs overlay nfs nfs4".split())


def place(path):
    """`path` without links, but for its last part, of which no file system is asked."""
    above, base = os.path.split(path)
    return os.path.join(os.path.realpath(above), base)


def mounts_in(path):
    """The mount points at and below `path`, which must not be a link. Empty if the kernel has no list of mounts."""
    real = place(path)
    below = real.rstrip(b"/") + b"/"
    return sorted({point for point, _ in _mounted() if point == real or point.startswith(below)})


def kind_of(path):
    """The type of the file system that holds `path`, or None."""
    real = os.path.realpath(path)
    found, kind = b"", None
    for point, name in _mounted():
        if (real == point or real.startswith(point.rstrip(b"/") + b"/")) and len(point) >= len(found):
            found, kind = point, name
    return kind


def link_error(directory):
    """Why no symbolic link can be made in `directory`, as an OSError; None if one can be."""
    if kind_of(directory) in LINKING:
        return None
    path = os.path.join(directory, b".wheelbarrow-" + os.urandom(4).hex().encode())
    try:
        os.symlink(b"link", path)
    except OSError as error:
        # What is full is reported as such.
        return None if error.errno in (errno.ENOSPC, errno.EDQUOT) else error
    os.unlink(path)
    return None


def _mounted():
    """Mount points with their types; a later one covers an earlier one."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return
    for line in lines:
        fields, _, rest = line.partition(b" - ")
        fields = fields.split(b" ")
        if len(fields) > 4 and rest:
            yield _plain(fields[4]), rest.split(b" ")[0]


def _plain(field):
    r"""`\040` is a space, and so on."""
    first, *parts = field.split(b"\\")
    plain = first
    for part in parts:
        digits = part[:3]
        is_code = len(digits) == 3 and all(48 <= digit < 56 for digit in digits) and int(digits, 8) < 256
        plain += bytes([int(digits, 8)]) + part[3:] if is_code else b"\\" + part
    return plain

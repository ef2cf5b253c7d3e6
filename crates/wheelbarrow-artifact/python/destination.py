"""What may be at a destination, and beside it, when an install takes its place. Every path in here is bytes."""

import os
import stat

import mounts
from exits import ENVIRONMENT, NO_SPACE, REFUSED
from failure import Failure, quoted, shown

LARGEST_ENVIRONMENT = 1 << 20  # bytes, as loadenv.py has it


def check_destination(destination, replace, artifact=None):
    """Refuses what an install must not touch. True if a directory is there to be exchanged."""
    found = check_place(destination, replace, artifact)
    check_right(os.path.dirname(destination), destination)
    return found


def check_place(destination, replace, artifact=None):
    """What is at the destination already, as `check_destination` has it."""
    name = shown(destination)
    parent, base = os.path.split(destination)
    if not base:
        raise Failure(REFUSED, "%s cannot be a destination" % name)
    # Whoever owns the destination may have mounted what never answers.
    _refuse_mounts(destination)
    try:
        found = os.lstat(destination)
        kind = found.st_mode
    except FileNotFoundError:
        if not os.path.isdir(parent):
            what = "the directory of the destination, %s, does not exist" % shown(parent)
            raise Failure(REFUSED, what, hint="mkdir -p %s" % quoted(parent)) from None
        kind = None
    except NotADirectoryError:
        what = "the directory of the destination, %s, is a file" % shown(parent)
        raise Failure(REFUSED, what, hint="name another destination") from None
    if kind is not None:
        if not stat.S_ISDIR(kind):
            what = "a symbolic link" if stat.S_ISLNK(kind) else "a file, not a directory"
            hint = "name another destination, or remove it"
            raise Failure(REFUSED, "the destination %s is %s" % (name, what), hint=hint)
        # The new install gets the owner of what is there, and its environment.json.
        if not is_settled(os.stat(parent), found):
            what = "belongs to another user (%d), in a directory where every user may write" % found.st_uid
            hint = "name another destination, or remove it"
            raise Failure(REFUSED, "the destination %s %s" % (name, what), hint=hint)
        names = set(os.listdir(destination))
        if names - {b"environment.json"}:
            inside = _inside(mounts.place(destination), artifact)
            if inside:
                what = "the destination %s is not empty, and %s is inside it" % (name, inside)
                hint = "name a directory that does not exist yet, or an empty one"
                raise Failure(REFUSED, what, hint=hint)
            if not replace:
                hint = "`--replace` exchanges it for the new install in one step"
                if {b"releases", b"store", b".wheelbarrow"} <= names:
                    hint = "it is a site root: `deploy --root %s`" % quoted(destination)
                raise Failure(REFUSED, "the destination %s is not empty" % name, hint=hint)
            facts = destination + b"/.wheelbarrow"
            # A link may lead to the same.
            own = [not os.path.islink(facts)]
            if own[0]:
                own += [os.path.lexists(facts + file) for file in (b"/receipt.json", b"/release.json")]
            if own != [True, True, False]:
                raise Failure(
                    REFUSED,
                    "the destination %s holds something that is not an install" % name,
                    hint="--replace only exchanges what an artifact has installed, which has a"
                    " .wheelbarrow/receipt.json; move the rest away yourself",
                )
        _refuse_environment(destination + b"/environment.json")
    return kind is not None


def _inside(destination, artifact):
    """What is below a directory that an exchange would take away from under it."""
    above = destination.rstrip(b"/") + b"/"
    try:
        directory = os.getcwdb()
    except OSError:
        directory = b""
    if directory != destination and directory.startswith(above):
        return "the working directory"
    if artifact is not None and os.path.realpath(artifact).startswith(above):
        return "the artifact"
    return None


def _refuse_mounts(destination):
    """A mount point cannot be renamed, and what is mounted inside must not be removed with what is around it."""
    for point in mounts.mounts_in(destination):
        if point == mounts.place(destination):
            raise Failure(
                REFUSED,
                "the destination %s is a mount point" % shown(destination),
                hint="an install is renamed into place, which a mount point cannot be: name a directory inside it",
            )
        raise Failure(
            REFUSED,
            "a file system is mounted inside the destination, at %s" % shown(point),
            hint="unmount it, or mount it outside of the destination: --replace removes what is inside",
        )


def _refuse_environment(path):
    try:
        status = os.lstat(path)
    except OSError:
        return
    if stat.S_ISREG(status.st_mode) and status.st_size > LARGEST_ENVIRONMENT:
        raise large_environment(path)


def large_environment(path):
    hint = "no Python of an install would start with it: move it away"
    return Failure(ENVIRONMENT, "%s is larger than 1 MB" % shown(path), hint=hint)


def check_right(parent, destination):
    if not os.access(parent, os.W_OK | os.X_OK):
        raise Failure(
            REFUSED,
            "no right to write in %s, where %s is made" % (shown(parent), shown(destination)),
            hint="an install is made beside its destination and renamed; run as a user who may write in %s" % shown(parent),
        )
    error = mounts.link_error(parent)
    if error is not None:
        raise Failure(
            REFUSED,
            "no symbolic links can be made in %s (%s)" % (shown(parent), shown(mounts.kind_of(parent) or b"unknown")),
            cause="%s (os error %d)" % (error.strerror, error.errno),
            hint="a virtualenv needs them: name a destination on another file system, such as ext4 or xfs",
        )


def no_programs(parent, destination):
    """What to tell where a file system lets no program run: much of a virtualenv works there all the same."""
    if not os.statvfs(parent).f_flag & os.ST_NOEXEC:
        return None
    return Failure(
        0,
        "nothing in %s can be run: its file system is mounted noexec" % shown(destination),
        hint="name a destination on another file system, or mount it without noexec: the scripts of the"
        " virtualenv and extension modules need it",
    )


def too_little(parent, sizes):
    """What there is too little of in the directory `parent` for files of these sizes.

    The virtualenv, pip and bytecode come on top of them: a disk that is full later stops the install too."""
    system = os.statvfs(parent)
    size, inodes = sum(sizes), len(sizes)
    found = [_check_free("space", parent, "%d bytes" % size, size, system.f_bavail * system.f_frsize)]
    # btrfs and some others do not count inodes.
    if system.f_files:
        found.append(_check_free("inodes", parent, inodes, inodes, system.f_favail))
    return [failure for failure in found if failure is not None]


def _check_free(what, parent, told, needed, free):
    if free >= needed:
        return None
    what = "not enough %s in %s: %s are needed, %d are free" % (what, shown(parent), told, free)
    return Failure(NO_SPACE, what, hint="free some, or name a destination on another file system")


def is_settled(parent, found):
    """Whether a directory counts that may have been put there by anybody who may write in `parent`. Both are statuses.

    Where the sticky bit keeps users apart, it is that of root, of this user or of the owner of `parent`. Elsewhere who
    may write could exchange it at any time."""
    shared = parent.st_mode & stat.S_ISVTX and parent.st_mode & 0o022
    return not shared or found.st_uid in (0, os.geteuid(), parent.st_uid)

"""A directory that is complete or not there.

A tree is built in `.BASENAME.wheelbarrow-XXXXXXXX` beside its destination and renamed. Whoever builds it holds an
flock on that directory, so a directory that nobody holds was left by a killed run and is removed by the next one. The
kernel drops the lock of a dead process: no process id to compare, no age to guess. Whoever may open a directory can hold
such a lock, so until it is in place only its maker may open it.

Every path in here is bytes: a Python 3.6 in the C locale has an ASCII file system encoding.
"""

import errno
import fcntl
import os
import stat
import time

import beneath
import calls
import mounts
from exits import ENVIRONMENT, FAILED, LOCKED, NO_SPACE, REFUSED

LARGEST_ENVIRONMENT = 1 << 20  # bytes, as loadenv.py has it


class Failure(Exception):
    """An error for a person: what failed, why, and what to do about it."""

    def __init__(self, code, message, cause=None, hint=None):
        super().__init__(message)
        self.code, self.message, self.cause, self.hint = code, message, cause, hint

    def lines(self):
        yield "error: " + self.message
        if self.cause:
            yield "Caused by: " + str(self.cause)
        if self.hint:
            yield "hint: " + self.hint

    def finding(self):
        """As `--check --json` tells it."""
        cause = None if self.cause is None else str(self.cause)
        return {"what": self.message, "why": cause, "fix": self.hint, "exit_code": self.code}


def failure_of(error, message):
    """The failure that an OSError amounts to."""
    cause = error.strerror or str(error)
    if error.filename:
        cause = "%s: %s" % (shown(error.filename), cause)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(NO_SPACE, message, cause, "make room on that file system and run it again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Failure(REFUSED, message, cause, "run it as a user who may write there")
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
        return Failure(REFUSED, message, cause, "something else was put there meanwhile")
    if error.errno == errno.EBUSY:
        return Failure(REFUSED, message, cause, "a mount point cannot be exchanged; choose a directory inside it")
    return Failure(FAILED, message, cause)


def shown(path):
    """The path for a person to read."""
    return beneath.named(path).decode("utf-8", "backslashreplace")


class Staging:
    """A new directory beside `destination`, held until it is published or discarded."""

    def __init__(self, destination):
        self.real_parent, name = os.path.split(destination)
        self.name, self.prefix = name, b"." + name + b".wheelbarrow-"
        self._parent = self._held = self.path = self.real_path = None

    def _find(self):
        """Opens the parent directory, whose owner may exchange it: all paths lead through the open one."""
        self._parent = beneath.opened(self.real_parent)
        self.parent = self._parent.base
        self.destination = os.path.join(self.parent, self.name)
        # Where the old tree waits for the moment that two renames need.
        self.aside = os.path.join(self.parent, self.prefix + b"old")
        # A whole tree that takes the place of the destination, whatever is left of that.
        self.next = os.path.join(self.parent, self.prefix + b"next")
        self.lock = os.path.join(self.parent, self.prefix + b"lock")

    def open(self):
        self._find()
        try:
            # Between mkdir and flock a directory looks abandoned, so both happen under a lock.
            with _Locked(self.lock):
                self._recover()
                self._sweep()
                self._make()
        except BaseException:
            self.discard()
            raise

    def _make(self):
        name = self.prefix + os.urandom(4).hex().encode()
        path = os.path.join(self.parent, name)
        os.mkdir(path, 0o700)
        self.path, self.real_path = path, os.path.join(self.real_parent, name)
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        self._held = beneath.Held(held, self.real_path)
        if os.fstat(held).st_uid != os.geteuid():
            raise OSError(errno.EPERM, "it was exchanged meanwhile", self.real_path)
        _try_lock(held)
        # What the umask, or an access control list that is inherited, makes of the mode of a new directory.
        probe = self.root + b"/mode"
        os.mkdir(probe, 0o777)
        self.mode = stat.S_IMODE(os.lstat(probe).st_mode) & 0o2777
        os.rmdir(probe)

    @property
    def root(self):
        """Where to write."""
        return self._held.base

    def __enter__(self):
        self.open()
        return self

    def __exit__(self, *_):
        self.discard()

    def discard(self):
        if self.path is not None:
            _hide(self.path)  # if this is killed, nobody else has a lock on the rest
            beneath.remove(self.path)
            self.path = None
        for held in filter(None, (self._held, self._parent)):
            held.close()
        self._held = self._parent = None

    def _recover(self):
        """Undoes or finishes what a run without the exchanging rename left when it was killed.

        Anybody who may write there may make something with such a name, so it counts by its owner."""
        parent = os.stat(self.parent)
        for left in (self.next, self.aside):
            try:
                found = os.lstat(left)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(found.st_mode):
                continue
            if left == self.next and self._is_ours(found):
                beneath.remove(self.destination)
            if is_settled(parent, found) and not os.path.lexists(self.destination):
                os.rename(left, self.destination)
            elif left == self.aside and self._is_ours(found):
                beneath.remove(left)

    def _is_ours(self, found):
        """Whether this user has made it. If another user owns the destination, it may have been given to him already."""
        try:
            is_given = os.lstat(self.destination).st_uid == found.st_uid
        except OSError:
            is_given = False
        return found.st_uid == os.geteuid() or is_given and is_settled(os.stat(self.parent), found)

    def put_right(self):
        """The same, for who looks at the destination before `open`."""
        left = (os.path.join(self.real_parent, self.prefix + end) for end in (b"next", b"old"))
        if any(os.path.lexists(path) for path in left):
            self._find()
            try:
                with _Locked(self.lock):
                    self._recover()
            finally:
                self.discard()

    def _sweep(self):
        for name in os.listdir(self.parent):
            if not (name.startswith(self.prefix) and len(name) == len(self.prefix) + 8):
                continue
            path = os.path.join(self.parent, name)
            try:
                held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                # Another user could make as many as he likes.
                if self._is_ours(os.fstat(held)) and _try_lock(held):
                    beneath.remove(path)
            finally:
                _close(held)

    def flush(self):
        """What the rename makes visible must be on the disk before it. syncfs(2) spares the other file systems."""
        library = calls.library()
        if not hasattr(library, "syncfs"):
            os.sync()
        elif library.syncfs(self._held.descriptor) != 0:
            import ctypes

            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), self.destination)

    def publish(self, replace, kept=None):
        """Puts the tree into place, whole, and then removes what was there. `kept` is a status whose owner and mode it gets."""
        with _Locked(self.lock):
            ours, found = os.fstat(self._held.descriptor), os.lstat(self.path)
            if (ours.st_dev, ours.st_ino) != (found.st_dev, found.st_ino):
                raise Failure(REFUSED, "%s was exchanged for something else while it was written" % shown(self.path))
            self._give(kept)
            # Another run may have published since the first look, and its install is not ours to remove.
            if check_destination(self.destination, replace):
                self._exchange(kept)
            else:
                os.rename(self.path, self.destination)
                self.path = None
            try:
                os.fsync(self._parent.descriptor)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some file systems cannot sync a directory
                    # The old tree stays until the next run: after a power cut it may be the destination again.
                    self.path = None
                    told = "%s is in place and whole, but may be as before after a power cut"
                    raise failure_of(error, told % shown(self.destination)) from None
        self.discard()

    def _give(self, kept):
        ours = os.fstat(self._held.descriptor)
        if kept is not None and (ours.st_uid, ours.st_gid) != (kept.st_uid, kept.st_gid):
            os.fchown(self._held.descriptor, kept.st_uid, kept.st_gid)
        os.fchmod(self._held.descriptor, self.mode if kept is None else stat.S_IMODE(kept.st_mode))

    def _exchange(self, kept):
        try:
            if calls.exchange_directories(self.path, self.destination):
                return  # the old tree now has the staging name, and is discarded as such
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # overlayfs does not rename directories of a lower layer, of a container image say.
            self._replace_by_removal(kept)
            return
        os.rename(self.destination, self.aside)
        try:
            os.rename(self.path, self.destination)
        except BaseException:
            try:
                os.rename(self.aside, self.destination)
            except OSError:
                pass  # the next run does it
            raise
        self.path = self.aside

    def _replace_by_removal(self, kept):
        """From the rename on the new tree is to be in place, so what could keep it from that is looked for before."""
        directories = [self.destination]
        while directories:
            directory = directories.pop()
            if not os.access(directory, os.W_OK | os.X_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), directory)
            directories.extend(entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False))
        os.fchown(self._held.descriptor, os.geteuid(), -1)  # while it waits, or it would not count
        os.rename(self.path, self.next)
        self.path = None
        beneath.remove(self.destination)
        self._give(kept)
        os.rename(self.next, self.destination)


class _Locked:
    """A lock for moments, on a file that is there only meanwhile: nobody can hold it who may not write beside it.

    Nothing where the file system has no locks."""

    PATIENCE = 60  # seconds

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        end = time.time() + self.PATIENCE
        while True:
            try:
                # Without waiting: it may be a file of another user, who has a lease on it.
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                self.held = os.open(self.path, flags, 0o600)
            except BlockingIOError:
                self._pause(end)
                continue
            try:
                self._wait(end)
                ours, found = os.fstat(self.held), os.lstat(self.path)
                if (ours.st_dev, ours.st_ino) == (found.st_dev, found.st_ino):
                    return self
            except FileNotFoundError:
                pass  # it was removed by who had it before
            except BaseException:
                _close(self.held)
                raise
            _close(self.held)
            self._pause(end)  # it may be exchanged all the time

    def _wait(self, end):
        while True:
            try:
                return fcntl.flock(self.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._pause(end)
            except OSError:
                return None

    def _pause(self, end):
        if time.time() > end:
            what = "%s is locked by another process, for more than %d s" % (shown(self.path), self.PATIENCE)
            hint = "end the other process, or try again when it has ended; `lslocks` shows it"
            raise Failure(LOCKED, what, hint=hint) from None
        time.sleep(0.005)

    def __exit__(self, *_):
        try:
            os.unlink(self.path)
        except OSError:
            pass
        _close(self.held)


def is_settled(parent, found):
    """Whether a directory counts that may have been put there by anybody who may write in `parent`. Both are statuses.

    Where the sticky bit keeps users apart, it is that of root, of this user or of the owner of `parent`. Elsewhere who
    may write could exchange it at any time."""
    shared = parent.st_mode & stat.S_ISVTX and parent.st_mode & 0o022
    return not shared or found.st_uid in (0, os.geteuid(), parent.st_uid)


def _hide(path):
    try:
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        os.fchmod(held, 0o700)
    except OSError:
        pass
    _close(held)


def _try_lock(held):
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _close(held):
    """Of a directory: nothing was written by it, so nothing is lost where that fails."""
    try:
        os.close(held)
    except OSError:
        pass


def check_destination(destination, replace):
    """Refuses what an install must not touch. True if a directory is there to be exchanged."""
    found = check_place(destination, replace)
    check_right(os.path.dirname(destination), destination)
    return found


def check_place(destination, replace):
    """What is at the destination already, as `check_destination` has it."""
    name = shown(destination)
    parent, base = os.path.split(destination)
    if not base:
        raise Failure(REFUSED, "%s cannot be a destination" % name)
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
        if set(os.listdir(destination)) - {b"environment.json"}:
            if not replace:
                hint = "`--replace` exchanges it for the new install in one step"
                raise Failure(REFUSED, "the destination %s is not empty" % name, hint=hint)
            if not os.path.lexists(destination + b"/.wheelbarrow/receipt.json"):
                raise Failure(
                    REFUSED,
                    "the destination %s holds something that is not an install" % name,
                    hint="--replace only exchanges what an artifact has installed, which has a"
                    " .wheelbarrow/receipt.json; move the rest away yourself",
                )
        _refuse_mounts(destination)
        _refuse_environment(destination + b"/environment.json")
    return kind is not None


def _refuse_mounts(destination):
    """A mount point cannot be renamed, and what is mounted inside must not be removed with what is around it."""
    for point in mounts.mounts_in(destination):
        if point == os.path.realpath(destination):
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


def block_of(directory):
    return max(1, os.statvfs(directory).f_bsize)


def check_bytes(parent, size):
    system = os.statvfs(parent)
    return _check_free("space", parent, "%d bytes" % size, size, system.f_bavail * system.f_frsize)


def check_inodes(parent, inodes):
    system = os.statvfs(parent)
    # btrfs and some others do not count inodes.
    return _check_free("inodes", parent, inodes, inodes, system.f_favail) if system.f_files else None


def _check_free(what, parent, told, needed, free):
    if free >= needed:
        return None
    what = "not enough %s in %s: %s are needed, %d are free" % (what, shown(parent), told, free)
    return Failure(NO_SPACE, what, hint="free some, or name a destination on another file system")


def quoted(path):
    import shlex

    return shlex.quote(shown(path))


def printable(text):
    """Without control characters, which a terminal obeys: names and versions may hold anything.

    Bytes of file names that are no text (surrogates) stay."""
    kept = lambda one: one.isprintable() or one in "\n\t" or "\udc80" <= one <= "\udcff"  # noqa: E731
    return "".join(one if kept(one) else one.encode("unicode_escape").decode() for one in text)


def say(stream, line):
    """Writes one line in UTF-8, whatever the locale is. Errors of a closed or full output are ignored."""
    try:
        stream.flush()
        stream.buffer.write(printable(line).encode("utf-8", "surrogateescape") + b"\n")
        stream.flush()
    except (AttributeError, OSError, ValueError):
        pass

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
from destination import check_destination, is_settled
from exits import LOCKED, REFUSED
from failure import Failure, failure_of, shown


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
            raise OSError(errno.EPERM, "it was replaced at the same time", self.real_path)
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
                    told = "%s is complete, but a power cut may undo it"
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

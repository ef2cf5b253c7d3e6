"""A directory that stays the same while somebody else exchanges what leads to it.

Paths are bytes. `Held.base` is its name by descriptor: paths that begin with it lead into the directory that was opened,
wherever it is now.
"""

import os
import stat
import time

# Seconds for one tree: somebody else may go on making directories in it.
PATIENCE = 60
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Held:
    """An open directory, called `path` in errors."""

    all = []

    def __init__(self, descriptor, path):
        self.descriptor, self.path = descriptor, path
        self.base = b"/proc/self/fd/%d" % descriptor
        if not os.path.isdir(self.base):  # /proc is not mounted
            self.base = path
        Held.all.append(self)

    def close(self):
        Held.all.remove(self)
        try:
            os.close(self.descriptor)
        except OSError:
            pass  # nothing was written by it


def named(path):
    """A path for a person: as it would be without descriptors."""
    path = os.fsencode(path)
    for held in Held.all:
        if path == held.base or path.startswith(held.base + b"/"):
            return held.path + path[len(held.base) :]
    return path


def opened(path):
    """Opens a directory by an absolute path. Root follows no link on the way that somebody else may have made."""
    if os.geteuid() != 0:
        return Held(os.open(path, os.O_RDONLY | os.O_DIRECTORY), path)
    reached, exposed, links = os.open(b"/", os.O_RDONLY | os.O_DIRECTORY), False, 0
    parts = path.split(b"/")[::-1]
    try:
        while parts:
            part = parts.pop()
            if part in (b"", b"."):
                continue
            exposed = exposed or _is_exposed(os.fstat(reached))
            found = os.stat(part, dir_fd=reached, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode) and found.st_uid == 0 and not exposed and links < 40:
                links += 1
                target = os.readlink(part, dir_fd=reached)
                parts.extend(target.split(b"/")[::-1])
                part = b"/" if target.startswith(b"/") else b"."
            flags = os.O_DIRECTORY | os.O_NOFOLLOW | (os.O_RDONLY if not any(parts) else os.O_PATH)
            below = os.open(part, flags, dir_fd=reached)
            os.close(reached)
            reached = below
    except OSError as error:
        os.close(reached)
        error.filename = path
        raise
    return Held(reached, path)


def _is_exposed(status):
    """Whether somebody other than root may exchange what is in a directory."""
    shared = stat.S_IMODE(status.st_mode) & 0o022 and not status.st_mode & stat.S_ISVTX
    return status.st_uid != 0 or bool(shared)


def remove(path):
    """Removes a tree, however deep it is. What cannot be removed in PATIENCE stays, and so do other file systems in it, and a
    file or a link at `path`."""
    try:
        top = os.open(path, _DIRECTORY)
    except OSError:
        return
    try:
        limits = (os.fstat(top).st_dev, time.monotonic() + PATIENCE)
        names = list(_listed(top, limits))
        while names and time.monotonic() < limits[1]:
            name = names.pop()
            if not _is_removed(name, top):
                names.extend(_emptied(name, top, limits))
        os.rmdir(path)
    except OSError:
        pass
    finally:
        os.close(top)


def _listed(directory, limits):
    """What is in a directory: nothing of another file system, and no more once the time is over."""
    device, until = limits
    if os.fstat(directory).st_dev == device:
        for name in os.listdir(directory):
            if time.monotonic() >= until:
                break
            yield name


def _emptied(name, top, limits):
    """Removes a directory and the files in it. Directories in it are moved up to `top`, so that no path becomes too long
    and few descriptors are open; gives the names that they have there."""
    moved, prefix = [], ".removed-%s-" % os.urandom(8).hex()
    try:
        held = os.open(name, _DIRECTORY, dir_fd=top)
    except OSError:
        return moved
    try:
        for number, below in enumerate(_listed(held, limits)):
            if _is_removed(below, held):
                continue
            if _is_moved(below, held, prefix + str(number), top):
                moved.append(prefix + str(number))
            else:
                _remove_in_place(below, held, limits)
    except OSError:
        pass
    finally:
        os.close(held)
    _is_removed(name, top)
    return moved


def _remove_in_place(name, directory, limits):
    """Where directories cannot be moved, as in a lower layer of overlayfs; as deep as descriptors go."""
    try:
        held = os.open(name, _DIRECTORY, dir_fd=directory)
    except OSError:
        return
    try:
        for below in _listed(held, limits):
            if not _is_removed(below, held):
                _remove_in_place(below, held, limits)
    except (OSError, RecursionError):
        pass
    finally:
        os.close(held)
    _is_removed(name, directory)


def _is_moved(name, source, new, target):
    try:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
    except OSError:
        return False
    return True


def _is_removed(name, directory):
    """Removes a file or an empty directory."""
    try:
        try:
            os.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=directory)
    except OSError:
        return False
    return True

"""A thin artifact may leave out the native program: the store of an earlier release has it, as STORE/programs/SHA256.

It is run once its bytes were compared with the manifest of the artifact; docs/reference/format.md, "Thin artifacts"."""

import hashlib
import json
import os
import stat

import exact
from exact import THIN


def is_thin(artifact):
    try:
        with open(artifact, "rb") as file:
            return THIN in exact.read(file)[1]
    except (OSError, ValueError):
        return False


def program(artifact, name, store):
    """The native program called `name` (linux-MACHINE) out of the store; None where it has none that is the artifact's."""
    if not store:
        return None
    try:
        with open(artifact, "rb") as file:
            members = exact.read(file)[1]
            if THIN not in members:
                return None
            manifest = json.loads(b"".join(exact.contents(file, members[exact.MANIFEST])).decode("utf-8"))
        for member in manifest["members"]:
            if member["path"] == ".wheelbarrow/native/" + name:
                expected, size = str(member["sha256"]), int(member["size"])
                break
        else:
            return None
        if len(expected) != 64 or set(expected) - set("0123456789abcdef"):
            return None
        found = contents(os.path.join(store, "programs", expected), size)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if hashlib.sha256(found).hexdigest() == expected else None


def contents(path, size):
    """What a regular file of this size holds. Nothing else is read, and nothing is waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            raise ValueError("%s is something else" % path)
        return file.read(size)


def root_of(words):
    """What `--root` names among the words of a command, else $WHEELBARROW_ROOT; None where nothing does."""
    root = os.environ.get("WHEELBARROW_ROOT") or None
    words = iter(words)
    for word in words:
        if word == "--":
            break
        if word == "--root":
            root = next(words, root)
        elif word.startswith("--root="):
            root = word[len("--root=") :]
    return root

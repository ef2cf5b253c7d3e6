"""Errors, and how they are printed."""

import errno

import beneath
from exits import FAILED, NO_SPACE, REFUSED, SITE


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
        yield "docs: %stroubleshooting/#exit-%d" % (SITE, self.code)

    def finding(self):
        """As `--check --json` prints it."""
        cause = None if self.cause is None else str(self.cause)
        return {"what": self.message, "why": cause, "hint": self.hint, "exit_code": self.code}


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


def quoted(path):
    import shlex

    return shlex.quote(shown(path))

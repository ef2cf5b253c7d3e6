"""What Python has no function for: calls of the C library."""

import errno
import os

# renameat2(2) where the C library has no function for it: musl, and glibc before 2.28.
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276, "i686": 353, "ppc64le": 357, "s390x": 347, "riscv64": 276}


def library():
    """The C library, or None in a Python without ctypes."""
    try:
        import ctypes

        return ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        return None


def exchange_directories(first, second):
    """Exchanges two directories in one step. False where that cannot be done here."""
    c = library()
    if c is None:
        return False
    import ctypes

    at_cwd, flag = ctypes.c_int(-100), ctypes.c_uint(2)
    paths = (at_cwd, ctypes.c_char_p(first), at_cwd, ctypes.c_char_p(second), flag)
    if hasattr(c, "renameat2"):
        result = c.renameat2(*paths)
    else:
        number = _RENAMEAT2.get(os.uname().machine)
        if number is None:
            return False
        result = c.syscall(ctypes.c_long(number), *paths)
    if result == 0:
        return True
    error = ctypes.get_errno()
    if error in (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):  # old kernel, NFS, seccomp
        return False
    raise OSError(error, os.strerror(error), second)

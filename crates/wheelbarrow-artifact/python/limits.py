"""A limit of the address space (`ulimit -v`), of which each thread takes much."""

import sys

# Bytes. The C library reserves 64 MB for what a thread allocates, and 8 MB for its stack; the rest is for all other work.
FOR_A_THREAD = 256 << 20


def threads():
    """How many threads this process has room for beside the first. More would not fail: all that comes after them would."""
    limit = b"unlimited"
    try:
        # The module `resource` would take longer to import.
        with open("/proc/self/limits", "rb") as file:
            for line in file:
                if line.startswith(b"Max address space"):
                    limit = line.split()[3]
        return sys.maxsize if limit == b"unlimited" else int(limit) // FOR_A_THREAD
    except (OSError, ValueError):
        return sys.maxsize

"""Lists directories in the order of their names: a file system has an order of its own, and what is collected, or written
into a manifest of static files, would have it too. Bytecode, which has the time of the install in it, is not listed.
"""

import os

_listdir, _scandir = os.listdir, os.scandir


class _Entries:
    """As os.scandir() gives them."""

    def __init__(self, entries):
        self._entries = iter(entries)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._entries = iter(())


def _is_listed(name):
    return name not in ("__pycache__", b"__pycache__")


def _sorted_listdir(*arguments, **named):
    return sorted(filter(_is_listed, _listdir(*arguments, **named)))


def _sorted_scandir(*arguments, **named):
    with _scandir(*arguments, **named) as entries:
        listed = [entry for entry in entries if _is_listed(entry.name)]
    return _Entries(sorted(listed, key=lambda entry: entry.name))


os.listdir, os.scandir = _sorted_listdir, _sorted_scandir

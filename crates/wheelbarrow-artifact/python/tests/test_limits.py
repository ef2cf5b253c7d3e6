"""A limit of the address space leaves room for few threads or none."""

import sys
import unittest

from support import SOURCES, run

CODE = "import sys; sys.path.insert(0, %r); sys.dont_write_bytecode = True; import limits; print(limits.threads())" % SOURCES


class Threads(unittest.TestCase):
    def threads(self, kilobytes):
        words = ["sh", "-c", 'ulimit -v "$1" && shift && exec "$@"', "sh", kilobytes, sys.executable, "-I", "-c", CODE]
        result = run(words)
        self.assertEqual((result.code, result.err), (0, ""))
        return int(result.out)

    def test_as_many_as_there_is_room_for(self):
        self.assertEqual([self.threads(str(megabytes << 10)) for megabytes in (100, 300, 4096)], [0, 1, 16])

    def test_without_a_limit_any(self):
        self.assertEqual(self.threads("unlimited"), sys.maxsize)

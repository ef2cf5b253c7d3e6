"""Limits of the system, and of what an artifact can make a reader do."""

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


LISTS = """
import sys
sys.path.insert(0, %r)
sys.dont_write_bytecode = True
import needs, rules
from failure import Failure

class Listed(list):
    def __contains__(self, item):
        raise AssertionError("a long list is searched once for each item")

def wheel(name, *libraries):
    return {"path": "wheels/%%s.whl" %% name, "needs": {"libraries": Listed(libraries)}}

paths = Listed(["wheels/a.whl", "wheels/b.whl"])
wheels = [wheel("a", "libx.so", "liby.so", "libx.so"), wheel("b", "libx.so"), wheel("c", "libx.so")]
needs._loads = lambda library: library == "liby.so"
target = {"wheels": paths, "needs": {"libraries": Listed(["libx.so", "libx.so", "liby.so", "libz.so"])}}
for failure in needs.failures({"wheels": wheels}, target, {}):
    print(str(failure.args[0] if failure.args else failure.what).partition(", ")[0])
for count in (16, 17):
    name = "a-1-%%s-%%s-any.whl" %% (".".join(["x"] * 16), ".".join(["x"] * count))
    try:
        print(rules.name_of(name, "it"))
    except Failure:
        print("more than %%d tags" %% rules.MOST_TAGS)
"""


class Lists(unittest.TestCase):
    def test_lists_of_a_manifest_are_passed_once(self):
        result = run([sys.executable, "-I", "-c", LISTS % SOURCES])
        lines = ["a.whl and b.whl needs libx.so", " needs libz.so", "a", "more than 256 tags"]
        self.assertEqual((result.code, result.err, result.out.splitlines()), (0, "", lines))

"""Hostile artifacts take little memory and little time."""

import os
import shutil
import sys
import unittest

from case import Case
from make_artifact import make_wheel
from support import SOURCES, run

sys.path.insert(0, SOURCES)
import rules  # noqa: E402
from staging import Failure  # noqa: E402

# Megabytes, and seconds of work.
MOST, LONGEST = 200, 30

MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
sys.stderr.write("%d %d" % (used.ru_maxrss >> 10, used.ru_utime))
sys.exit(code)
"""
# A character that makes Python keep all of its text in four bytes each.
WIDE = "\U00010000".encode("utf-8")


class Memory(Case):
    def measure(self, shape, code):
        command = [sys.executable, "-c", MEASURED, sys.executable, self.zip, "-d", self.dest, "--bootstrap"]
        result = run(command + ["--compile", "never"])
        told, _, used = result.err.rpartition("\n")
        memory, time = map(int, used.split())
        with self.subTest(shape=shape, megabytes=memory, seconds=time):
            self.assertTrue(memory < MOST and time < LONGEST)
            self.assertEqual(result.code, code, told[:1000])
            self.assertNotIn("Traceback", told)

    def test_manifests(self):
        megabyte = 1 << 20
        shapes = {
            "values of another format": b'{"format":9,"built_by":[%s0]}' % (b"0," * (15 * megabyte)),
            "objects": b'{"format":1,"program":{%s}}' % b",".join([b'"a":{}'] * 4000000),
            "a wide string": b'{"format":1,"a":"%s%s"}' % (WIDE, b"a" * (31 * megabyte)),
            "a wide string that is taken": b'{"format":1,"a":"\\u0041%s%s"}' % (WIDE, b"a" * (11 * megabyte)),
            "strings": b'{"format":1,"a":[%s]}' % b",".join([b'"%s"' % (b"a" * 60)] * 450000),
        }
        recipe = self.recipe()
        for shape, recipe.manifest_bytes in shapes.items():
            recipe.write(self.zip)
            self.measure(shape, 3)

    def test_wheels(self):
        largest = 32 << 20
        shapes = {
            "fields": (b"a" + b"," * (largest - 1), 0),
            "quoted fields": (b"a" + b',""' * (1 << 20), 0),
            "doubled quotes": (b'"' + b'""' * (4 << 20) + b'"', 3),
            "a wide field": (WIDE + b"a" * (largest - 4), 3),
        }
        for shape, (record, code) in shapes.items():
            self.make([make_wheel("big", "1", {"big-1.dist-info/RECORD": record})])
            self.measure("RECORD of " + shape, code)
            shutil.rmtree(self.dest, ignore_errors=True)
        points = b"[console_scripts]\n" + b"".join(b"s%d=a:f\n" % number for number in range(60000)) + b"/=a:f\n"
        self.make([make_wheel("big", "1", {"big-1.dist-info/entry_points.txt": points})])
        self.measure("entry points", 3)
        self.assertFalse(os.path.exists(self.dest))

    def test_rows_are_read_as_before(self):
        for text, rows in [
            ('"a ""b"", c",sha256=x=,1,more,"and ""more"""\nb,,\n', {'a "b", c': ("x", 1), "b": (None, None)}),
            ("a\r\n\n\r\n\nb,,2,\n", {"a": (None, None), "b": (None, 2)}),
            ('a,,3,,,"",x', {"a": (None, 3)}),
        ]:
            self.assertEqual(rules.record(text, "x", 9), rows)
        for text in ('"a', '"a""', '"a"b', 'a"', 'a,,,x"', 'a,,,"x', 'a,,,x,"y"z', "a\rb", "a,,,\r", '"', '"""'):
            with self.assertRaises(Failure, msg=text):
                rules.record(text, "x", 9)


if __name__ == "__main__":
    unittest.main()

"""Which target of several the interpreter gets."""

import json
import sys
import unittest
from unittest import mock

import support

sys.path.insert(0, support.SOURCES)
import artifact  # noqa: E402
import interpreter  # noqa: E402
from failure import Failure  # noqa: E402


class Targets(unittest.TestCase):
    def chosen(self, libc, version):
        platforms = [
            "any", "manylinux_2_17_x86_64", "manylinux_2_36_x86_64", "manylinux_2_36_x86_64", "manylinux1_x86_64",
            "musllinux_1_2_x86_64", "manylinux_2_17_aarch64",
        ]  # fmt: skip
        targets = [
            {"python": "3.11", "abi": "cp311", "platform": platform, "pip": str(number)}
            for number, platform in enumerate(platforms)
        ]
        facts = {
            "implementation": "cpython",
            "version": [3, 11, 2],
            "abi": "cp311",
            "machine": "x86_64",
            "libc": {"name": libc, "version": version},
        }
        opened = artifact.Artifact.__new__(artifact.Artifact)
        opened.manifest = {"targets": targets}
        return opened.target(facts)["pip"]

    def test_the_best_tag_comes_first_whatever_the_order(self):
        self.assertEqual(self.chosen("glibc", [2, 41]), "2", "of two equals the first")
        self.assertEqual(self.chosen("glibc", [2, 28]), "1")
        self.assertEqual(self.chosen("glibc", [2, 5]), "4")
        self.assertEqual(self.chosen("glibc", [2, 4]), "0")
        self.assertEqual(self.chosen("musl", [1, 2]), "5")
        self.assertEqual(self.chosen("musl", [1, 1]), "0")

    def test_a_bundled_python_meets_the_c_library_of_the_host(self):
        glibc, musl = {"name": "glibc", "version": [2, 36]}, {"name": "musl", "version": [1, 2]}

        def found(bundled, of_host, musl_of_host=None):
            opened = artifact.Artifact.__new__(artifact.Artifact)
            opened.name, opened.manifest = "site.zip", {"interpreter": {"machine": "x86_64"}}
            paths = {"site_packages": "lib/python3.12/site-packages", "headers": "include", "cache_tag": "cpython-312"}
            facts = json.dumps(dict(paths, machine="x86_64", libc=bundled)).encode()
            opened.read_small = lambda path, limit: facts
            with mock.patch.object(interpreter, "musl", lambda machine: musl_of_host):
                return opened.facts({"machine": "x86_64", "libc": of_host}, "/srv/site")["libc"]

        older = {"name": "glibc", "version": [2, 17]}
        self.assertEqual(found(glibc, older), older)
        with self.assertRaisesRegex(Failure, "is broken"):
            found("no object", older)
        self.assertEqual(found(glibc, musl, musl), musl)
        self.assertEqual(found(musl, glibc), glibc)
        self.assertEqual(found(musl, glibc, musl), musl)


if __name__ == "__main__":
    unittest.main()

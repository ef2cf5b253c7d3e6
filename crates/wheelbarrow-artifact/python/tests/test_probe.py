"""`--probe`: what this machine is, as a target."""

import json
import sys
import tempfile
import unittest

import support
from case import Case

sys.path.insert(0, support.SOURCES)
import probe  # noqa: E402


class Probe(Case):
    def test_it_says_this_machine(self):
        self.make()
        result = support.run([sys.executable, self.zip, "--probe"])
        self.assertEqual((result.code, result.err), (0, ""))
        self.assertIn("3.%d" % sys.version_info[1], result.out)
        told = json.loads(support.run([sys.executable, self.zip, "--probe", "--json"]).out)
        self.assertEqual(told["target"] + "\n", result.out)
        self.assertEqual(told["python"], "%d.%d.%d" % sys.version_info[:3])

    def test_systems_have_names_only_with_their_own_libc(self):
        def name(identity, version, libc=("glibc", [2, 36]), machine="x86_64"):
            facts = {"machine": machine, "libc": {"name": libc[0], "version": libc[1]}}
            return probe.name_of({"ID": identity, "VERSION_ID": version}, facts)

        self.assertEqual(name("debian", "12"), "debian-12")
        self.assertEqual(name("rocky", "8.10", ("glibc", [2, 28])), "el8")
        self.assertEqual(name("alpine", "3.20.3", ("musl", [1, 2])), "alpine-3.20")
        self.assertEqual(name("amzn", "2023", ("glibc", [2, 34]), "aarch64"), "amazon-2023")
        self.assertIsNone(name("debian", "12", ("glibc", [2, 41])))
        self.assertIsNone(name("debian", "12", machine="riscv64"))
        self.assertIsNone(name("debian", ""))
        self.assertIsNone(name("arch", "12"))

    def test_os_release_is_read(self):
        with tempfile.NamedTemporaryFile("w", suffix="-release") as file:
            file.write('# a comment\nID="rocky"\nVERSION_ID=\'8.10\'\nPRETTY_NAME="Rocky Linux 8.10"\n')
            file.flush()
            release = probe.os_release(("/nowhere", file.name))
        self.assertEqual((release["ID"], release["VERSION_ID"]), ("rocky", "8.10"))
        self.assertEqual(probe.os_release(("/nowhere",)), {})


if __name__ == "__main__":
    unittest.main()

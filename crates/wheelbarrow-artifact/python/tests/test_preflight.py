"""`--check`: every finding, and not a byte written."""

import json
import os
import shutil
import sys
import unittest

from case import DEMO, Case
from make_artifact import make_wheel
from support import run, tree

LIBC = "glibc" if "CS_GNU_LIBC_VERSION" in os.confstr_names and os.confstr("CS_GNU_LIBC_VERSION") else "musl"


class Check(Case):
    def check(self, *arguments):
        before = tree(self.root)
        result = run([sys.executable, self.zip, "-d", self.dest, "--check"] + list(arguments))
        self.assertEqual(tree(self.root), before)
        self.assertNotIn("Traceback", result.err)
        return result

    def findings(self, *arguments):
        result = self.check("--bootstrap", "--json", *arguments)
        told = json.loads(result.out)
        self.assertEqual(told["ok"], result.code == 0)
        self.assertEqual(result.code, told["findings"][0]["exit_code"] if told["findings"] else 0)
        for finding in told["findings"]:
            self.assertEqual(sorted(finding), ["exit_code", "fix", "what", "why"])
            self.assertTrue(finding["fix"], finding)
        return [(finding["exit_code"], finding["what"].replace(self.root, "ROOT")) for finding in told["findings"]]

    def test_ready(self):
        self.make()
        result = self.check("--bootstrap")
        self.assertEqual(result, (0, "ok: mysite 1.0 can be installed in %s (1 wheel)\n" % self.dest, ""))
        self.assertEqual(self.check("--bootstrap", "--quiet"), (0, "", ""))
        self.assertEqual(self.findings(), [])

    def test_the_native_installer_is_never_written(self):
        self.make(native=b"not a program")
        result = self.check()
        self.assertEqual((result.code, result.err.count("\n")), (0, 1), result)
        self.assertTrue(result.err.startswith("note: "), result.err)
        self.assertTrue(result.out.startswith("ok: "), result.out)

    def test_all_at_once(self):
        recipe = self.recipe()
        recipe.manifest["targets"][0]["abi"] = "cp20"
        recipe.write(self.zip)
        os.mkdir(self.dest)
        open(self.dest + "/x", "w").close()
        with open(self.zip, "r+b") as file:
            data = file.read()
            file.seek(data.index(DEMO[1]) + 50)
            file.write(b"????")
        codes = [code for code, _ in self.findings()]
        self.assertEqual(codes, [3, 4, 5])
        result = self.check("--bootstrap")
        self.assertEqual((result.code, result.out.count("\n"), result.err), (3, 3, ""))
        self.assertEqual(result.out.count("; fix: "), 3)

    def test_what_the_machine_lacks(self):
        recipe = self.recipe()
        libraries = ["libc.so.6", "libnobody-has-this.so.7"] if LIBC == "glibc" else ["libnobody-has-this.so.7"]
        recipe.manifest["targets"][0]["needs"] = {"glibc": "2.99", "libraries": libraries}
        wheel = [wheel for wheel in recipe.manifest["wheels"] if wheel["path"].startswith("wheels/")][0]
        wheel["needs"] = {"glibc": "2.99", "libraries": libraries}
        recipe.write(self.zip)
        name = wheel["path"].split("/")[1]
        codes, told = zip(*self.findings())
        self.assertEqual(codes, (4, 4))
        self.assertTrue(told[0].startswith(name + " needs glibc 2.99; this machine has "), told)
        missing = name + " needs libnobody-has-this.so.7, which the loader of this machine does not find"
        self.assertEqual(told[1], missing)
        result = run([sys.executable, self.zip, "-d", self.dest, "--bootstrap"])
        self.assertEqual((result.code, os.path.exists(self.dest)), (4, False), result)
        self.assertIn("needs glibc 2.99", result.err)

    def test_no_parent(self):
        self.make()
        self.dest += "/a/b"
        self.assertEqual(self.findings(), [(5, "the directory of the destination, ROOT/dest/a, does not exist")])

    def test_a_path_that_no_virtualenv_can_have(self):
        self.make()
        self.dest += "\nx"
        result = self.check("--json")
        self.assertEqual((result.code, json.loads(result.out)["ok"]), (5, False), result)

    @unittest.skipUnless(os.getuid() == 0 and shutil.which("mount"), "needs root")
    def test_too_little(self):
        small = os.path.join(self.root, "small")
        os.mkdir(small)
        if run(["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=20", "tmpfs", small]).code:
            self.skipTest("cannot mount a tmpfs")
        self.addCleanup(run, ["umount", "-l", small])
        modules = {"m%d.py" % number: b"" for number in range(20)}
        self.make([make_wheel("big", "1", dict(modules, **{"big.py": b"\0" * (8 << 20)}))])
        self.dest = small + "/dest"
        result = run([sys.executable, self.zip, "-d", self.dest, "--check", "--json", "--bootstrap"])
        told = [finding["what"].split(" in ")[0] for finding in json.loads(result.out)["findings"]]
        self.assertEqual((result.code, told), (6, ["not enough space", "not enough inodes"]))
        result = self.install()
        self.assertEqual((result.code, tree(small)), (6, {}), result)
        self.assertIn("error: not enough space in ", result.err)


if __name__ == "__main__":
    unittest.main()

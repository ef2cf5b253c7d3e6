"""`--check`: every finding, and not a byte written."""

import json
import os
import shutil
import sys
import tempfile
import unittest
from unittest import mock

from case import DEMO, Case
from make_artifact import make_wheel
from support import SOURCES, run, tree

sys.path.insert(0, SOURCES)

import policy  # noqa: E402
import preflight  # noqa: E402

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
            self.assertEqual(sorted(finding), ["exit_code", "hint", "what", "why"])
            self.assertTrue(finding["hint"], finding)
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
        self.assertEqual(result.out.count("; hint: "), 3)

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


class Policy(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.machine = os.fsencode(place.name)

    def write(self, path, text):
        path = os.path.join(self.machine, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text)

    def notes(self, kind):
        with mock.patch.object(policy, "type_of", lambda path: kind):
            found = policy.notes(b"/home/ada", b"/home/ada/sites/site", self.machine)
        self.assertEqual({note.finding()["exit_code"] for note in found} - {0}, set())
        return [preflight.line(note.finding()) for note in found]

    def test_types_that_an_enforcing_policy_refuses(self):
        self.assertEqual(self.notes("user_home_t"), [])
        self.write(b"sys/fs/selinux/enforce", b"0")
        self.assertEqual(self.notes("user_home_t"), [])
        self.write(b"sys/fs/selinux/enforce", b"1")
        self.assertEqual((self.notes("var_t"), self.notes(None)), ([], []))
        self.assertEqual(self.notes("user_home_t"), [SELINUX])

    def test_fapolicyd_that_does_not_know_the_destination(self):
        rules = b"etc/fapolicyd/rules.d/90-deny-execute.rules"
        self.write(rules, b"deny_audit perm=execute all : all\nallow perm=any all : dir=/home/ada/site dir=/\n")
        self.assertEqual(self.notes("usr_t"), [])
        self.write(b"run/fapolicyd.pid", b"1")
        self.assertEqual(self.notes("usr_t"), [FAPOLICYD])
        for rule in (
            b"allow perm=any all : dir=/home/ada/",
            b"allow all : dir=/home/ada/sites/site/,execdirs",
            b"/home/ada/sites/site/x 1 a",
        ):
            self.write(rules, rule)
            self.assertEqual(self.notes("usr_t"), [], rule)

    def test_label(self):
        self.write(b"file", b"")
        path = os.path.join(self.machine, b"file")
        self.assertIsNone(policy.type_of(path))
        try:
            os.setxattr(path, "security.selinux", b"system_u:object_r:bin_t:s0\0")
        except OSError as error:
            self.skipTest("cannot label a file: %s" % error)
        self.assertEqual(policy.type_of(path), "bin_t")


# As `policy.rs` says it.
SELINUX = (
    "SELinux enforces its policy, and files that are made in /home/ada have the type user_home_t: systemd cannot start the"
    " site's Python, and a web server cannot read static files; hint: name a destination below /srv or /opt, or add file"
    " contexts with `semanage fcontext` and run `restorecon -R` after the install"
)
FAPOLICYD = (
    "fapolicyd runs, which refuses programs and libraries that it does not trust, and nothing in it names"
    " /home/ada/sites/site; hint: `echo 'allow perm=any all : dir=/home/ada/sites/site/'"
    " >/etc/fapolicyd/rules.d/35-wheelbarrow.rules && systemctl restart fapolicyd` trusts all files there"
)

if __name__ == "__main__":
    unittest.main()

"""What an artifact prints: names, versions and paths may hold anything, and a terminal obeys control characters."""

import json
import os
import sys
import unicodedata
import unittest

from case import Case
from support import SOURCES, run

sys.path.insert(0, SOURCES)
import printing  # noqa: E402

# Writes to the clipboard, clears the screen, overwrites its line, and turns the direction of what follows.
HOSTILE = "\x1b]52;c;eA==\x07\x9b2J\r\x7f\u202e"
ESCAPED = "\\x1b]52;c;eA==\\x07\\x9b2J\\r\\x7f\\u202e"
# What this locale lets a path have: a virtualenv refuses line breaks.
NAME = "\x1b]52;c;eA==\x07\x7f"
ESCAPED_NAME = "\\x1b]52;c;eA==\\x07\\x7f"


class Terminal(Case):
    def start(self, *arguments, **extra):
        """What is printed with these arguments; nothing in it is obeyed by a terminal."""
        python = extra.pop("python", sys.executable)
        result = run([python, self.zip] + list(arguments), **extra)
        for text in (result.out, result.err):
            obeyed = [one for one in text if unicodedata.category(one) in ("Cc", "Cf") and one != "\n"]
            self.assertEqual(obeyed, [], (arguments, text))
        self.assertNotIn("Traceback", result.err)
        if "--json" in arguments and result.out:
            json.loads(result.out)
        return result

    def test_a_version(self):
        self.make(version="1" + HOSTILE)
        self.assertEqual(self.start("--version").out, "mysite 1%s (tests 0)\n" % ESCAPED)
        self.assertIn("mysite 1%s can be installed" % ESCAPED, self.start("-d", self.dest, "--check").out)
        self.assertIn("installed mysite 1%s in" % ESCAPED, self.start("-d", self.dest, "--bootstrap").out)
        result = self.start("-d", self.dest, "--replace", "--json")
        self.assertEqual(json.loads(result.out)["version"], "1" + HOSTILE)
        quiet = self.start("-d", self.dest, "--replace", "--json", "--quiet", "--bootstrap")
        self.assertEqual((quiet.out, quiet.err), (result.out, ""))

    def test_members(self):
        for name in ("mysite/../" + HOSTILE, "mysite/" + HOSTILE + "/../x", "/" + HOSTILE):
            self.make(members={name: (b"", "file")})
            self.assertIn(ESCAPED[:12], self.start("-d", self.dest, "--check").out)
            found = json.loads(self.start("-d", self.dest, "--check", "--json").out)["findings"]
            self.assertEqual([finding["exit_code"] for finding in found], [3], found)
            result = self.start("-d", self.dest)
            self.assertEqual(result.code, 3)
            self.assertIn(ESCAPED[:12], result.err)

    def test_paths(self):
        self.zip = os.path.join(self.root, "site" + NAME + ".zip")
        self.dest = os.path.join(self.root, "dest" + NAME)
        self.make()
        self.assertIn(ESCAPED_NAME, self.start("-d", self.dest).out)
        for arguments in (["--check"], ["--check", "--json"], []):
            result = self.start("-d", self.dest, *arguments)
            self.assertEqual(result.code, 5, result)
            self.assertTrue("x1b" in result.out + result.err or "u001b" in result.out, result)
        for arguments in (["--help"], [], ["--" + NAME], ["deploy"], ["-d", self.dest, "--replace", "--store", NAME]):
            self.start(*arguments)
        os.mkdir(self.root + "/gone")
        shell = 'cd "$1" && rmdir ../gone && exec "$0" "$2" -d "$3"'
        result = run(["sh", "-c", shell, sys.executable, self.root + "/gone", self.zip, NAME])
        self.assertIn("%s is relative to it" % ESCAPED_NAME, result.err)

    def test_a_python(self):
        self.make()
        python = os.path.join(self.root, "python" + NAME)
        os.symlink(sys.executable, python)
        for arguments in (["--probe"], ["--probe", "--json"], ["-d", self.dest, "--check"], ["-d", self.dest]):
            self.start(*arguments, python=python)

    def test_a_python_that_cannot_be_a_target(self):
        code = "import sys; sys.path.insert(0, %r); import probe; sys.exit(probe.refuse(%r))" % (SOURCES, HOSTILE)
        result = run([sys.executable, "-c", code])
        self.assertEqual(result, (4, "", "error: this Python cannot be a target\nCaused by: %s\n" % ESCAPED))

    def test_text_stays(self):
        self.assertEqual(printing.printable("ü ß 名\n\t\udcff"), "ü ß 名\n\t\udcff")
        self.assertEqual(printing.printable(HOSTILE), ESCAPED)
        value = {"a": HOSTILE + "ü\U000e0001\ud800"}
        text = printing.printable_json(json.dumps(value, ensure_ascii=False))
        self.assertTrue(text.replace("ü", "").isascii() if hasattr(text, "isascii") else True, text)
        self.assertEqual(json.loads(text), value)


if __name__ == "__main__":
    unittest.main()

"""Building a wheel by hooks, and naming its platform."""

import base64
import csv
import hashlib
import io
import json
import os
import sys
import tempfile
import unittest
import zipfile

import support

SOURCE = os.path.join(support.SOURCES, "backend.py")

BACKEND = """
import os, zipfile

def get_requires_for_build_wheel(settings):
    return ["something-else"]

def build_wheel(directory, settings, metadata):
    assert os.path.samefile(os.environ["VIRTUAL_ENV"], __import__("sys").prefix)
    name = "demo-1-cp39-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("demo.py", "x = 1")
        file.writestr("demo-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: cp39-abi3-linux_x86_64\\n")
        file.writestr("demo-1.dist-info/RECORD", "demo.py,,\\ndemo-1.dist-info/WHEEL,sha256=x,1\\ndemo-1.dist-info/RECORD,,\\n")
    return name
"""


class Backend(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = directory.name
        os.makedirs(self.root + "/source/tools")
        with open(self.root + "/source/tools/hooks.py", "w") as file:
            file.write(BACKEND)

    def build(self, settled):
        request = {
            "source": self.root + "/source", "virtualenv": self.root + "/venv", "out": self.root + "/out", "pip": "",
            "wheels": [], "backend": "hooks", "backend_path": ["tools"], "platform": "manylinux_2_31_x86_64",
            "settled": settled, "answer": self.root + "/answer.json",
        }  # fmt: skip
        with open(self.root + "/request.json", "w") as file:
            json.dump(request, file)
        result = support.run([sys.executable, "-I", SOURCE, "build", self.root + "/request.json"])
        self.assertEqual(result.code, 0, result.err)
        with open(self.root + "/answer.json") as file:
            return json.load(file)

    def test_what_the_backend_wants_is_told_before_it_builds(self):
        self.assertEqual(self.build(settled=False), {"requires": ["something-else"]})
        self.assertEqual(os.listdir(self.root + "/out"), [])

    def test_the_wheel_says_where_it_runs(self):
        name = "demo-1-cp39-abi3-manylinux_2_31_x86_64.whl"
        self.assertEqual(self.build(settled=True), {"wheel": name})
        self.assertEqual(os.listdir(self.root + "/out"), [name])
        with zipfile.ZipFile(self.root + "/out/" + name) as wheel:
            text = wheel.read("demo-1.dist-info/WHEEL")
            rows = list(csv.reader(io.StringIO(wheel.read("demo-1.dist-info/RECORD").decode())))
            self.assertEqual(wheel.read("demo.py"), b"x = 1")
        self.assertEqual(text, b"Wheel-Version: 1.0\nTag: cp39-abi3-manylinux_2_31_x86_64\n")
        digest = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
        self.assertEqual(rows[1], ["demo-1.dist-info/WHEEL", "sha256=" + digest, str(len(text))])
        self.assertEqual([row[0] for row in rows], ["demo.py", "demo-1.dist-info/WHEEL", "demo-1.dist-info/RECORD"])

    def test_other_wheels_keep_their_names(self):
        path = self.root + "/demo-1-py3-none-any.whl"
        open(path, "w").close()
        result = support.run([sys.executable, "-I", SOURCE, "tag", path, "manylinux_2_31_x86_64"])
        self.assertEqual((result.code, os.path.exists(path)), (0, True), result.err)


if __name__ == "__main__":
    unittest.main()

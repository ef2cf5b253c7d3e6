"""A page that says of which version the site is; a POST writes a file below media."""

import os
import sys

VERSION = 0
MEDIA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "media")


def application(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        with open(MEDIA + environ["PATH_INFO"], "ab") as file:
            file.write(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start_response("200 OK", [("Content-Type", "text/plain")])
    with open("/proc/self/attr/current") as file:
        context = file.read().strip("\0\n")
    return [f"site {VERSION} as {context} by Python in {sys.base_prefix}\n".encode()]

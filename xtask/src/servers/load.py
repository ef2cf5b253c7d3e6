"""load.py ADDRESS RATE [EACH]: asks for pages, RATE a second, each on a connection of its own, until standard input ends.

ADDRESS is the path of a Unix socket, or HOST:PORT. One of EACH requests uploads a file, which has its number as its name and
as its text. Prints a line when the first request was answered, then JSON: how many requests, what failed, how many uploads were
answered, the slowest answer in milliseconds (from when it was due), and how often each page was seen.
"""

import collections
import concurrent.futures
import json
import re
import socket
import sys
import threading
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
UPLOAD = b"POST /%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"


def ask(address, request=REQUEST):
    if address.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        where = address
    else:
        connection = socket.socket(socket.AF_INET)
        host, port = address.split(":")
        where = host, int(port)
    with connection:
        # As long as nginx waits.
        connection.settimeout(60)
        connection.connect(where)
        connection.sendall(request)
        answer = b""
        while True:
            data = connection.recv(65536)
            if not data:
                break
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0].decode()
    if b" 200 " not in head.split(b"\r\n")[0] + b" ":
        raise ValueError("no good answer: %r" % status)
    if b"transfer-encoding: chunked" in head.lower():
        body = body.split(b"\r\n")[1]
    # Of a page that is more than a line, what it is about.
    page = body.decode()
    main = re.search("<main>(.*)</main>", page, re.DOTALL)
    return " ".join(re.sub("<[^>]*>", " ", main[1]).split()) if main else page


class Load:
    def __init__(self, address):
        self.address = address
        self.lock = threading.Lock()
        self.pages, self.failures = collections.Counter(), collections.Counter()
        self.slowest, self.uploads = 0.0, 0

    def one(self, due, upload=None):
        text = b"%d\n" % upload if upload is not None else b""
        request = UPLOAD % (upload, len(text), text) if text else REQUEST
        try:
            page, failure = ask(self.address, request), None
        except (OSError, ValueError, IndexError) as error:
            page, failure = None, "%s: %s" % (type(error).__name__, error)
        took = time.monotonic() - due
        with self.lock:
            self.slowest = max(self.slowest, took)
            if failure is None:
                self.pages[page] += 1
                self.uploads += bool(text)
            else:
                self.failures[failure] += 1


def main(address, rate, each="0"):
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    load, step = Load(address), 1 / float(rate)
    load.one(time.monotonic())
    print("begun", flush=True)
    begun, number, each = time.monotonic(), 0, int(each)
    due = begun
    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        while not ended.is_set():
            number += 1
            pool.submit(load.one, due, number if each and number % each == 0 else None)
            due += step
            time.sleep(max(0, due - time.monotonic()))
    seconds = time.monotonic() - begun
    print(json.dumps({
        "requests": sum(load.pages.values()) + sum(load.failures.values()), "seconds": round(seconds, 1),
        "failures": load.failures, "uploads": load.uploads, "slowest": round(load.slowest * 1000), "pages": load.pages,
    }))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])

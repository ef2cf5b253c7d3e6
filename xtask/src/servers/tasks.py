"""tasks.py RATE: sends tasks to the queue of the site, RATE a second, until a line comes on standard input.

Most are short, and every twentieth takes seconds. Prints a line when it begins, then how many it has sent. Runs in the
virtualenv of the site, in the directory of its code.
"""

import sys
import threading
import time

sys.path.insert(0, "")

from mysite.tasks import work  # noqa: E402


def main(rate):
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    print("begun", flush=True)
    sent, due = 0, time.monotonic()
    while not ended.is_set():
        work.delay(sent, 8 if sent % 100 == 99 else 2 if sent % 20 == 19 else 0.05)
        sent += 1
        due += 1 / float(rate)
        time.sleep(max(0, due - time.monotonic()))
    print(sent, flush=True)


main(*sys.argv[1:])

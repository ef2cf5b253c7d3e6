"""tasks.py RATE: sends tasks to the queue of the site, RATE a second, until a line comes on standard input.

Most are short, every twentieth takes seconds, and now and then one takes half a minute. Prints a line when it begins, then how
many it has sent. Runs in the virtualenv of the site, in the directory of its code.
"""

import sys
import threading
import time

sys.path.insert(0, "")

from mysite.tasks import work  # noqa: E402


def seconds(number):
    if number % 600 == 599:
        return 30
    return 8 if number % 100 == 99 else 2 if number % 20 == 19 else 0.1


def main(rate):
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    print("begun", flush=True)
    sent, due = 0, time.monotonic()
    while not ended.is_set():
        work.delay(sent, seconds(sent))
        sent += 1
        due += 1 / float(rate)
        time.sleep(max(0, due - time.monotonic()))
    print(sent, flush=True)


main(*sys.argv[1:])

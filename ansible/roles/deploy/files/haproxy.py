"""haproxy.py SOCKET BACKEND SERVER drain|ready SECONDS: takes a server out of haproxy, or back, by its runtime API.

`drain` waits until no session is left, for SECONDS; sessions that go on after that are told, and are no failure. `ready` waits
until haproxy finds the server well, and fails where it does not within SECONDS. A server that somebody has put into maintenance
is left there. Prints `changed` where the server was in another state. Runs on Python 3.6 and later.
"""

import csv
import io
import socket
import sys
import time

MAINTENANCE, DRAIN = 0x01, 0x08


def ask(path, command):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        answer = b""
        while True:
            data = connection.recv(65536)
            if not data:
                return answer.decode()
            answer += data


def look(path, backend, server):
    """The row of the server in `show stat`."""
    rows = csv.DictReader(io.StringIO(ask(path, "show stat").lstrip("# ")))
    for row in rows:
        if (row["pxname"], row["svname"]) == (backend, server):
            return row
    sys.exit("haproxy has no server %s in a backend %s" % (server, backend))


def asked_state(path, backend, server):
    """What somebody has asked for, be it well or not: bits of `srv_admin_state` in haproxy's management guide."""
    lines = ask(path, "show servers state %s" % backend).splitlines()
    names = next(line for line in lines if line.startswith("# ")).split()[1:]
    rows = [dict(zip(names, line.split())) for line in lines if not line.startswith("#")]
    states = [int(row["srv_admin_state"]) for row in rows if row.get("srv_name") == server]
    return states[0] if states else 0


def is_settled(row, state):
    if state == "drain":
        return int(row["scur"] or 0) == 0
    return row["status"] in ("UP", "no check")


def main():
    path, backend, server, state, seconds = sys.argv[1:]
    look(path, backend, server)
    asked = asked_state(path, backend, server)
    if asked & MAINTENANCE:
        print("%s is in maintenance, and is left there" % server)
        return
    is_changed = bool(asked & DRAIN) != (state == "drain")
    if is_changed:
        said = ask(path, "set server %s/%s state %s" % (backend, server, state)).strip()
        if said:
            sys.exit("haproxy: %s" % said)
    deadline = time.monotonic() + float(seconds)
    while not is_settled(look(path, backend, server), state):
        if time.monotonic() > deadline:
            row = look(path, backend, server)
            if state == "ready":
                sys.exit("%s is %s after %s s (%s)" % (server, row["status"], seconds, row.get("last_chk") or "no check"))
            print("%s sessions of %s go on after %s s" % (row["scur"], server, seconds))
            break
        time.sleep(0.1)
    if is_changed:
        print("changed")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit("%s: %s" % (sys.argv[1], error.strerror or error))

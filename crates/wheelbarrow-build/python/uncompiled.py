"""Prints why modules do not compile, a line for each. It reads them from standard input, as compile.py does."""

import struct
import sys
import warnings

warnings.simplefilter("ignore")


def take():
    length = sys.stdin.buffer.read(4)
    return sys.stdin.buffer.read(struct.unpack("<I", length)[0]) if length else None


def reason(name, source):
    try:
        compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        return "line {}: {}".format(error.lineno, error.msg) if error.lineno else str(error.msg)
    except Exception as error:
        return str(error)
    return "no code"


while True:
    name = take()
    if name is None:
        break
    print(" ".join(reason(name, take()).split()).encode("ascii", "backslashreplace").decode("ascii"))

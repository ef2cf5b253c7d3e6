# Compiles modules for the builder. Reads them from standard input and writes their code objects, marshalled, to standard
# output; both are sequences of: length of a name (4 bytes, little-endian), the name, length of the content, the content.
# A module that does not compile is left out, as with pip: templates and Python 2 code lie about in wheels.
#
# The same modules must give the same bytes everywhere. The caller sets PYTHONHASHSEED and starts a fresh process for
# every set of modules, since marshal writes down which objects are shared, and that depends on what ran before.
import sys

sys.path[:] = [path for path in sys.path if path]

import marshal  # noqa: E402
import struct  # noqa: E402
import warnings  # noqa: E402


def modules(stream):
    position = 0
    while position < len(stream):
        parts = []
        for _ in range(2):
            (length,) = struct.unpack_from("<I", stream, position)
            position += 4
            parts.append(stream[position : position + length])
            position += length
        yield parts


def main():
    # What old code is warned of is nobody's business here.
    warnings.simplefilter("ignore")
    output = sys.stdout.buffer
    for name, source in modules(sys.stdin.buffer.read()):
        try:
            code = compile(source, name.decode("utf-8"), "exec", dont_inherit=True, optimize=0)
            compiled = marshal.dumps(code)
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
            continue
        for part in (name, compiled):
            output.write(struct.pack("<I", len(part)))
            output.write(part)


main()

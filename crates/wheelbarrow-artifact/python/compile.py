# Compiles modules for the builder and for both ways to install. It reads them from standard input, one after the other:
# length of a name (4 bytes, little-endian), the name, length of the source, the source. Each is answered on standard
# output before the next is read: length of the code, the code object, marshalled. The name is what tracebacks show. A
# module that does not compile has an empty answer, as pip passes it over: templates and Python 2 code lie about in wheels.
#
# The same modules in the same order must give the same bytes everywhere. Marshal writes down which objects are shared,
# and which strings are interned, and both depend on what the process has done before: so the caller starts a fresh one for
# every set of modules, with PYTHONHASHSEED and PYTHONUTF8. `steady` does what is left to do.
import sys

sys.path[:] = [path for path in sys.path if path]

import marshal  # noqa: E402
import signal  # noqa: E402
import struct  # noqa: E402
import warnings  # noqa: E402

Code = type(compile("", "", "exec"))

# Before Python 3.11 a set is marshalled in its own order, which comes from the hashes, and those of None and Ellipsis are
# addresses. These numbers stand for the two while the order is found.
STAND_INS = {type(None): b"for None", type(...): b"for dots"}
CODES = {type(None): b"N", type(...): b"."}


def main():
    # What old code is warned of is nobody's business here. Ctrl-C reaches this process too, but its parent ends it.
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        name = take(questions)
        if name is None:
            break
        code = compiled(name, take(questions))
        answers.write(struct.pack("<I", len(code)))
        answers.write(code)
        answers.flush()


def take(stream):
    length = stream.read(4)
    return stream.read(struct.unpack("<I", length)[0]) if length else None


def compiled(name, source):
    try:
        return steady(compile(source, name, "exec", dont_inherit=True, optimize=0))
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return b""


def steady(code):
    """Marshals the code, whatever addresses things have, and whichever names the interpreter has begun with."""
    if sys.version_info >= (3, 11):
        return marshal.dumps(code)  # which sorts sets, and marks every name as shared, by itself
    code = in_order(code)
    held = names(code)  # noqa: F841
    data = marshal.dumps(code)
    if any(number in data for number in STAND_INS.values()):
        data = marshal.dumps(code, 2)  # without numbers for what may come again: None and Ellipsis have none
        for kind, number in STAND_INS.items():
            data = data.replace(b"g" + number, CODES[kind])
    return data


def names(value):
    """References to every string of the code.

    What has a single reference is marshalled without the mark that it may come again; and an interned string has one or
    more depending on whether another module has it too."""
    if isinstance(value, Code):
        found = [value.co_name, value.co_filename]
        for part in (value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars):
            found += part
        return found + names(value.co_consts)
    if isinstance(value, (tuple, frozenset)):
        return [name for item in value for name in names(item)]
    return [value] if isinstance(value, str) else []


def in_order(value, inside_set=False):
    """The same, with every set made anew from its sorted items."""
    if isinstance(value, Code):
        constants = tuple(in_order(item) for item in value.co_consts)
        if all(new is old for new, old in zip(constants, value.co_consts)):
            return value
        return with_constants(value, constants)
    if isinstance(value, frozenset):
        items = [in_order(item, True) for item in value]
        return frozenset(sorted(items, key=lambda item: (type(item).__name__, repr(item))))
    if isinstance(value, tuple):
        items = tuple(in_order(item, inside_set) for item in value)
        return value if all(new is old for new, old in zip(items, value)) else items
    if inside_set and type(value) in STAND_INS:
        return struct.unpack("<d", STAND_INS[type(value)])[0]
    return value


def with_constants(code, constants):
    if sys.version_info >= (3, 8):
        return code.replace(co_consts=constants)
    return Code(
        code.co_argcount, code.co_kwonlyargcount, code.co_nlocals, code.co_stacksize, code.co_flags, code.co_code,
        constants, code.co_names, code.co_varnames, code.co_filename, code.co_name, code.co_firstlineno,
        code.co_lnotab, code.co_freevars, code.co_cellvars,
    )  # fmt: skip


if __name__ == "__main__":
    main()

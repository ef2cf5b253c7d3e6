"""Lines on a terminal. Names, versions and paths may hold anything, and a terminal obeys control characters."""

import json


def printable(text):
    """The text with control characters as escapes. Bytes of file names that are no text (surrogates) stay."""
    return "".join(one if _is_text(one) else one.encode("unicode_escape").decode() for one in text)


def printable_json(text):
    """The same for one line of JSON, in whose strings such characters may only be: as its own escapes."""
    return "".join(one if _is_text(one) else "\\u007f" if one == "\x7f" else json.dumps(one)[1:-1] for one in text)


def _is_text(one):
    return one.isprintable() or one in "\n\t" or "\udc80" <= one <= "\udcff"


def say(stream, line):
    _write(stream, printable(line))


def say_json(stream, value):
    _write(stream, printable_json(json.dumps(value, sort_keys=True, ensure_ascii=False)))


def _write(stream, line):
    """Writes one line in UTF-8, whatever the locale is. Errors of a closed or full output are ignored."""
    try:
        stream.flush()
        stream.buffer.write(line.encode("utf-8", "surrogateescape") + b"\n")
        stream.flush()
    except (AttributeError, OSError, ValueError):
        pass

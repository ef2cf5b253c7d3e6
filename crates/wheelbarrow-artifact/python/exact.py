"""The one form that an artifact has, byte for byte: docs/reference/format.md, "The file".

Readers of zips differ in what they make of comments, zip64 records, bytes in front, between and behind, and of headers that
disagree. Here all of that is refused, so that what is read here is what every other reader reads.

The collection wheelbarrow.deploy has a copy of this file; a test compares the two.
"""

import json
import re
import struct
import zlib

MANIFEST = ".wheelbarrow/manifest.json"
SIGNATURE = MANIFEST + ".sig"
THIN = ".wheelbarrow/thin.json"
# Holds the first line, so that the manifest covers it; artifacts of before 0.2 have none.
SHEBANG = ".wheelbarrow/shebang"
# The standalone binary for a machine.
PROGRAM = ".wheelbarrow/native/linux-"
# Bytes. No kernel reads more of a first line than 256 of them; a script for a host without Python has more lines.
LONGEST_HEAD = 4096
CHUNK = 1 << 20
# Bytes of a file without the records of zip64.
LARGEST = 0xFFFFFFFF
# The best that deflate does is a little over 1032 to 1.
MOST_INFLATION = 1033
# No site has as many files and directories.
MOST_PLACES = 500000
# Bytes of what names the members that are left out.
_LARGEST_THIN = 32 << 20
KINDS = {0o100644: "file", 0o100755: "executable", 0o120777: "link"}
STORED, DEFLATED = 0, 8

# C0, DEL and C1, and what ends or turns a line (Unicode, UAX #9, section 2).
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
# Section 4.3.7, 4.3.12 and 4.3.16 of APPNOTE 6.3.
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION, _MADE_BY, _UTF8, _ZIP64 = 20, 3 << 8 | 20, 1 << 11, 0xFFFFFFFF


class NotExact(ValueError):
    """Another form than artifacts have."""


class Newer(NotExact):
    """A form that a newer program may know."""


class Member(object):
    """What the zip says of a member. `start` is where its bytes begin, `packed` how many they are."""

    def __init__(self, name, kind, method, crc32, packed, size, start):
        self.name, self.kind, self.method, self.crc32 = name, kind, method, crc32
        self.packed, self.size, self.start = packed, size, start


class Place(object):
    """What there is of one path: `below` has the names in a directory, and is None for all else."""

    __slots__ = ("above", "below")

    def __init__(self, above):
        self.above, self.below = above, {}


class Tree(object):
    """The tree that an install makes of members. `links` has the places of links, by their paths."""

    def __init__(self):
        self.top, self.links, self.count = Place(None), {}, 0

    def add(self, path, kind):
        place, parts = self.top, path.split("/")
        for length, part in enumerate(parts, 1):
            above, place = place, place.below.get(part)
            is_new = place is None
            if is_new:
                self.count += 1
                if self.count > MOST_PLACES:
                    raise NotExact("it has more than %d files and directories" % MOST_PLACES)
                place = above.below[part] = Place(above)
            if place.below is None or (length == len(parts) and not is_new):
                raise NotExact("%s is both a directory and a file or link" % "/".join(parts[:length]))
        place.below = None
        if kind == "link":
            self.links[path] = place


def tree_of(members):
    tree = Tree()
    for member in members.values():
        tree.add(member.name, member.kind)
    return tree


def read(file):
    """The first lines of an artifact, without the last end, and its members by their names, in their order."""
    count, directory, offset = _directory(file)
    line = _head(file, directory)
    members, at, position = {}, 0, len(line)
    while at < len(directory) and position < offset:
        member, at, position = _member(file, directory, at, position)
        if member.name in members:
            raise NotExact("it has two members %a" % member.name)
        members[member.name] = member
    if len(members) != count or at != len(directory) or position != offset:
        raise NotExact("its directory does not begin where its last member ends")
    last = list(members)[-2:]
    if MANIFEST not in members:
        raise NotExact("it has no manifest")
    if last[-1:] != [MANIFEST] and last != [MANIFEST, SIGNATURE]:
        raise NotExact("its manifest is not the last member")
    # The manifest names the kinds of all others.
    for name in (MANIFEST, SIGNATURE, THIN):
        if name in members and members[name].kind != "file":
            raise NotExact("%s does not have the mode of a regular file" % name)
    if SHEBANG in members and not _is_line(file, members[SHEBANG], line):
        raise NotExact("its first line is not the one that it was built with")
    if b"\n" in line[:-1] and not (SHEBANG in members and _runs_programs(line, members)):
        raise NotExact("its first lines do not run its standalone binaries")
    tree_of(members)
    if THIN in members:
        _check_thin(file, members)
    return line[:-1], members


def _check_thin(file, members):
    if members[THIN].size > _LARGEST_THIN:
        raise NotExact("%s is too large" % THIN)
    try:
        thin = json.loads(b"".join(contents(file, members[THIN])).decode("utf-8"), object_pairs_hook=unambiguous)
        left_out = thin["left_out"]
        is_known = set(thin) == {"format", "left_out"} and isinstance(left_out, list) and left_out != []
        # Of two halves of a surrogate pair one alone is not text.
        is_known = is_known and all(path.encode("utf-8") and path not in members for path in left_out)
        number = thin["format"]
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise NotExact("its %s cannot be read: %s" % (THIN, error))
    # True is 1, and no number.
    is_number = isinstance(number, int) and not isinstance(number, bool)
    if is_number and number > 1:
        raise Newer("its %s has the format %d" % (THIN, number))
    if not is_number or number != 1 or not is_known:
        raise NotExact("its %s is not one of format 1" % THIN)


def unambiguous(pairs):
    """An object of JSON. Readers differ in which of two values counts."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _is_line(file, member, line):
    return member.size == len(line) - 1 and b"".join(contents(file, member)) == line[:-1]


def _runs_programs(line, members):
    """Whether the script in front runs the standalone binaries: first of all members, in order, stored, and where it has them."""
    names = sorted(name for name in members if name.startswith(PROGRAM))
    programs = [members[name] for name in names]
    cases = ["%s) at=%-9d size=%d ;;\n" % (found.name[len(PROGRAM) :], found.start + 1, found.size) for found in programs]
    are_first = bool(names) and names == list(members)[: len(names)] and all(found.method == STORED for found in programs)
    return are_first and ("\ncase $machine in\n%s*) " % "".join(cases)).encode("utf-8") in line


def _head(file, directory):
    """What stands in front of the first member: one line, or a script for a host without Python."""
    length = struct.unpack_from("<I", directory, 42)[0] if len(directory) >= _CENTRAL.size else 0
    file.seek(0)
    head = file.read(length) if length <= LONGEST_HEAD else b""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError:
        head = b""
    if not head.startswith(b"#!") or not head.endswith(b"\n") or b"\0" in head:
        raise NotExact("it does not begin with a line like #!/usr/bin/env python3")
    return head


def _directory(file):
    """How many members there are, what the directory says of them, and where it begins."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size))
    end = file.read(_END.size)
    count = length = offset = -1
    if len(end) == _END.size:
        count, length, offset = _END.unpack(end)[4:7]
    whole = offset + length + _END.size == size and count < 0xFFFF and max(offset, length) < _ZIP64
    if not whole or end != _END.pack(b"PK\5\6", 0, 0, count, count, length, offset, 0):
        raise NotExact("it does not end as an artifact does: truncated, or something was appended")
    file.seek(offset)
    return count, file.read(length), offset


def _member(file, directory, at, position):
    """The member that the directory has at `at`; where the next is there, and where the next is in the file."""
    fixed = directory[at : at + _CENTRAL.size]
    if len(fixed) < _CENTRAL.size:
        raise NotExact("its directory is cut off")
    values = _CENTRAL.unpack(fixed)
    method, time, date, crc32, packed, size, length = values[4:11]
    raw = directory[at + _CENTRAL.size : at + _CENTRAL.size + length]
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise NotExact("a member has the name %a" % raw)
    if not is_safe(name) or has_control(name):
        raise NotExact("a member has the name %a" % name)
    if values[3] & 1:
        raise NotExact("%s is encrypted" % name)
    if method not in (STORED, DEFLATED):
        raise NotExact("%s has the unknown compression method %d" % (name, method))
    both = (_VERSION, 0 if len(name) == len(raw) else _UTF8, method, time, date, crc32, packed, size, length, 0)
    mode = values[15] >> 16
    central = _CENTRAL.pack(b"PK\1\2", _MADE_BY, *(both + (0, 0, 0, mode << 16, position)))
    if fixed != central or len(raw) != length or mode not in KINDS or _ZIP64 in (packed, size):
        raise NotExact("the directory does not say of %s what it says in an artifact" % name)
    if not (size == packed if method == STORED else size // MOST_INFLATION <= packed):
        raise NotExact("%s cannot have the size that is said of it" % name)
    local = _LOCAL.pack(b"PK\3\4", *both) + raw
    file.seek(position)
    if file.read(len(local)) != local:
        raise NotExact("%s does not begin where the member before it ends, or not as the directory says" % name)
    start = position + len(local)
    return Member(name, KINDS[mode], method, crc32, packed, size, start), at + _CENTRAL.size + length, start + packed


def is_safe(path):
    """Relative, and no part of it leads elsewhere."""
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def has_control(name):
    """Whether it has characters that a terminal obeys, and that some programs drop."""
    return _CONTROL.search(name) is not None


def contents(file, member):
    """The bytes of a member in pieces: as many as are said, with the CRC-32 that is said."""
    inflate = zlib.decompressobj(-15) if member.method == DEFLATED else None
    position, end, crc32, size, pending = member.start, member.start + member.packed, 0, 0, b""
    while size <= member.size:
        if not pending and position < end:
            file.seek(position)
            pending = file.read(min(CHUNK, end - position))
            if not pending:
                break
            position += len(pending)
        if inflate is None:
            chunk, pending = pending, b""
        else:
            try:
                chunk = inflate.decompress(pending, CHUNK)
            except zlib.error as error:
                raise NotExact("%s: %s" % (member.name, error))
            pending = inflate.unconsumed_tail
        if chunk:
            crc32, size = zlib.crc32(chunk, crc32), size + len(chunk)
            yield chunk
        elif position == end or inflate.eof:
            break
    ended = inflate is None or (inflate.eof and not inflate.unused_data)
    if size != member.size or position != end or pending or not ended:
        raise NotExact("%s has not the size that is said of it" % member.name)
    if crc32 & 0xFFFFFFFF != member.crc32:
        raise NotExact("%s has another CRC-32 than is said of it" % member.name)

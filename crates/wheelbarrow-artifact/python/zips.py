"""The zips that wheels are: docs/reference/format.md, "Wheels". `zip/directory.rs` of wheelbarrow-artifact has the same rules.

What two readers could understand differently is refused. What ordinary tools write is read: zip64, data descriptors, extra
fields, a comment, bytes in front. Section numbers are those of APPNOTE 6.3. Contents are read by `exact.contents`.
"""

import stat
import struct

import exact

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s4B4H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_ZIP64_END = struct.Struct("<4sQ2H2I4Q")
_ZIP64_LOCATOR = struct.Struct("<4sIQI")
_NO_VALUE = 0xFFFFFFFF
# Encryption, patches, strong encryption, masked headers (4.4.4).
_REFUSED, _DESCRIPTOR, _UTF8 = 1 | 1 << 5 | 1 << 6 | 1 << 13, 1 << 3, 1 << 11
# "Made by" of systems that have Unix modes.
_UNIX = (3, 19)


class NotZip(ValueError):
    """Not a whole zip, or none that all understand the same."""


class Member(exact.Member):
    """`kind` is the Unix mode, 0 where the zip has none."""

    @property
    def is_directory(self):
        return self.name.endswith("/")

    @property
    def is_plain(self):
        """What the mode says is what the name says: no link or device, and no directory without `/` or with contents."""
        kind = stat.S_IFMT(self.kind)
        if self.is_directory:
            return self.size == 0 and kind in (0, stat.S_IFREG, stat.S_IFDIR)
        return kind in (0, stat.S_IFREG)

    @property
    def is_executable(self):
        return stat.S_ISREG(self.kind) and bool(self.kind & 0o111)


def read(file):
    """The members of a zip, in the order of its directory."""
    size = file.seek(0, 2)
    count, length, offset, behind = _end(file, size)
    shift = behind - offset - length
    if shift < 0:
        raise NotZip("its directory reaches outside the file")
    file.seek(offset + shift)
    directory, at, members, spans = file.read(length), 0, [], []
    while at < len(directory):
        member, header, at = _member(file, directory, at, shift)
        if member.start + member.packed > offset + shift:
            raise NotZip("%s reaches outside the file" % member.name)
        members.append(member)
        spans.append((header, member.start + member.packed, member.name))
    if len(members) != count:
        raise NotZip("it names %d members and has %d" % (count, len(members)))
    if len({member.name for member in members}) != count:
        raise NotZip("it has two members of one name")
    spans.sort()
    for (_, end, name), (start, _, _) in zip(spans, spans[1:]):
        if start < end:
            raise NotZip("%s overlaps what follows it" % name)
    return members


def _end(file, size):
    """The count of the members, the directory's length and its offset, and where what follows it begins: 4.3.16."""
    begin = max(0, size - _END.size - 0xFFFF)
    file.seek(begin)
    tail = file.read(_END.size + 0xFFFF)

    def is_whole(at):
        return at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[7] == len(tail)

    last = tail.rfind(b"PK\5\6")
    if last < 0 or not is_whole(last):
        raise NotZip("it has no end of central directory: not a zip file, or cut off")
    at = tail.find(b"PK\5\6")
    while at < last:
        # Readers differ in which of them they take.
        if is_whole(at):
            raise NotZip("it has several ends of central directory")
        at = tail.find(b"PK\5\6", at + 1)
    _, disk, first, here, count, length, offset, _ = _END.unpack_from(tail, last)
    if disk or first or here != count:
        raise NotZip("it is a part of a zip on several disks")
    zip64 = _zip64_end(file, begin + last)
    if zip64 is None:
        return count, length, offset, begin + last
    for old, new, none in zip((count, length, offset), zip64, (0xFFFF, _NO_VALUE, _NO_VALUE)):
        if old not in (new, none):
            raise NotZip("its two ends of central directory disagree")
    return zip64


def _zip64_end(file, end):
    """4.3.14 and 4.3.15: right in front of each other, as everybody writes them."""
    at = end - _ZIP64_LOCATOR.size
    if at < 0:
        return None
    file.seek(at)
    signature, disk, place, disks = _ZIP64_LOCATOR.unpack(file.read(_ZIP64_LOCATOR.size))
    if signature != b"PK\6\7":
        return None
    at -= _ZIP64_END.size
    if at < 0:
        raise NotZip("its zip64 end is not at its locator")
    file.seek(at)
    signature, size, _, _, own, first, here, count, length, offset = _ZIP64_END.unpack(file.read(_ZIP64_END.size))
    if signature != b"PK\6\6" or size != _ZIP64_END.size - 12 or place != offset + length:
        raise NotZip("its zip64 end is not at its locator")
    if own or first or here != count or disk or disks > 1:
        raise NotZip("it is a part of a zip on several disks")
    return count, length, offset, at


def _member(file, directory, at, shift):
    """A member of the directory (4.3.12), where its header is, and where the next of the directory is."""
    if len(directory) - at < _CENTRAL.size or directory[at : at + 4] != b"PK\1\2":
        raise NotZip("its directory holds something else than members")
    values = _CENTRAL.unpack_from(directory, at)
    made_by, flags, method, crc32, packed, size = values[2], values[5], values[6], values[9], values[10], values[11]
    lengths, external, header = values[12:15], values[17], values[18]
    at += _CENTRAL.size
    raw, extra = directory[at : at + lengths[0]], directory[at + lengths[0] : at + lengths[0] + lengths[1]]
    if at + sum(lengths) > len(directory):
        raise NotZip("its directory is cut off")
    name = _decoded(raw, flags)
    size, packed, header = _zip64_values(extra, [size, packed, header])
    if flags & _REFUSED:
        raise NotZip("%s is encrypted, or a patch" % name)
    if method not in (exact.STORED, exact.DEFLATED):
        raise NotZip("%s has the unknown compression method %d" % (name, method))
    header += shift
    file.seek(header)
    local = file.read(_LOCAL.size)
    if len(local) < _LOCAL.size or local[:4] != b"PK\3\4":
        raise NotZip("%s is not where the directory says" % name)
    _, _, local_flags, local_method, _, _, local_crc32, local_packed, local_size, length, more = _LOCAL.unpack(local)
    later = local_flags & _DESCRIPTOR

    def differs(value, expected, unknown=_NO_VALUE):
        return value not in (expected, unknown) and not (later and value == 0)

    if (local_method, local_flags & _REFUSED, file.read(length)) != (method, 0, raw):
        raise NotZip("the local header of %s is not that of the directory" % name)
    if (local_flags ^ flags) & _UTF8 and any(byte > 0x7F for byte in raw):
        raise NotZip("the local header of %s has the name in another encoding" % name)
    if differs(local_packed, packed) or differs(local_size, size) or differs(local_crc32, crc32, crc32):
        raise NotZip("the local header of %s has another size or CRC-32 than the directory" % name)
    if not (size == packed if method == exact.STORED else size // exact.MOST_INFLATION <= packed):
        raise NotZip("%s claims more bytes than it can hold" % name)
    mode = external >> 16 if made_by in _UNIX else 0
    start = header + _LOCAL.size + length + more
    return Member(name, mode, method, crc32, packed, size, start), header, at + sum(lengths)


def _decoded(raw, flags):
    """Appendix D: UTF-8 where the flag says so, else code page 437."""
    if b"\0" in raw:
        raise NotZip("a member has the name %a" % raw)
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise NotZip("a member has the name %a" % raw) from None


def _zip64_values(extra, values):
    """4.5.3: only the values that do not fit stand in the extra field, in this order."""
    wanted = [index for index, value in enumerate(values) if value == _NO_VALUE]
    while len(extra) >= 4 and wanted:
        kind, length = struct.unpack_from("<2H", extra)
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if len(body) < length:
            raise NotZip("an extra field reaches outside the file")
        if kind == 1:
            for index, place in zip(wanted, range(0, len(body) - 7, 8)):
                values[index] = struct.unpack_from("<Q", body, place)[0]
            wanted = []
    return values

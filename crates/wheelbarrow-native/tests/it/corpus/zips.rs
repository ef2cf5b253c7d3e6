//! Wheels whose zip is damaged, hostile, or as some tools write it.

use super::{Case, WHEEL};
use crate::site::wheel_members;
use crate::zips::{Member, directory_of, zip, zip_behind, zip_with};

/// Bit 3 of the flags: what the local header does not say stands behind the data.
const DESCRIPTOR: u16 = 1 << 3;

pub(super) fn cases() -> Vec<Case> {
    [members(), headers(), ends(), zip64(), changed()].into_iter().flatten().collect()
}

fn file() -> Member {
    Member::new("pack.py", "a = 1\n")
}

fn wheel(files: &[Member]) -> Vec<u8> {
    zip(&wheel_members("pack", files))
}

/// Fields of a member, in both headers or in the directory alone.
fn members() -> Vec<Case> {
    let stored = Member { method: 0, ..file() };
    let inner = Member::new("inner.py", "a = 1\n");
    let outer = Member { method: 0, ..Member::new("outer.py", inner.local()) };
    let start = u32::try_from(30 + outer.name.len()).unwrap();
    let cp437 = Member { name: "ünï.py".to_owned(), raw_name: Some(b"\x81n\x8b.py".to_vec()), ..file() };
    let raw = |raw: &[u8], flags| Member { raw_name: Some(raw.to_vec()), flags, ..file() };
    let cases: Vec<(&str, Vec<Member>, bool)> = vec![
        ("a stored member", vec![stored.clone()], true),
        ("an encrypted member", vec![Member { flags: 1, ..file() }], false),
        ("a strongly encrypted member", vec![Member { flags: 1 << 6 | 1, ..file() }], false),
        ("a member with the flag of strong encryption", vec![Member { flags: 1 << 6, ..file() }], false),
        ("a member that is a patch", vec![Member { flags: 1 << 5, ..file() }], false),
        ("a member with masked headers", vec![Member { flags: 1 << 13, ..file() }], false),
        ("a member with flags of deflate", vec![Member { flags: 6, ..file() }], true),
        ("an unknown method", vec![Member { method: 93, ..file() }], false),
        ("bzip2", vec![Member { method: 12, ..file() }], false),
        ("a wrong CRC-32", vec![Member { crc32: Some(1), ..file() }], false),
        ("a size of 4 GB", vec![Member { size: Some(4_000_000_000), ..file() }], false),
        ("a size that is too small", vec![Member { size: Some(3), ..file() }], false),
        ("a stored size that is too small", vec![Member { size: Some(3), ..stored.clone() }], false),
        ("a member twice", vec![file(), file()], false),
        (
            "a member in the place of another",
            vec![file(), Member { place: Some(0), ..Member::new("b.py", "") }],
            false,
        ),
        ("a member in another", vec![outer, Member { place: Some(start), ..inner }], false),
        ("a name in code page 437", vec![cp437], true),
        ("a name in UTF-8 without the flag", vec![raw("é.py".as_bytes(), 0)], true),
        ("a name that is not UTF-8", vec![raw(b"\xff.py", 1 << 11)], false),
        ("a name with a surrogate", vec![raw(b"\xed\xa0\x80.py", 1 << 11)], false),
        ("an empty name", vec![raw(b"", 0)], false),
        ("a name with the flag of UTF-8", vec![raw(b"pack.py", 1 << 11)], true),
    ];
    // RECORD has the name of the member, or none.
    cases.into_iter().map(|(name, files, taken)| Case::files(name, &files, taken)).collect()
}

/// The local header says something else than the directory.
fn headers() -> Vec<Case> {
    let cases: Vec<(&str, Member, bool)> = vec![
        ("another local name", Member { local_name: Some("pick.py".to_owned()), ..file() }, false),
        ("a longer local name", Member { local_name: Some("pack.py2".to_owned()), ..file() }, false),
        ("other local flags of deflate", Member { local_flags: Some(6), ..file() }, true),
        ("local encryption", Member { local_flags: Some(1), ..file() }, false),
        ("local masked headers", Member { local_flags: Some(1 << 13), ..file() }, false),
        ("local flag of UTF-8", Member { local_flags: Some(1 << 11), ..file() }, true),
        (
            "a local name in another encoding",
            Member { local_flags: Some(0), ..Member::new("é.py", "a = 1\n").utf8() },
            false,
        ),
        ("another local CRC-32", Member { local_crc32: Some(7), ..file() }, false),
        ("no local CRC-32", Member { local_crc32: Some(0), ..file() }, false),
        ("other local sizes", Member { local_sizes: Some([8, 7]), ..file() }, false),
        ("no local sizes", Member { local_sizes: Some([0, 0]), ..file() }, false),
        ("local sizes of zip64", Member { local_sizes: Some([u32::MAX, u32::MAX]), ..file() }, true),
        ("a data descriptor", descriptor(file(), [0, 0], 0), true),
        ("a data descriptor and local sizes", descriptor(file(), [8, 6], 0), true),
        ("a data descriptor and other local sizes", descriptor(file(), [8, 7], 0), false),
        ("a data descriptor and another local CRC-32", descriptor(file(), [0, 0], 5), false),
        (
            "a data descriptor in the local header only",
            Member {
                local_flags: Some(DESCRIPTOR),
                local_sizes: Some([0, 0]),
                local_crc32: Some(0),
                ..file()
            },
            true,
        ),
        (
            "a data descriptor in the directory only",
            Member { flags: DESCRIPTOR, local_flags: Some(0), local_sizes: Some([0, 0]), ..file() },
            false,
        ),
        ("bytes behind a member", Member { behind: b"more".to_vec(), ..file() }, true),
        ("bytes behind deflated data", trailing(), false),
    ];
    cases.into_iter().map(|(name, file, taken)| Case::files(name, &[file], taken)).collect()
}

fn descriptor(member: Member, sizes: [u32; 2], crc32: u32) -> Member {
    let mut behind = b"PK\x07\x08".to_vec();
    behind.extend(libdeflater::crc32(&member.contents).to_le_bytes());
    behind.extend([8, 0, 0, 0, 6, 0, 0, 0]);
    Member { flags: DESCRIPTOR, local_sizes: Some(sizes), local_crc32: Some(crc32), behind, ..member }
}

/// Stored bytes that claim to be deflated: a deflated member, then a byte more.
fn trailing() -> Member {
    let mut contents = file().local().split_off(30 + "pack.py".len());
    contents.push(0);
    let crc32 = Some(libdeflater::crc32(&file().contents));
    Member { method: 8, deflated: Some(contents), crc32, ..file() }
}

/// The end record, what is in front of it and behind it.
fn ends() -> Vec<Case> {
    let members = wheel_members("pack", &[file()]);
    let whole = zip(&members);
    let at = whole.len() - 22;
    let changed = |place: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at + place..at + place + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let comment = |comment: &[u8]| zip_with(b"", &members, comment);
    let end_of_nothing = b"PK\x05\x06".iter().copied().chain([0; 18]).collect::<Vec<u8>>();
    let end = whole[at..].to_vec();
    let mut cut_comment = comment(b"four");
    cut_comment.pop();
    // Each of two end records says that all behind it is its comment.
    let mut twice = whole.clone();
    twice[at + 20..].copy_from_slice(&22u16.to_le_bytes());
    twice.extend(&end);
    let mut directory_cut = whole.clone();
    directory_cut.remove(directory_of(&whole) + 46);
    let count = u8::try_from(members.len()).unwrap();
    let cases: Vec<(&str, Vec<u8>, bool)> = vec![
        ("a comment", comment(b"said"), true),
        ("a long comment", comment(&[b'x'; 65_535]), true),
        ("a comment with another end record", comment(&end_of_nothing), false),
        ("a comment that begins like an end record", comment(b"PK\x05\x06 and more"), false),
        ("two end records for one directory", twice, false),
        ("a comment that is cut off", cut_comment, false),
        ("bytes behind the end record", [&whole[..], b"more"].concat(), false),
        ("bytes in front", zip_behind(b"#!/bin/sh\n", &members), true),
        ("bytes in front that are not counted", [b"#!/bin/sh\n", &whole[..]].concat(), true),
        ("bytes in front of the directory", between(&whole), true),
        ("another disk", changed(4, &[1, 0]), false),
        ("a directory on another disk", changed(6, &[1, 0]), false),
        ("another number of members on this disk", changed(8, &[1, 0]), false),
        ("more members than there are", changed(8, &[count + 1, 0, count + 1, 0]), false),
        ("fewer members than there are", changed(8, &[count - 1, 0, count - 1, 0]), false),
        ("a directory that is too short", changed(12, &[46, 0, 0, 0]), false),
        ("a directory outside the file", changed(16, &[0xff, 0xff, 0xff, 0x7f]), false),
        ("a directory that is cut", directory_cut, false),
        ("no directory", end_of_nothing.clone(), false),
        ("two zips in a row", [&whole[..], &wheel(&[Member::new("other.py", "")])[..]].concat(), true),
        ("no zip", b"no zip".to_vec(), false),
        ("an empty file", Vec::new(), false),
    ];
    cases.into_iter().map(|(name, bytes, taken)| Case::wheel(name, WHEEL, &bytes, taken)).collect()
}

/// With four bytes between the last member and the directory, which the end record counts.
fn between(whole: &[u8]) -> Vec<u8> {
    let start = directory_of(whole);
    let mut changed = [&whole[..start], &b"more"[..], &whole[start..]].concat();
    let field = changed.len() - 6;
    changed[field..field + 4].copy_from_slice(&u32::try_from(start + 4).unwrap().to_le_bytes());
    changed
}

/// A zip64 end record and its locator, true but for what `change` does to both; and the old end record.
fn with_zip64(change: impl FnOnce(&mut Vec<u8>), old: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let whole = wheel(&[file()]);
    let at = whole.len() - 22;
    let start = directory_of(&whole) as u64;
    let mut end = whole[at..].to_vec();
    let count = u64::from(u16::from_le_bytes([end[10], end[11]]));
    let mut zip64 = b"PK\x06\x06".to_vec();
    zip64.extend(44u64.to_le_bytes());
    zip64.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for value in [count, count, at as u64 - start, start] {
        zip64.extend(value.to_le_bytes());
    }
    zip64.extend(b"PK\x06\x07\0\0\0\0");
    zip64.extend((at as u64).to_le_bytes());
    zip64.extend(1u32.to_le_bytes());
    change(&mut zip64);
    old(&mut end);
    [&whole[..at], &zip64, &end].concat()
}

fn zip64() -> Vec<Case> {
    let nothing = |_: &mut Vec<u8>| ();
    let set = |at: usize, value: u8| move |bytes: &mut Vec<u8>| bytes[at] = value;
    let announced = |end: &mut Vec<u8>| end[8..20].fill(0xff);
    let cases: Vec<(&str, Vec<u8>, bool)> = vec![
        ("zip64", with_zip64(nothing, announced), true),
        ("zip64 that the old end record does not announce", with_zip64(nothing, nothing), true),
        (
            "zip64 and another count in the old end record",
            with_zip64(nothing, |end| end[8..12].fill(9)),
            false,
        ),
        ("zip64 and another offset in the old end record", with_zip64(nothing, |end| end[16] ^= 1), false),
        ("zip64 of another size", with_zip64(set(4, 45), announced), false),
        ("zip64 with another count on this disk", with_zip64(set(24, 1), announced), false),
        ("zip64 with another count", with_zip64(set(32, 1), announced), false),
        ("zip64 with an offset of 2^63", with_zip64(set(55, 0x80), announced), false),
        ("zip64 on another disk", with_zip64(set(16, 1), announced), false),
        ("zip64 whose locator names another disk", with_zip64(set(60, 1), announced), false),
        ("zip64 whose locator leads elsewhere", with_zip64(set(64, 7), announced), false),
        ("zip64 of several disks", with_zip64(set(72, 2), announced), false),
        ("a locator without its record", with_zip64(|bytes| drop(bytes.drain(..56)), nothing), false),
    ];
    cases.into_iter().map(|(name, bytes, taken)| Case::wheel(name, WHEEL, &bytes, taken)).collect()
}

/// A small wheel with one bit changed in each byte of its headers, cut off, or with each byte of its texts changed.
fn changed() -> Vec<Case> {
    let whole = wheel(&[Member { method: 0, ..file() }]);
    let start = directory_of(&whole);
    let mut cases = Vec::new();
    for place in (0..40).chain(start..whole.len()) {
        let mut changed = whole.clone();
        changed[place] ^= 1 << (place % 8);
        cases.push(Case::wheel(&format!("byte {place} changed"), WHEEL, &changed, None));
    }
    for part in 1..20 {
        cases.push(Case::wheel(&format!("{part}/20"), WHEEL, &whole[..whole.len() * part / 20], false));
    }
    cases
}

//! RECORD: <https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-record-file>.

use std::borrow::Cow;

use crate::Error;
use crate::order;
use crate::text::number;

/// Bytes of a field: PATH_MAX of Linux. Hashes are shorter.
const LONGEST_FIELD: usize = 4096;

/// One file of a wheel or of an installed distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRow {
    /// In a wheel: the member. Installed: relative to site-packages, as `../../../bin/x`.
    pub path: String,
    /// The algorithm's name in lower case, then the digest as written: unpadded URL-safe base64.
    pub hash: Option<(String, String)>,
    /// Bytes.
    pub size: Option<u64>,
}

/// Reads a RECORD. Of a wheel, paths that are absolute or have a `..` part name no member: some build tools write those of
/// the machine that they ran on.
pub fn parse(bytes: &[u8]) -> Result<Vec<RecordRow>, Error> {
    parse_most(bytes, usize::MAX)
}

/// The same, and refuses one of more rows than `most`.
pub fn parse_most(bytes: &[u8], most: usize) -> Result<Vec<RecordRow>, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::Encoding { file: "RECORD" })?;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut rows, mut line) = (Vec::new(), 1);
    while !rest.is_empty() {
        let begin = rest;
        rest = match line_end(rest) {
            Some(behind) => behind,
            None => {
                let wrong = |reason| Error::Record { line, reason };
                let (fields, behind) = read_row(rest).map_err(|reason| wrong(reason.to_owned()))?;
                if rows.len() >= most {
                    return Err(wrong(format!(
                        "it has more than {most} rows, many more than there are files"
                    )));
                }
                rows.push(parse_row(fields).map_err(wrong)?);
                behind
            }
        };
        line += begin[..begin.len() - rest.len()].matches('\n').count() as u64;
    }
    Ok(rows)
}

/// What follows, if a line ends here.
fn line_end(text: &str) -> Option<&str> {
    text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n'))
}

/// The first three fields of a row, and what follows it. Of CSV only what has one meaning is read: a quote is at the
/// beginning of a field or doubled in it, and a line ends with `\n` or `\r\n`.
fn read_row(text: &str) -> Result<([Cow<'_, str>; 3], &str), &'static str> {
    let mut fields = [const { Cow::Borrowed("") }; 3];
    let (mut rest, mut index) = (text, 0);
    loop {
        let (field, behind) = read_field(rest)?;
        if let Some(place) = fields.get_mut(index) {
            *place = field;
        }
        index += 1;
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok((fields, behind)),
            None => return Ok((fields, line_end(behind).ok_or("something follows a closing quote")?)),
        }
    }
}

fn read_field(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let Some(mut rest) = text.strip_prefix('"') else {
        // All of these are single bytes in UTF-8, and there are many rows.
        let end = text.bytes().position(|byte| b",\n".contains(&byte)).unwrap_or(text.len());
        let end = if text[..end].ends_with('\r') && text[end..].starts_with('\n') { end - 1 } else { end };
        let (field, behind) = text.split_at(end);
        return match field.bytes().any(|byte| b"\"\r".contains(&byte)) {
            true => Err("a field without quotes around it has a quote or a carriage return"),
            false => Ok((Cow::Borrowed(field), behind)),
        };
    };
    let mut field = String::new();
    loop {
        let end = rest.find('"').ok_or("a quote is not closed")?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        let Some(more) = rest.strip_prefix('"') else { return Ok((Cow::Owned(field), rest)) };
        field.push('"');
        rest = more;
    }
}

fn parse_row([path, hash, size]: [Cow<'_, str>; 3]) -> Result<RecordRow, String> {
    if path.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if [&path, &hash, &size].iter().any(|field| field.len() > LONGEST_FIELD) {
        return Err("a field has more than 4096 bytes".to_owned());
    }
    // Written first, it would be read as that of the text.
    if path.starts_with('\u{feff}') {
        return Err("the path begins with a byte order mark".to_owned());
    }
    let hash = match &*hash {
        "" => None,
        text => {
            let (algorithm, digest) =
                text.split_once('=').ok_or_else(|| format!("`{text}` is not a hash"))?;
            Some((algorithm.to_ascii_lowercase(), digest.trim_end_matches('=').to_owned()))
        }
    };
    let size = match &*size {
        "" => None,
        text => Some(number(text, 18).ok_or_else(|| format!("`{text}` is not a size"))?),
    };
    Ok(RecordRow { path: path.into_owned(), hash, size })
}

/// The file as installed: sorted by the path's bytes, `\n` line ends, quotes where needed (`docs/reference/format.md`).
pub fn write(rows: impl IntoIterator<Item = RecordRow>) -> String {
    let mut rows: Vec<RecordRow> = rows.into_iter().collect();
    order::sort_by(&mut rows, |one, other| one.path.cmp(&other.path));
    let mut text = String::with_capacity(rows.iter().map(|row| row.path.len() + 80).sum());
    for RecordRow { path, hash, size } in rows {
        let hash = hash.map(|(algorithm, digest)| format!("{algorithm}={digest}")).unwrap_or_default();
        let size = size.map(|size| size.to_string()).unwrap_or_default();
        text.extend([&*quoted(&path), ",", &*quoted(&hash), ",", &size, "\n"]);
    }
    text
}

fn quoted(field: &str) -> Cow<'_, str> {
    match field.bytes().any(|byte| b",\"\r\n".contains(&byte)) {
        true => Cow::Owned(format!("\"{}\"", field.replace('"', "\"\""))),
        false => Cow::Borrowed(field),
    }
}

/// Puts rows into a text that [`write()`] made. Paths that the text has already must not be among them.
pub fn insert(text: &str, mut rows: Vec<RecordRow>) -> Result<String, Error> {
    // A quoted path may have a line end in it.
    if text.contains('"') {
        rows.extend(parse(text.as_bytes())?);
        return Ok(write(rows));
    }
    order::sort_by(&mut rows, |one, other| one.path.cmp(&other.path));
    let mut whole =
        String::with_capacity(text.len() + rows.iter().map(|row| row.path.len() + 80).sum::<usize>());
    let mut rest = text;
    for row in rows {
        let (before, behind) = rest.split_at(place(rest, &row.path));
        whole.push_str(before);
        whole.push_str(&write([row]));
        rest = behind;
    }
    whole.push_str(rest);
    Ok(whole)
}

/// Where the first line begins whose path is not before `path`, found by halving.
fn place(text: &str, path: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut low, mut high) = (0, bytes.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start =
            bytes[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |end| low + end + 1);
        let line = &bytes[start..];
        let end = line.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| start + end + 1);
        let comma = line.iter().position(|byte| *byte == b',').unwrap_or(line.len());
        if &line[..comma] < path.as_bytes() {
            low = end;
        } else {
            high = start;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_that_begins_with_a_byte_order_mark_is_refused() {
        assert_eq!(parse("\u{feff}a.py,,\n".as_bytes()).unwrap()[0].path, "a.py");
        for text in ["\u{feff}\u{feff}\u{feff}a.py,,\n", "b.py,,\n\u{feff}a.py,,\n", "\"\u{feff}a.py\",,\n"] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.to_string().ends_with("the path begins with a byte order mark"), "{error}");
        }
    }

    fn row(path: &str, hash: Option<(&str, &str)>, size: Option<u64>) -> RecordRow {
        let hash = hash.map(|(algorithm, digest)| (algorithm.to_owned(), digest.to_owned()));
        RecordRow { path: path.to_owned(), hash, size }
    }

    #[test]
    fn rows_are_read_with_quotes_and_any_line_ends() {
        let text =
            b"\xef\xbb\xbfa.py,sha256=AbC_-,12\r\n\"b,\"\"c\"\".py\",SHA512=x==,\r\n\nd/RECORD,,\ne.py\n";
        let expected = [
            row("a.py", Some(("sha256", "AbC_-")), Some(12)),
            row("b,\"c\".py", Some(("sha512", "x")), None),
            row("d/RECORD", None, None),
            row("e.py", None, None),
        ];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn broken_rows_are_refused() {
        insta::assert_snapshot!(parse(b"a.py,,\n,sha256=x,1\n").unwrap_err(), @"RECORD, line 2: the path is empty");
        insta::assert_snapshot!(parse(b"a.py,abc,\n").unwrap_err(), @"RECORD, line 1: `abc` is not a hash");
        insta::assert_snapshot!(parse(b"a.py,sha256=x,-1\n").unwrap_err(), @"RECORD, line 1: `-1` is not a size");
        for bad in ["/etc/passwd,,", "\\x,,", "a/../b,,", ",,", "\"\u{0}"] {
            let _ = parse(bad.as_bytes());
        }
        parse(b"\xff,,\n").unwrap_err();
    }

    #[test]
    fn more_rows_than_there_can_be_files_are_refused() {
        let text = "a,,\n".repeat(1_000_000);
        assert!(parse_most(text.as_bytes(), 1000).is_err());
        assert_eq!(parse_most(b"a,,\n", 1).unwrap().len(), 1);
    }

    #[test]
    fn rows_are_written_in_the_order_of_bytes() {
        let rows = [
            row("b.py", Some(("sha256", "x")), Some(3)),
            row("B.py", None, None),
            row("a,b.py", None, Some(0)),
            row("../../../bin/x", Some(("sha256", "y")), Some(1)),
        ];
        assert_eq!(write(rows), "../../../bin/x,sha256=y,1\nB.py,,\n\"a,b.py\",,0\nb.py,sha256=x,3\n");
    }

    proptest! {
        #[test]
        fn inserted_rows_keep_the_order(
            paths in prop::collection::btree_set("[a./\",]{1,4}", 0..12),
            chosen in prop::collection::vec(any::<bool>(), 12),
        ) {
            let rows: Vec<_> = paths.iter().map(|path| row(path, Some(("sha256", "x")), Some(1))).collect();
            let (later, now): (Vec<_>, Vec<_>) = rows.iter().cloned().zip(chosen).partition(|(_, later)| *later);
            let [later, now] = [later, now].map(|rows| rows.into_iter().map(|(row, _)| row).collect::<Vec<_>>());
            prop_assume!(now.iter().all(|row| parse(write([row.clone()]).as_bytes()).is_ok()));
            prop_assert_eq!(insert(&write(now), later).unwrap(), write(rows));
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn written_records_are_read_back(
            rows in proptest::collection::vec(("[^/\\\\\u{feff}]([^\\\\]{0,9}[^/\\\\])?", proptest::option::of("[A-Za-z0-9_-]{43}"), proptest::option::of(0..1_000_000_000_000_000_000_u64)), 0..9),
        ) {
            let mut rows: Vec<RecordRow> = rows
                .into_iter()
                .filter(|(path, ..)| !path.split('/').any(|part| part == ".."))
                .map(|(path, digest, size)| {
                    RecordRow { path, hash: digest.map(|digest| ("sha256".to_owned(), digest)), size }
                })
                .collect();
            let text = write(rows.clone());
            rows.sort_by(|one, other| one.path.cmp(&other.path));
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), rows);
        }
    }
}

//! RECORD: <https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-record-file>.

use crate::Error;

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

/// Reads the RECORD of a wheel. Paths that are absolute or have a `..` part are refused: no member can have them.
pub fn parse(bytes: &[u8]) -> Result<Vec<RecordRow>, Error> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| Error::Record {
            line: error.position().map_or(0, csv::Position::line),
            reason: error.to_string(),
        })?;
        let line = row.position().map_or(0, csv::Position::line);
        rows.push(parse_row(&row).map_err(|reason| Error::Record { line, reason })?);
    }
    Ok(rows)
}

fn parse_row(row: &csv::StringRecord) -> Result<RecordRow, String> {
    let field = |index| row.get(index).unwrap_or_default();
    let path = field(0);
    if path.is_empty() || path.starts_with(['/', '\\']) || path.split(['/', '\\']).any(|part| part == "..") {
        return Err(format!("the path `{path}` leaves the wheel"));
    }
    let hash = match field(1) {
        "" => None,
        text => {
            let (algorithm, digest) =
                text.split_once('=').ok_or_else(|| format!("`{text}` is not a hash"))?;
            Some((algorithm.to_ascii_lowercase(), digest.trim_end_matches('=').to_owned()))
        }
    };
    let size = match field(2) {
        "" => None,
        text => Some(text.parse().map_err(|_| format!("`{text}` is not a size"))?),
    };
    Ok(RecordRow { path: path.to_owned(), hash, size })
}

/// The file as installed: sorted by the path's bytes, `\n` line ends, quotes where needed (`docs/format.md`).
pub fn write(rows: impl IntoIterator<Item = RecordRow>) -> String {
    let mut rows: Vec<RecordRow> = rows.into_iter().collect();
    rows.sort_by(|one, other| one.path.cmp(&other.path));
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for RecordRow { path, hash, size } in rows {
        let hash = hash.map(|(algorithm, digest)| format!("{algorithm}={digest}")).unwrap_or_default();
        let size = size.map(|size| size.to_string()).unwrap_or_default();
        writer.write_record([path, hash, size]).expect("memory takes every row");
    }
    let bytes = writer.into_inner().expect("memory takes every row");
    String::from_utf8(bytes).expect("text in, text out")
}

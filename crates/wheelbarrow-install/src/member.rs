//! The contents of a member of a wheel.

use std::collections::HashMap;

use sha2::Digest;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError};
use wheelbarrow_artifact::zip::{Entry, Inflater};
use wheelbarrow_wheel::record::RecordRow;

/// What a file of a wheel holds, by RECORD where that says it. Whether it is true shows when the file is written.
pub(crate) fn member_sha256(
    wheel: &OpenWheel<'_>,
    entry: &Entry,
    recorded: &HashMap<String, RecordRow>,
) -> Result<Sha256, WheelError> {
    let known = recorded.get(&entry.name).and_then(|row| row.hash.as_ref());
    if let Some((_, digest)) = known.filter(|(algorithm, _)| algorithm == "sha256") {
        return Sha256::from_record(digest).ok_or_else(|| untrue(wheel, entry));
    }
    contents_sha256(wheel, entry)
}

/// What a file of a wheel is found to hold.
fn contents_sha256(wheel: &OpenWheel<'_>, entry: &Entry) -> Result<Sha256, WheelError> {
    let mut hash = sha2::Sha256::new();
    let raw = wheel.archive().raw(entry);
    Inflater::new()
        .read(entry, raw, &mut |bytes| hash.update(bytes))
        .map_err(|source| WheelError::Zip { wheel: wheel.filename().to_string(), source })?;
    Ok(Sha256(hash.finalize().into()))
}

pub(crate) fn untrue(wheel: &OpenWheel<'_>, entry: &Entry) -> WheelError {
    let source =
        wheelbarrow_wheel::Error::Untrue { path: entry.name.clone(), what: "the file has another hash" };
    WheelError::Rules { wheel: wheel.filename().to_string(), source }
}

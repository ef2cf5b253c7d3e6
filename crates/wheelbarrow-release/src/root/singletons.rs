//! Whether this host runs the services that only one host of a fleet may run:
//! `ROOT/.wheelbarrow/singletons.json`, written by `wheelbarrow singletons`. By default a host runs them.

use std::io::ErrorKind;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::format;
use wheelbarrow_base::{LARGEST_TEXT, read_regular, write_atomic};

use crate::{ReleaseError, Root};

const FORMAT: u32 = 1;

/// What a host was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SingletonsRecord {
    format: u32,
    pub(crate) runs: bool,
    /// Seconds since 1970. Of several hosts that were told to run them, the last one counts.
    pub(crate) since: u64,
}

impl SingletonsRecord {
    pub(crate) fn new(runs: bool, since: u64) -> Self {
        Self { format: FORMAT, runs, since }
    }
}

pub(crate) fn read(root: &Root) -> Result<Option<SingletonsRecord>, ReleaseError> {
    let path = root.singletons();
    match read_regular(&path, LARGEST_TEXT) {
        Ok(text) => {
            let read = format::read_own::<SingletonsRecord>(&path, &text, FORMAT);
            read.map(Some).map_err(ReleaseError::misread(&path))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(ReleaseError::io("read", &path)(error)),
    }
}

/// None to forget what it was told.
pub(crate) fn write(root: &Root, told: Option<&SingletonsRecord>) -> Result<(), ReleaseError> {
    let path = root.singletons();
    let Some(told) = told else {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(ReleaseError::io("remove", &path)(error))
            }
            _ => Ok(()),
        };
    };
    let text = serde_json::to_vec(told).map_err(|error| ReleaseError::io("write", &path)(error.into()))?;
    Ok(write_atomic(&path, &text, 0o644)?)
}

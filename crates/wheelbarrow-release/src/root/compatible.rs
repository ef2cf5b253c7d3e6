//! Refuses to change a site root in which a newer version of Wheelbarrow wrote something that this version
//! does not understand.
//!
//! Each artifact contains its own program, so older programs often work on newer site roots.
//! `docs/reference/compatibility.md` lists the changes of a format that an older program can ignore.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_artifact::format::{self, Needed, Newer};
use wheelbarrow_base::{LARGEST_TEXT, read_regular};
use wheelbarrow_install::store;

use crate::root::Mark;
use crate::root::journal::JournalEvent;
use crate::root::receipt::{RECEIPT_FORMAT, RECEIPT_PATH};
use crate::root::singletons;
use crate::stage::statics::{self, STATIC_PATH};
use crate::{ReleaseError, Root};

/// Looks at everything under the root that has a format. The root need not exist.
pub(crate) fn check(root: &Root) -> Result<(), ReleaseError> {
    check_journal(root)?;
    singletons::read(root)?;
    if root.releases().is_dir() {
        for found in root.found()? {
            if let Some(newer) = found.newer {
                return Err(newer.into());
            }
            let release = root.release(&found.id);
            check_file(&release.join(RECEIPT_PATH), RECEIPT_FORMAT)?;
            if let Some(text) = statics::read_text(&release) {
                format::check(&release.join(STATIC_PATH), &text, statics::FORMAT)?;
            }
        }
    }
    for mark in [Mark::Pinned, Mark::Bad] {
        check_marks(&root.mark_directory(mark))?;
    }
    Ok(store::check_format(&root.store())?)
}

fn check_journal(root: &Root) -> Result<(), ReleaseError> {
    let mut latest = None;
    for entry in root.journal().read()? {
        match entry.event {
            JournalEvent::Begun { program, .. } => latest = program,
            JournalEvent::Newer { what, program } => {
                let needed = Needed::of(program.or(latest).as_deref());
                let what = format!("has an entry that {} does not support ({what})", format::PROGRAM);
                return Err(Newer { path: root.journal().path().to_path_buf(), what, needed }.into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_file(path: &Path, known: u32) -> Result<(), ReleaseError> {
    match read_regular(path, LARGEST_TEXT) {
        Ok(text) => Ok(format::check(path, &text, known)?),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(ReleaseError::io("read", path)(error)),
    }
}

/// Marks are empty files.
fn check_marks(directory: &Path) -> Result<(), ReleaseError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(ReleaseError::io("list", directory)(error)),
    };
    for entry in entries {
        let path: PathBuf = entry.map_err(ReleaseError::io("list", directory))?.path();
        let metadata = fs::symlink_metadata(&path).map_err(ReleaseError::io("look at", &path))?;
        if metadata.is_file() && metadata.len() > 0 {
            let text = read_regular(&path, LARGEST_TEXT).map_err(ReleaseError::io("read", &path))?;
            format::check(&path, &text, 0)?;
            let what = format!("has contents that {} does not support", format::PROGRAM);
            return Err(Newer { path, what, needed: Needed::of(None) }.into());
        }
    }
    Ok(())
}

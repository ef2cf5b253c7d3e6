//! The files that tell of others, where modules are compiled at the install: which of them compile shows only then.

use wheelbarrow_wheel::record::{self, RecordRow};

use super::{Contents, Plan, PlannedFile, stored, sums_and_receipt};
use crate::InstallError;
use crate::receipt::{About, RECEIPT_PATH, SUMS_PATH, sums};

/// What was split off a plan.
pub(crate) struct Last<'a> {
    records: Vec<PlannedFile<'a>>,
}

impl<'a> Plan<'a> {
    /// Takes out every RECORD, the sums and the receipt.
    pub(crate) fn split_last(&mut self) -> Last<'a> {
        self.files.retain(|file| !matches!(file.path.as_str(), SUMS_PATH | RECEIPT_PATH));
        let files = std::mem::take(&mut self.files);
        let (records, files) = files.into_iter().partition(|file| file.path.ends_with(".dist-info/RECORD"));
        self.files = files;
        Last { records }
    }
}

impl<'a> Last<'a> {
    /// A plan for them, when all other files of `plan` are there. `failed` are the files that compiling did not make.
    pub(crate) fn plan(
        self,
        plan: &Plan<'_>,
        failed: &[&str],
        about: About<'_>,
    ) -> Result<Plan<'a>, InstallError> {
        let site_packages = format!("venv/{}/", about.interpreter.site_packages);
        let failed = failed.iter().filter_map(|path| path.strip_prefix(&site_packages));
        let rows: Vec<String> = failed.map(row).collect();
        let mut files: Vec<_> = self.records.into_iter().map(|record| without(record, &rows)).collect();
        let all = plan.files.iter().map(|file| (file.path.as_str(), file.sha256));
        let linked = stored::sums(&plan.linked);
        let all = all.chain(linked.iter().map(|(path, sha256)| (path.as_str(), *sha256)));
        let sums = sums(all.chain(files.iter().map(|file| (file.path.as_str(), file.sha256))));
        files.extend(sums_and_receipt(about, sums)?);
        Ok(Plan { files, ..Plan::default() })
    }
}

/// As RECORD has a file of bytecode.
fn row(path: &str) -> String {
    record::write(vec![RecordRow { path: path.to_owned(), hash: None, size: None }])
}

fn without<'a>(record: PlannedFile<'a>, rows: &[String]) -> PlannedFile<'a> {
    let Contents::Bytes(bytes) = &record.contents else { return record };
    let mut text = format!("\n{}", String::from_utf8_lossy(bytes));
    let before = text.len();
    for row in rows {
        if let Some(start) = text.find(&format!("\n{row}")) {
            text.replace_range(start..start + row.len(), "");
        }
    }
    if text.len() == before {
        return record;
    }
    PlannedFile::of_bytes(record.path, text.split_off(1).into_bytes(), false)
}

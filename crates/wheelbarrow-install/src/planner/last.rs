//! The files that describe other files: the sums, the receipt and, if modules are compiled at the install,
//! every RECORD, since it is known only then which modules compile.

use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_wheel::record::{self, RecordRow};

use crate::InstallError;
use crate::layout::{RECEIPT_PATH, SUMS_PATH};
use crate::plan::{Contents, LinkedDirectory, Plan, PlannedFile};
use crate::receipt::{ReceiptFacts, receipt};
use crate::sums::sums;

/// What was split off a plan.
pub(crate) struct TrailingFiles<'a> {
    records: Vec<PlannedFile<'a>>,
}

impl<'a> Plan<'a> {
    /// Takes out every RECORD that is not known yet.
    pub(crate) fn split_last(&mut self) -> TrailingFiles<'a> {
        if self.batches.is_empty() {
            return TrailingFiles { records: Vec::new() };
        }
        let files = std::mem::take(&mut self.files);
        let (records, files) = files.into_iter().partition(|file| file.path.ends_with(".dist-info/RECORD"));
        self.files = files;
        TrailingFiles { records }
    }
}

impl<'a> TrailingFiles<'a> {
    /// A plan for them and the others. `failed` are the files that compiling did not make.
    pub(crate) fn plan(
        self,
        plan: &Plan<'_>,
        failed: &[&str],
        about: ReceiptFacts<'_>,
    ) -> Result<Plan<'a>, InstallError> {
        let site_packages = format!("venv/{}/", about.interpreter.site_packages);
        let failed = failed.iter().filter_map(|path| path.strip_prefix(&site_packages));
        let rows: Vec<String> = failed.map(row).collect();
        let mut files: Vec<_> = self.records.into_iter().map(|record| without(record, &rows)).collect();
        let linked = linked_sums(&plan.linked);
        let linked = linked.iter().map(|(path, sha256)| (path.as_str(), *sha256));
        let written = plan.files.iter().chain(&files).map(|file| (file.path.as_str(), file.sha256));
        let sums = sums(linked.chain(written));
        let receipt = receipt(about, Sha256::of(&sums));
        let receipt =
            receipt.map_err(|error| InstallError::io("write", RECEIPT_PATH.as_ref())(error.into()))?;
        let own = [(SUMS_PATH, sums), (RECEIPT_PATH, receipt)];
        files.extend(own.map(|(path, contents)| PlannedFile::of_bytes(path.to_owned(), contents, false)));
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

/// The sums of the files that are linked, in no order.
fn linked_sums(linked: &[LinkedDirectory<'_>]) -> Vec<(String, Sha256)> {
    let own = linked.iter().filter(|directory| !directory.is_bytecode());
    own.flat_map(|directory| directory.paths().map(|(path, file)| (path, file.sha256))).collect()
}

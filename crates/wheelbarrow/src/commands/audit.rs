//! `wheelbarrow audit ARTIFACT|WHEEL...`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_audit::{BundledPython, Finding, Report, audit_artifact, audit_wheels};
use wheelbarrow_base::Exit;
use wheelbarrow_platform::TargetSpec;

use super::allowances::allowances;
use crate::failure::{CommandError, CommandResult, Refusal};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text::{Align, count, table};

#[derive(Args)]
pub(crate) struct AuditArguments {
    /// An artifact, or wheels, which are checked as one set
    #[arg(required = true, value_name = "ARTIFACT|WHEEL")]
    files: Vec<PathBuf>,
    /// A target to check for, such as debian-12 or 3.11@manylinux_2_28_x86_64; may be repeated [default: the
    /// targets that they name]
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Allow a finding; may be repeated
    #[arg(long, value_name = "RULE:NAME[=REASON]")]
    allow: Vec<String>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &AuditArguments, printer: &Printer) -> CommandResult<()> {
    let targets = targets(&arguments.target)?;
    let allowances = allowances(arguments.allow.iter())?;
    let progress = Bar::new(printer);
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let reports = match arguments.files.as_slice() {
        files if files.iter().all(is_wheel) => audit_wheels(files, &targets, &allowances, &progress)?,
        [artifact] => audit_artifact(&Artifact::open(artifact)?, &targets, &allowances, &progress)?,
        _ => {
            let message = "one artifact, or wheels, can be audited at a time";
            let hint = Some("wheels end in .whl".to_owned());
            return Err(Refusal { message: message.to_owned(), hint, exit: Exit::Usage }.into());
        }
    };
    let ok = reports.iter().all(Report::is_ok);
    if arguments.json {
        printer.json(&json!({ "ok": ok, "targets": reports }))?;
    } else {
        reports.iter().for_each(|report| tell(report, printer));
    }
    match reports.iter().any(Report::is_broken) {
        _ if ok => Ok(()),
        // The codes of a build that the same findings refuse.
        true => Err(CommandError::Reported(Exit::Broken.code())),
        false => Err(CommandError::Reported(Exit::Project.code())),
    }
}

fn targets(texts: &[String]) -> CommandResult<Vec<TargetSpec>> {
    let parse = |text: &String| {
        text.parse::<TargetSpec>().map_err(|error| {
            Refusal { message: error.to_string(), hint: Some(error.hint()), exit: Exit::Usage }.into()
        })
    };
    texts.iter().map(parse).collect()
}

fn tell(report: &Report, printer: &Printer) {
    if !report.findings.is_empty() {
        let rows: Vec<_> = report.findings.iter().map(row).collect();
        printer.result(&table(&[Align::Left, Align::Left, Align::Left, Align::Left], &rows));
    }
    for hint in hints(report) {
        printer.line(&hint);
    }
    let counted = |refuses: fn(&Finding) -> bool, what| {
        let number = report.findings.iter().filter(|finding| refuses(finding)).count();
        (number > 0).then(|| count(number, what))
    };
    let told = [
        counted(Finding::refuses, "error"),
        counted(|finding| finding.allowed.is_none() && !finding.refuses(), "warning"),
        counted(|finding| finding.allowed.is_some(), "allowance").map(|text| format!("{text} used")),
    ];
    let told: Vec<_> = told.into_iter().flatten().collect();
    let result = if told.is_empty() { "nothing is wrong".to_owned() } else { told.join(", ") };
    let (wheels, files) = (count(report.wheels, "wheel"), count(report.elf_files, "ELF file"));
    let python = report.interpreter.as_ref().map(python).unwrap_or_default();
    printer.done(&format!("{}: {wheels}, {files}{python}: {result}", report.target));
}

/// What to do about each error, each sentence once.
fn hints(report: &Report) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    for finding in report.findings.iter().filter(|finding| finding.refuses()) {
        let hint = finding.hint.as_ref().map(|hint| format!("hint: {}: {hint}", finding.rule));
        if let Some(hint) = hint.filter(|hint| !hints.contains(hint)) {
            hints.push(hint);
        }
    }
    hints
}

/// `, Python 3.12.11 of 2025-07-08 (30 days old)`
fn python(own: &BundledPython) -> String {
    let built = own.built.as_ref().zip(own.age_days);
    let built = built.map(|(built, age)| format!(" of {built} ({} old)", count_days(age)));
    format!(", Python {}{}", own.version, built.unwrap_or_default())
}

fn count_days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

fn row(finding: &Finding) -> Vec<String> {
    let (severity, why) = match &finding.allowed {
        Some(reason) => ("allowed".to_owned(), format!(" ({reason})")),
        None => (finding.severity.to_string(), String::new()),
    };
    vec![severity, finding.rule.to_string(), finding.name.clone(), format!("{}{why}", finding.what)]
}

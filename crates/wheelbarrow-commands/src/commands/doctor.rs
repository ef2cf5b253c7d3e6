//! `wheelbarrow doctor --root ROOT`

use clap::Args;
use wheelbarrow_base::Exit;
use wheelbarrow_release::BundledPython;
use wheelbarrow_release::doctor::{DoctorReport, SelinuxMode, examine};

use super::root::RootArguments;
use crate::failure::{CommandError, CommandResult, with_root};
use crate::printer::Printer;
use crate::text::count;

#[derive(Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    root: RootArguments,
}

pub(super) fn run(arguments: &DoctorArguments, printer: &Printer) -> CommandResult<()> {
    let report = examine(&arguments.root.open()?)?;
    if arguments.root.json {
        printer.json(&report)?;
    } else {
        show(&report, printer);
    }
    if report.findings.is_empty() { Ok(()) } else { Err(CommandError::Reported(Exit::Unhealthy.code())) }
}

fn show(report: &DoctorReport, printer: &Printer) {
    for finding in &report.findings {
        printer.line(&format!("{}: {}: {}", finding.rule, finding.place, finding.what));
        printer.line(&format!("  hint: {}", with_root(&finding.hint)));
    }
    if report.is_partial {
        printer
            .note("some processes were not checked: there was no time for them, or only root with CAP_SYS_PTRACE can see them");
    }
    if let Some(BundledPython { version, path }) = &report.interpreter {
        printer.note(&format!("the live release has its own Python {version}, in {}", path.display()));
    }
    if let Some(mode) = report.selinux {
        let mode = if mode == SelinuxMode::Enforcing { "enforcing" } else { "permissive" };
        printer.note(&format!("SELinux is {mode}"));
    }
    let processes = match report.processes {
        1 => "1 process".to_owned(),
        number => format!("{number} processes"),
    };
    let files = count(report.files, "file");
    let found = match report.findings.len() {
        0 => "nothing is wrong".to_owned(),
        number => count(number, "finding"),
    };
    printer.done(&format!("{}: {processes} and {files} of configuration, {found}", report.root.display()));
}

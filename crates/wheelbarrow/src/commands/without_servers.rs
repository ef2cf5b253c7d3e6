//! The commands on installs and releases on systems without servers, such as macOS: only `verify ARTIFACT`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use wheelbarrow_commands::verify_artifact::verify_artifact;

use crate::failure::{CommandResult, Refusal};
use crate::help;
use crate::printer::Printer;
use crate::trust::judge;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Verify an artifact and its signature
    Verify(VerifyArguments),
    /// So that a command of servers is refused by its name.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

#[derive(Args)]
pub(crate) struct VerifyArguments {
    /// The artifact
    artifact: PathBuf,
    /// Its allowed signers [default: /etc/wheelbarrow/allowed_signers, if it exists]
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    #[cfg_attr(target_os = "linux", allow(dead_code, reason = "only its definition is used, for pages"))]
    pub(super) fn run(self, printer: &Printer) -> CommandResult<()> {
        match self {
            Self::Verify(arguments) => {
                let trust = judge(arguments.allowed_signers.as_deref())?;
                verify_artifact(&arguments.artifact, &*trust, arguments.json, printer)
            }
            Self::Other(words) => {
                let word = words.first().and_then(|word| word.to_str()).unwrap_or_default();
                Err(refusal(word).into())
            }
        }
    }
}

fn refusal(word: &str) -> Refusal {
    if help::is_command(word) {
        return Refusal::usage(
            format!("`{word}` works on installs and releases, which this system has not: they are on Linux"),
            format!("run it on the server, `./ARTIFACT {word}` or `wheelbarrow {word}`"),
        );
    }
    Refusal::usage(format!("there is no command `{word}`"), "`wheelbarrow --help` lists them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_servers_are_refused_by_name() {
        let word = |text: &str| {
            let printer = Printer::new(true, false, clap::ColorChoice::Never);
            Command::Other(vec![text.into()]).run(&printer).unwrap_err().to_string()
        };
        assert!(word("deploy").starts_with("`deploy` works on installs and releases"));
        assert_eq!(word("deplay"), "there is no command `deplay`");
    }
}

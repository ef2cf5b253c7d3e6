//! `wheelbarrow sign ARTIFACT --key KEY`

use std::path::PathBuf;

use clap::Args;
use wheelbarrow_signature::sign;

use crate::failure::CommandResult;
use crate::printer::Printer;
use crate::progress::Bar;

/// ssh-keygen makes the signature: it asks for a passphrase, or an agent or a hardware token signs. Hosts check it with
/// `--allowed-signers FILE`, or with /etc/wheelbarrow/allowed_signers; anybody can with ssh-keygen:
///
///     unzip -p site.zip .wheelbarrow/manifest.json.sig > sig
///     unzip -p site.zip .wheelbarrow/manifest.json |
///         ssh-keygen -Y verify -n wheelbarrow -f allowed_signers -I NAME -s sig
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SignArguments {
    /// The artifact
    artifact: PathBuf,
    /// The private SSH key, or the public half of a key in an agent or on a token
    #[arg(short, long, value_name = "KEY")]
    key: PathBuf,
    /// The signed artifact to write [default: in place]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &SignArguments, printer: &Printer) -> CommandResult<()> {
    let SignArguments { artifact, key, output, json } = arguments;
    let signed = sign(artifact, key, output.as_deref(), &Bar::new(printer))?;
    printer.deed();
    if *json {
        return printer.json(&signed);
    }
    let (artifact, fingerprint) = (signed.artifact.display(), &signed.fingerprint);
    printer.done(&format!("signed {artifact} with {} {fingerprint}", signed.key_type));
    Ok(())
}

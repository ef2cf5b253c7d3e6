//! `wheelbarrow store verify | gc | list | inventory`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::inventory::{FORMAT, Inventory as Host};
use wheelbarrow_base::Exit;
use wheelbarrow_install::store::{
    Access, BrokenEntry, Collection, Inventory, Removal, Store, StoreVerification, add_to_inventory, collect,
    inventory, repair, verify,
};
use wheelbarrow_release::{Root, inventory as inventory_of_root};
use wheelbarrow_wheel::order;

use super::root::usual_root;
use crate::absolute;
use crate::failure::{CommandError, CommandResult, Refusal};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text::{self, Align};

#[derive(Args)]
pub struct StoreArguments {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Subcommand)]
enum StoreCommand {
    /// Verify the files of a store, and stop using altered entries
    Verify(StoreVerifyArguments),
    /// Remove wheels and bytecode that no install uses
    Gc(GcArguments),
    /// List the wheels in a store
    List(StoreListArguments),
    /// Print what a host has, for `wheelbarrow thin --have`
    Inventory(InventoryArguments),
}

#[derive(Args)]
struct StoreVerifyArguments {
    /// The store
    store: PathBuf,
    /// Unpack altered entries again, from this artifact
    #[arg(long, value_name = "ARTIFACT")]
    repair_from: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct GcArguments {
    /// The store
    store: PathBuf,
    /// Installs that use the store, whose wheels are kept
    #[arg(long, value_name = "DEST", required = true, num_args = 1..)]
    keep_for: Vec<PathBuf>,
    /// Print what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct StoreListArguments {
    /// The store
    store: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct InventoryArguments {
    /// The directory of the store, instead of --root
    #[arg(conflicts_with = "root")]
    store: Option<PathBuf>,
    /// The site root: its store, and the files of its releases [default: $WHEELBARROW_ROOT]
    #[arg(long, value_name = "ROOT")]
    root: Option<PathBuf>,
    /// Print JSON, for `thin --have`
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &StoreArguments, printer: &Printer) -> CommandResult<()> {
    match &arguments.command {
        StoreCommand::Verify(arguments) => run_verify(arguments, printer),
        StoreCommand::Gc(arguments) => run_gc(arguments, printer),
        StoreCommand::List(arguments) => run_list(arguments, printer),
        StoreCommand::Inventory(arguments) => run_inventory(arguments, printer),
    }
}

fn run_verify(arguments: &StoreVerifyArguments, printer: &Printer) -> CommandResult<()> {
    let progress = Bar::new(printer);
    let store = Store::open(&absolute(&arguments.store)?, Access::Shared)?;
    let artifact = arguments.repair_from.as_deref().map(Artifact::open).transpose()?;
    let mut verification = verify(&store, &progress)?;
    if let Some(artifact) = artifact.filter(|_| !verification.broken.is_empty()) {
        repair(&store, &mut verification, artifact, &progress)?;
    }
    if arguments.json {
        printer.json(&verification)?;
    } else {
        report_verification(&verification, printer);
    }
    if verification.is_clean() { Ok(()) } else { Err(CommandError::Reported(Exit::Differences.code())) }
}

fn report_verification(verification: &StoreVerification, printer: &Printer) {
    let StoreVerification { store, entries, files, broken } = verification;
    for entry in broken {
        let BrokenEntry { index, changed, missing, extra, repaired, .. } = entry;
        let sha256 = entry.sha256.or(entry.program).or(entry.static_file).map(|sha256| sha256.to_string());
        let name = name(entry.wheel.as_deref(), sha256);
        let part = match (entry.bytecode, entry.program) {
            (Some(_), _) => "bytecode of ",
            (_, Some(_)) => "program ",
            _ if entry.static_file.is_some() => "static file ",
            _ => "",
        };
        let state = if *repaired { "unpacked again" } else { "taken out of use" };
        printer.result(&format!("{part}{name}: {state}"));
        if let Some(what) = index {
            printer.result(&format!("  {what}"));
        }
        for (word, paths) in [("changed", changed), ("missing", missing), ("extra", extra)] {
            for path in paths {
                printer.result(&format!("  {word:<7} {}", path.escape_debug()));
            }
        }
    }
    let result =
        if broken.is_empty() { "all as unpacked".to_owned() } else { format!("{} broken", broken.len()) };
    let files = text::count(*files, "file");
    printer.done(&format!("{}: {entries} wheels and bytecodes, {files}, {result}", store.display()));
}

fn run_gc(arguments: &GcArguments, printer: &Printer) -> CommandResult<()> {
    let installs: Vec<PathBuf> =
        arguments.keep_for.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?;
    let store = Store::open(&absolute(&arguments.store)?, Access::Exclusive)?;
    let removal = if arguments.dry_run { Removal::DryRun } else { Removal::Now };
    let collection = collect(&store, &installs, removal)?;
    if !arguments.dry_run {
        printer.deed();
    }
    if arguments.json {
        return printer.json(&collection);
    }
    let Collection { kept, removed, bytes, .. } = &collection;
    for entry in removed {
        let part = match entry.bytecode {
            Some(_) => "bytecode of ",
            None if entry.program => "program ",
            None if entry.static_file => "static file ",
            None => "",
        };
        printer.result(&format!("{part}{}", name(entry.wheel.as_deref(), Some(entry.sha256.to_string()))));
    }
    let would = if arguments.dry_run { "would be " } else { "" };
    let (removed, bytes) = (removed.len(), text::bytes(*bytes));
    printer
        .done(&format!("{}: {removed} {would}removed, {bytes} freed; {kept} kept", store.path().display()));
    Ok(())
}

fn run_list(arguments: &StoreListArguments, printer: &Printer) -> CommandResult<()> {
    let store = Store::open(&absolute(&arguments.store)?, Access::Shared)?;
    let inventory = inventory(&store)?;
    if arguments.json {
        return printer.json(&inventory);
    }
    let Inventory { wheels, .. } = &inventory;
    let mut rows = vec![["SIZE", "WHEEL", "BYTECODE"].map(str::to_owned).to_vec()];
    for stored in wheels {
        let tags: Vec<_> = stored.bytecode.iter().map(|bytecode| bytecode.cache_tag.as_str()).collect();
        rows.push(vec![text::bytes(stored.bytes), stored.wheel.clone(), tags.join(", ")]);
    }
    order::sort_by(&mut rows[1..], |one, other| one[1].cmp(&other[1]));
    printer.result(&text::table(&[Align::Right, Align::Left, Align::Left], &rows));
    Ok(())
}

fn run_inventory(arguments: &InventoryArguments, printer: &Printer) -> CommandResult<()> {
    let host = match (&arguments.store, arguments.root.clone().or_else(usual_root)) {
        (Some(store), _) => {
            let mut host =
                Host { format: FORMAT, machine: Some(std::env::consts::ARCH.to_owned()), ..Host::default() };
            add_to_inventory(&Store::open(&absolute(store)?, Access::Shared)?, &mut host)?;
            host
        }
        (None, Some(root)) => inventory_of_root(&Root::open(&absolute(&root)?)?)?,
        (None, None) => {
            return Err(Refusal::usage(
                "no site root and no store named",
                "wheelbarrow store inventory --root ROOT --json",
            )
            .into());
        }
    };
    if arguments.json {
        return printer.json(&host);
    }
    let bytecode = host.wheels.iter().map(|wheel| wheel.bytecode.len()).sum();
    let targets: Vec<_> =
        host.targets.iter().map(|target| format!("{} on {}", target.python, target.platform)).collect();
    let rows = [
        ("wheels", host.wheels.len().to_string()),
        ("bytecode", text::count(bytecode, "wheel")),
        ("files", text::count(host.files.len(), "file")),
        ("programs", host.programs.len().to_string()),
        ("for", if targets.is_empty() { "-".to_owned() } else { targets.join(", ") }),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(what, text)| vec![what.to_owned(), text]).collect();
    printer.result(&text::table(&[Align::Left, Align::Left], &rows));
    Ok(())
}

fn name(wheel: Option<&str>, sha256: Option<String>) -> String {
    wheel.map(str::to_owned).or(sha256).unwrap_or_default()
}

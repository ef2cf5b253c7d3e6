//! `wheelbarrow inspect ARTIFACT`

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wheelbarrow_artifact::manifest::{
    Allowed, EnvironmentRules, INTERPRETER, Manifest, NATIVE, Needs, Precedence,
};
use wheelbarrow_artifact::{Anybody, Artifact};
use wheelbarrow_audit::{audit_artifact, sbom};

use super::diff::write_page;
use crate::failure::CommandResult;
use crate::pages;
use crate::printer::Printer;
use crate::progress::Bar;
use crate::text::{Align, bytes, count, table};

#[derive(Args)]
pub(crate) struct InspectArguments {
    /// The artifact
    artifact: PathBuf,
    /// Write a page about it, which needs no network and runs no script; every wheel is read for it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the manifest, and the file's path and size, as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &InspectArguments, printer: &Printer) -> CommandResult<()> {
    let artifact = Artifact::open_thin(&arguments.artifact, &Anybody)?;
    if let Some(path) = &arguments.html {
        let text = page(&artifact, printer)?;
        write_page(path, &text)?;
    }
    if arguments.json {
        let path = arguments.artifact.display().to_string();
        let mut told = json!({ "path": path, "size": artifact.size(), "manifest": artifact.manifest() });
        if !artifact.left_out().is_empty() {
            told["left_out"] = json!(artifact.left_out());
        }
        return printer.json(&told);
    }
    printer.result(&overview(&artifact));
    printer.result("");
    printer.result(&wheels(artifact.manifest()));
    Ok(())
}

fn page(artifact: &Artifact, printer: &Printer) -> CommandResult<String> {
    let sbom = match artifact.archive().find(sbom::PATH) {
        Some(entry) => serde_json::from_slice(&artifact.read_member(entry, sbom::LARGEST)?).ok(),
        None => None,
    };
    let reports = audit_artifact(artifact, &[], &[], &Bar::new(printer))?;
    Ok(pages::artifact::page(artifact, sbom.as_ref(), &reports))
}

/// The artifact, what it is for and what is in it, by groups.
fn overview(artifact: &Artifact) -> String {
    let manifest = artifact.manifest();
    let version = manifest.version.as_deref().unwrap_or("without a version");
    let mut rows = vec![
        row("site", format!("{} {version}", manifest.name)),
        row("file", format!("{}, {}", artifact.path().display(), bytes(artifact.size()))),
        row("built by", manifest.built_by.clone()),
    ];
    if !artifact.left_out().is_empty() {
        let left_out = manifest.members.iter().filter(|member| artifact.left_out().contains(&member.path));
        let size = left_out.map(|member| member.size).sum();
        let text = format!("{}, {}, of what is below", count(artifact.left_out().len(), "file"), bytes(size));
        rows.push(row("left out", text));
    }
    for target in &manifest.targets {
        let system = if target.platform == "any" { "any system" } else { &target.platform };
        let size = bytes(target.unpacked.bytes);
        let wheels = count(target.wheels.len(), "wheel");
        let text =
            format!("Python {} ({}) on {system}: {wheels}, {size} installed", target.python, target.abi);
        rows.push(row("for", text));
        rows.extend(needs(&target.needs).map(|text| row("needs", text)));
    }
    if let Some(own) = &manifest.interpreter {
        let files = group(artifact, &format!("{INTERPRETER}/"));
        rows.push(row("brings", format!("Python {} for {}: {files}", own.version, own.machine)));
    }
    let code = &manifest.project.directory;
    let below = format!("{code}/");
    rows.push(row(
        "code",
        format!("{code}: {}; {} is on sys.path", group(artifact, &below), manifest.project.import_path),
    ));
    if let Some(root) = &manifest.project.static_root {
        rows.push(row("collected", format!("{root}: {}", group(artifact, &format!("{root}/")))));
    }
    for number in 0.. {
        let below = format!("static.in/{number}/");
        if !manifest.members.iter().any(|member| member.path.starts_with(&below)) {
            break;
        }
        rows.push(row("static", format!("static.in/{number}: {}", group(artifact, &below))));
    }
    let tags: BTreeSet<&str> = manifest
        .targets
        .iter()
        .filter_map(|target| target.bytecode.as_ref())
        .map(|bytecode| bytecode.cache_tag.as_str())
        .collect();
    for tag in tags {
        let packs = group(artifact, &format!(".wheelbarrow/bytecode/{tag}/"));
        rows.push(row("bytecode", format!("{tag}: {packs}")));
    }
    for member in manifest.members.iter().filter(|member| member.path.starts_with(NATIVE)) {
        let machine = member.path.rsplit('/').next().unwrap_or_default();
        rows.push(row("installer", format!("{machine}, {}", bytes(member.size))));
    }
    rows.push(row("environment", environment(&manifest.environment)));
    for Allowed { rule, name, reason } in &manifest.allowed {
        let reason = reason.as_deref().unwrap_or("no reason given");
        rows.push(row("allowed", format!("{rule}:{name}, {reason}")));
    }
    table(&[Align::Left, Align::Left], &rows)
}

fn row(what: &str, text: String) -> Vec<String> {
    vec![what.to_owned(), text]
}

/// `x86-64-v3; glibc 2.28; libz.so.1`
fn needs(needs: &Needs) -> Option<String> {
    let glibc = needs.glibc.as_ref().map(|version| format!("glibc {version}"));
    let libraries = (!needs.libraries.is_empty()).then(|| needs.libraries.join(", "));
    let cpu = needs.cpu.map(|cpu| cpu.to_string());
    let parts: Vec<_> = cpu.into_iter().chain(glibc).chain(libraries).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Files below a directory: how many, and their size unpacked.
fn group(artifact: &Artifact, below: &str) -> String {
    let members: Vec<_> =
        artifact.manifest().members.iter().filter(|member| member.path.starts_with(below)).collect();
    let size = members.iter().map(|member| member.size).sum();
    format!("{}, {}", count(members.len(), "file"), bytes(size))
}

fn environment(rules: &EnvironmentRules) -> String {
    let wins = match rules.precedence {
        Precedence::File => "environment.json wins over the process",
        Precedence::Process => "the process wins over environment.json",
    };
    let private = if rules.private { "; others may not read the file" } else { "" };
    match rules.required.as_slice() {
        [] => format!("{wins}{private}"),
        required => format!("{wins}{private}; required: {}", required.join(", ")),
    }
}

/// The largest first.
fn wheels(manifest: &Manifest) -> String {
    let members = manifest.members_by_path();
    let size = |path: &str| members.get(path).map_or(0, |member| member.size);
    let mut wheels: Vec<_> = manifest.wheels.iter().collect();
    wheels.sort_by_key(|wheel| (std::cmp::Reverse(size(&wheel.path)), &wheel.path));
    let several = manifest.targets.len() > 1;
    let mut rows = vec![["SIZE", "NAME", "VERSION", "PYTHON", ""].map(str::to_owned).to_vec()];
    for wheel in wheels {
        let pythons = manifest
            .targets
            .iter()
            .filter(|target| target.wheels.contains(&wheel.path) || target.pip == wheel.path);
        let pythons: Vec<_> = pythons.map(|target| target.python.as_str()).collect();
        let all = pythons.len() == manifest.targets.len();
        let notes = [
            wheel.built.then_some("built from source"),
            wheel.path.starts_with("bootstrap_wheels/").then_some("for the virtualenv"),
        ];
        rows.push(vec![
            bytes(size(&wheel.path)),
            wheel.name.clone(),
            wheel.version.clone(),
            if all && several { "all".to_owned() } else { pythons.join(", ") },
            notes.into_iter().flatten().collect::<Vec<_>>().join(", "),
        ]);
    }
    table(&[Align::Right, Align::Left, Align::Left, Align::Left, Align::Left], &rows)
}

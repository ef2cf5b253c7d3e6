//! `wheelbarrow inspect ARTIFACT`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wheelbarrow_artifact::manifest::{
    Allowed, EnvironmentRules, INTERPRETER, Manifest, Member, NATIVE, Needs, Precedence,
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

/// Bytes of an SBOM that a page is made of. As values of JSON, other text could take sixteen times as much memory.
const LARGEST_SBOM: u64 = 8 << 20;

fn page(artifact: &Artifact, printer: &Printer) -> CommandResult<String> {
    let sbom = match artifact.archive().find(sbom::PATH) {
        Some(entry) if entry.size <= LARGEST_SBOM => {
            serde_json::from_slice(&artifact.read_member(entry, LARGEST_SBOM)?).ok()
        }
        _ => None,
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
        let files = group(manifest, &format!("{INTERPRETER}/"));
        rows.push(row("brings", format!("Python {} for {}: {files}", own.version, own.machine)));
    }
    let code = &manifest.project.directory;
    let below = format!("{code}/");
    rows.push(row(
        "code",
        format!("{code}: {}; {} is on sys.path", group(manifest, &below), manifest.project.import_path),
    ));
    if let Some(root) = &manifest.project.static_root {
        rows.push(row("collected", format!("{root}: {}", group(manifest, &format!("{root}/")))));
    }
    let groups = groups_in(manifest, "static.in/");
    for number in 0.. {
        let Some(group) = groups.get(number.to_string().as_str()) else { break };
        rows.push(row("static", format!("static.in/{number}: {group}")));
    }
    let tags: BTreeSet<&str> = manifest
        .targets
        .iter()
        .filter_map(|target| target.bytecode.as_ref())
        .map(|bytecode| bytecode.cache_tag.as_str())
        .collect();
    let groups = groups_in(manifest, ".wheelbarrow/bytecode/");
    for tag in tags {
        let packs = groups.get(tag).copied().unwrap_or_default();
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Group {
    files: usize,
    size: u64,
}

impl Group {
    fn add(&mut self, member: &Member) {
        self.files += 1;
        self.size += member.size;
    }
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, {}", count(self.files, "file"), bytes(self.size))
    }
}

fn group(manifest: &Manifest, below: &str) -> Group {
    let mut group = Group::default();
    let members = manifest.members.iter().filter(|member| member.path.starts_with(below));
    members.for_each(|member| group.add(member));
    group
}

/// The directories in `above`, by their names. The members are passed once for all of them.
fn groups_in<'m>(manifest: &'m Manifest, above: &str) -> BTreeMap<&'m str, Group> {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for member in &manifest.members {
        let below = member.path.strip_prefix(above).and_then(|below| below.split_once('/'));
        if let Some((directory, _)) = below {
            groups.entry(directory).or_default().add(member);
        }
    }
    groups
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
    let targets = manifest.targets_of_wheels();
    let mut rows = vec![["SIZE", "NAME", "VERSION", "PYTHON", ""].map(str::to_owned).to_vec()];
    for wheel in wheels {
        let of_wheel = targets.get(&*wheel.path).into_iter().flatten();
        let pythons: Vec<_> = of_wheel.map(|target| target.python.as_str()).collect();
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

#[cfg(test)]
mod tests {
    use wheelbarrow_artifact::manifest::{MemberKind, Project, Sha256};

    use super::*;

    #[test]
    fn directories_are_summed_in_one_pass() {
        let digest = Sha256([0; 32]);
        let project = Project {
            directory: "site".to_owned(),
            import_path: "site".to_owned(),
            static_root: None,
            digest,
        };
        let mut manifest = Manifest::of_project("site", "wheelbarrow", project);
        let paths =
            ["static.in/0/a", "static.in/1/a", "static.in/1/b/c", "static.in/file", "site/static.in/2/a"];
        manifest.members = paths
            .into_iter()
            .map(|path| Member { path: path.to_owned(), size: 5, sha256: digest, kind: MemberKind::File })
            .collect();
        let groups = groups_in(&manifest, "static.in/");
        let group = |files, size| Group { files, size };
        assert_eq!(groups, BTreeMap::from([("0", group(1, 5)), ("1", group(2, 10))]));
        assert_eq!(groups["1"].to_string(), "2 files, 10 B");
    }
}

//! The page of the differences between two artifacts.

use serde_json::Value;
use wheelbarrow_artifact::manifest::Needs;
use wheelbarrow_build::difference::{Change, Difference, Side, Versions};

use super::artifact::needs;
use super::html::Html;
use super::parts::{Column, facts, page as whole, section, table};
use crate::text::bytes;

use Column::{Number, Text};

pub(crate) fn page(difference: &Difference) -> String {
    let Difference { old, new, .. } = difference;
    let title = format!("{} from {} to {}", new.name, version(old), version(new));
    let sections = [
        overview(difference),
        section("Distributions", distributions(difference)),
        section("Settings", settings(difference)),
        section("Targets and what they need", targets(difference)),
        section("What was allowed at the build", allowed(difference)),
        section("Code and static files", files(difference)),
    ];
    whole(&title, sections)
}

pub(crate) fn version(side: &Side) -> &str {
    side.version.as_deref().unwrap_or("no version")
}

pub(crate) fn change(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Upgraded => "upgraded",
        Change::Downgraded => "downgraded",
        Change::Changed => "changed",
    }
}

/// `+1.2 MB`, `-3.0 kB`; nothing where both are the same.
pub(crate) fn growth(old: u64, new: u64) -> String {
    match new.cmp(&old) {
        std::cmp::Ordering::Equal => String::new(),
        std::cmp::Ordering::Greater => format!("+{}", bytes(new - old)),
        std::cmp::Ordering::Less => format!("-{}", bytes(old - new)),
    }
}

pub(crate) fn versions(side: Option<&Versions>) -> String {
    side.map(|side| side.versions.join(", ")).unwrap_or_default()
}

/// Of an optional value of a setting, as in JSON.
pub(crate) fn value(value: Option<&Value>) -> String {
    value.map(Value::to_string).unwrap_or_default()
}

fn overview(difference: &Difference) -> Html {
    let Difference { old, new, thin_bytes, .. } = difference;
    let side = |side: &Side| format!("{}, {} {}, {}", side.path, side.name, version(side), bytes(side.bytes));
    facts([
        ("old", side(old)),
        ("new", format!("{} {}", side(new), growth(old.bytes, new.bytes)).trim_end().to_owned()),
        ("thin", format!("about {} for a host that has the old one", bytes(*thin_bytes))),
    ])
}

/// A table, or that there is nothing.
fn rows(columns: &[Column], rows: Vec<Vec<Html>>) -> Html {
    if rows.is_empty() { Html::tag("p", "No change.") } else { table(columns, rows) }
}

fn grown(old: u64, new: u64) -> Html {
    let class = if new < old { "less" } else { "more" };
    Html::element("span", &[("class", class)], Html::text(growth(old, new)))
}

fn distributions(difference: &Difference) -> Html {
    let row = |distribution: &wheelbarrow_build::difference::Distribution| {
        let size = |side: &Option<Versions>| side.as_ref().map_or(0, |side| side.bytes);
        let (old, new) = (size(&distribution.old), size(&distribution.new));
        vec![
            Html::text(&distribution.name),
            Html::text(change(distribution.change)),
            Html::text(versions(distribution.old.as_ref())),
            Html::text(versions(distribution.new.as_ref())),
            Html::text(if new == 0 { String::new() } else { bytes(new) }),
            grown(old, new),
        ]
    };
    let columns = [
        Text("distribution"),
        Text("change"),
        Text("old"),
        Text("new"),
        Number("size"),
        Number("difference"),
    ];
    rows(&columns, difference.distributions.iter().map(row).collect())
}

fn settings(difference: &Difference) -> Html {
    let row = |setting: &wheelbarrow_build::difference::Setting| {
        let [old, new] = [&setting.old, &setting.new].map(|side| value(side.as_ref()));
        [setting.key.clone(), old, new].map(Html::text).to_vec()
    };
    rows(&["setting", "old", "new"].map(Text), difference.settings.iter().map(row).collect())
}

fn targets(difference: &Difference) -> Html {
    let row = |target: &wheelbarrow_build::difference::Target| {
        let [old, new] = [&target.old, &target.new].map(|side: &Option<Needs>| side.as_ref().map(needs));
        let text = |side: Option<String>| Html::text(side.unwrap_or_default());
        vec![Html::text(&target.target), Html::text(change(target.change)), text(old), text(new)]
    };
    rows(&["target", "change", "needed", "needs now"].map(Text), difference.targets.iter().map(row).collect())
}

fn allowed(difference: &Difference) -> Html {
    let row = |allowance: &wheelbarrow_build::difference::Allowance| {
        let allowed = &allowance.allowed;
        let reason = allowed.reason.as_deref().unwrap_or("no reason given");
        [change(allowance.change), &allowed.rule, &allowed.name, reason].map(Html::text).to_vec()
    };
    rows(&["change", "rule", "name", "reason"].map(Text), difference.allowed.iter().map(row).collect())
}

fn files(difference: &Difference) -> Html {
    let row = |file: &wheelbarrow_build::difference::File| {
        let (old, new) = (file.old.unwrap_or(0), file.new.unwrap_or(0));
        vec![
            Html::text(&file.path),
            Html::text(change(file.change)),
            Html::text(file.new.map(bytes).unwrap_or_default()),
            grown(old, new),
        ]
    };
    let columns = [Text("file"), Text("change"), Number("size"), Number("difference")];
    rows(&columns, difference.files.iter().map(row).collect())
}

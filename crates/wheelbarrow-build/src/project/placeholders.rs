//! Files that stand for others, which are not packed: pointers of Git LFS, and translations that nobody compiled or packed.

use crate::project::ProjectFile;

/// How a pointer begins (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
pub(super) const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
/// How many paths a note names.
const NAMED: usize = 3;

/// A note on `paths` that are pointers.
pub(super) fn pointers(paths: &[String]) -> Option<String> {
    let (named, files) = (named(paths)?, if paths.len() == 1 { "a pointer" } else { "pointers" });
    Some(format!("packed as {files} of Git LFS, without the contents: {named}; `git lfs pull` fetches them"))
}

/// A note on compiled translations that are there, and not among what is packed: their sources alone translate nothing. What
/// `is_meant` names is left out on purpose.
pub(super) fn compiled(found: &[ProjectFile], is_meant: &dyn Fn(&str) -> bool) -> Option<String> {
    let has = |path: &str| found.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok();
    let lost = |file: &ProjectFile| {
        let compiled = format!("{}.mo", file.path.strip_suffix(".po")?);
        let is_lost = !has(&compiled) && !is_meant(&compiled) && file.source.with_extension("mo").is_file();
        is_lost.then_some(compiled)
    };
    let paths: Vec<String> = found.iter().filter_map(lost).collect();
    let named = named(&paths)?;
    Some(format!(
        "left out compiled translations, which an ignore rule names: {named} (`\"!*.mo\"` in `exclude` keeps them)"
    ))
}

/// None without paths.
fn named(paths: &[String]) -> Option<String> {
    let (first, rest) = paths.split_at(paths.len().min(NAMED));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    (!paths.is_empty()).then(|| first.join(", ") + &more)
}

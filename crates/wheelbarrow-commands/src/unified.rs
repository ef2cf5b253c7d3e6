//! The unified format of differences between two texts, as `diff -u` prints it and `patch` reads it.

/// Lines around a change.
const CONTEXT: usize = 3;
/// Lines of a text that are compared one by one; what is longer differs as a whole.
const MOST: usize = 2000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edit {
    Kept,
    Removed,
    Added,
}

/// Empty for equal texts.
pub(crate) fn unified(from: &str, to: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let [old, new] = [old, new].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let edits = edits(&old, &new);
    let mut text = format!("--- {from}\n+++ {to}\n");
    let (mut at, mut places) = (0, (0, 0));
    for (begin, end) in hunks(&edits) {
        places = counted(places, &edits[at..begin]);
        let after = counted(places, &edits[begin..end]);
        text.push_str(&format!("@@ -{} +{} @@\n", range(places.0, after.0), range(places.1, after.1)));
        for edit in &edits[begin..end] {
            let (mark, line) = match edit {
                Edit::Kept => (' ', old[places.0]),
                Edit::Removed => ('-', old[places.0]),
                Edit::Added => ('+', new[places.1]),
            };
            places = counted(places, &[*edit]);
            text.push(mark);
            text.push_str(line);
            if !line.ends_with('\n') {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
        at = end;
    }
    text
}

/// By the longest common subsequence.
fn edits(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let (many, more) = (old.len(), new.len());
    if many > MOST || more > MOST {
        return [vec![Edit::Removed; many], vec![Edit::Added; more]].concat();
    }
    // How many lines the rests have in common.
    let mut common = vec![vec![0_u16; more + 1]; many + 1];
    for one in (0..many).rev() {
        for other in (0..more).rev() {
            common[one][other] = match old[one] == new[other] {
                true => common[one + 1][other + 1] + 1,
                false => common[one + 1][other].max(common[one][other + 1]),
            };
        }
    }
    let (mut one, mut other, mut edits) = (0, 0, Vec::new());
    while one < many || other < more {
        let edit = match () {
            () if one < many && other < more && old[one] == new[other] => Edit::Kept,
            () if other == more || (one < many && common[one + 1][other] >= common[one][other + 1]) => {
                Edit::Removed
            }
            () => Edit::Added,
        };
        (one, other) = counted((one, other), &[edit]);
        edits.push(edit);
    }
    edits
}

/// Where changes are, with their context.
fn hunks(edits: &[Edit]) -> Vec<(usize, usize)> {
    let mut hunks: Vec<(usize, usize)> = Vec::new();
    for (place, _) in edits.iter().enumerate().filter(|(_, edit)| **edit != Edit::Kept) {
        let (begin, end) = (place.saturating_sub(CONTEXT), (place + 1 + CONTEXT).min(edits.len()));
        match hunks.last_mut() {
            Some(last) if last.1 >= begin => last.1 = end,
            _ => hunks.push((begin, end)),
        }
    }
    hunks
}

/// The places in both texts after these edits.
fn counted(places: (usize, usize), edits: &[Edit]) -> (usize, usize) {
    let but = |skipped| edits.iter().filter(|edit| **edit != skipped).count();
    (places.0 + but(Edit::Added), places.1 + but(Edit::Removed))
}

/// Counted from 1; the line before, where there is none.
fn range(begin: usize, end: usize) -> String {
    match end - begin {
        0 => format!("{begin},0"),
        1 => format!("{end}"),
        number => format!("{},{number}", begin + 1),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn equal_texts_do_not_differ() {
        assert_eq!(unified("a", "b", "x\n", "x\n"), "");
    }

    #[test]
    fn changes_have_three_lines_around_them() {
        let numbers = |but: &[usize]| -> String {
            (1..=20).filter(|number| !but.contains(number)).map(|number| format!("{number}\n")).collect()
        };
        let text = unified("a", "b", &numbers(&[12]), &numbers(&[2]).replace("20\n", "20"));
        let right = "--- a\n+++ b\n@@ -1,5 +1,4 @@\n 1\n-2\n 3\n 4\n 5\n@@ -9,6 +8,7 @@\n 9\n 10\n 11\n+12\n 13\n 14\n \
                     15\n@@ -16,4 +16,4 @@\n 17\n 18\n 19\n-20\n+20\n\\ No newline at end of file\n";
        assert_eq!(text, right);
    }

    /// What we print is what `patch` needs.
    #[test]
    fn patch_makes_one_text_of_the_other() {
        let texts =
            ["", "a\n", "a", "b\na\n", "a\nb\nc\nd\ne\nf\ng\nh\n", "a\nB\nc\nd\ne\nf\nG\nh", "x\ny\n"];
        for (old, new) in texts.iter().flat_map(|old| texts.iter().map(move |new| (old, new))) {
            let difference = unified("text", "text", old, new);
            if difference.is_empty() {
                assert_eq!(old, new);
                continue;
            }
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("text");
            fs_err::write(&path, old).unwrap();
            let mut patch = Command::new("patch");
            patch.args(["--quiet", "--no-backup-if-mismatch"]).arg(&path).stdin(Stdio::piped());
            let Ok(mut patch) = patch.spawn() else {
                assert!(std::env::var_os("CI").is_none(), "CI has `patch`");
                return;
            };
            patch.stdin.take().unwrap().write_all(difference.as_bytes()).unwrap();
            assert!(patch.wait().unwrap().success(), "{difference}");
            assert_eq!(fs_err::read_to_string(&path).unwrap_or_default(), *new, "{difference}");
        }
    }
}

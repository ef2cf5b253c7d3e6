//! `entry_points.txt`: <https://packaging.python.org/en/latest/specifications/entry-points/>.
//!
//! Only the two groups of scripts are read. Comments are whole lines that begin with `#` or `;`, and
//! everything after a space and `#` or `;` behind an object, since no object can contain these characters.

use std::collections::{HashMap, HashSet};

use crate::Error;
use crate::layout::steers_python;
use crate::text::{is_control, is_dotted, lines, strip};

/// The scripts of a wheel, each group in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPoints {
    pub console: Vec<EntryPoint>,
    pub gui: Vec<EntryPoint>,
}

/// `NAME = MODULE:OBJECT [EXTRAS]`; the extras are dropped, as the specification asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// A file name, with its case.
    pub name: String,
    /// Identifiers with dots between.
    pub module: String,
    /// Identifiers with dots between; a script calls it.
    pub object: String,
}

/// Reads the file. A name that a group has twice counts as it stands last, as in pip.
pub fn parse(text: &str) -> Result<EntryPoints, Error> {
    let mut found = EntryPoints::default();
    let mut places: [HashMap<String, usize>; 2] = Default::default();
    let mut group = "";
    for line in lines(text).map(strip) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            group = strip(name);
            continue;
        }
        let [console, gui] = &mut places;
        let (scripts, places) = match group {
            "console_scripts" => (&mut found.console, console),
            "gui_scripts" => (&mut found.gui, gui),
            _ => continue,
        };
        let entry = parse_line(line).map_err(|reason| Error::EntryPoint { line: line.to_owned(), reason })?;
        match places.get(&entry.name) {
            Some(&place) => scripts[place] = entry,
            None => {
                places.insert(entry.name.clone(), scripts.len());
                scripts.push(entry);
            }
        }
    }
    Ok(found)
}

fn parse_line(line: &str) -> Result<EntryPoint, &'static str> {
    let (name, reference) = line.split_once('=').ok_or("it has no `=`")?;
    let name = strip(name);
    if name.is_empty() || name == "." || name == ".." || name.contains('/') || name.contains(is_control) {
        return Err("its name cannot be the name of a script");
    }
    if steers_python(&format!("bin/{name}")) {
        return Err("a script of its name would change how Python starts");
    }
    let comment = [" #", "\t#", " ;", "\t;"].iter().filter_map(|mark| reference.find(mark)).min();
    let reference = &reference[..comment.unwrap_or(reference.len())];
    let reference = reference.split('[').next().unwrap_or_default();
    let (module, object) = reference.split_once(':').ok_or("a script needs MODULE:OBJECT")?;
    let (module, object) = (strip(module), strip(object));
    if !is_dotted(module) {
        return Err("what stands before the colon is not the name of a module");
    }
    if !is_dotted(object) {
        return Err("what stands after the colon is not the name of an object");
    }
    Ok(EntryPoint { name: name.to_owned(), module: module.to_owned(), object: object.to_owned() })
}

impl EntryPoints {
    /// Of all scripts.
    pub fn names(&self) -> HashSet<&str> {
        self.console.iter().chain(&self.gui).map(|entry| entry.name.as_str()).collect()
    }

    /// Console scripts, then those of windows: on Linux both are written alike. Of two with one name the latter counts, as
    /// in pip, which writes it over the other.
    pub fn iter(&self) -> impl Iterator<Item = &EntryPoint> {
        let names: HashSet<&str> = self.gui.iter().map(|gui| gui.name.as_str()).collect();
        let is_only = move |entry: &&EntryPoint| !names.contains(entry.name.as_str());
        self.console.iter().filter(is_only).chain(&self.gui)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str, module: &str, object: &str) -> EntryPoint {
        EntryPoint { name: name.to_owned(), module: module.to_owned(), object: object.to_owned() }
    }

    fn reason(line: &str) -> String {
        parse(&format!("[console_scripts]\n{line}\n")).unwrap_err().to_string()
    }

    #[test]
    fn only_script_groups_are_read() {
        let text = "\u{feff}# a comment\r\n[ console_scripts ]\r\nCmdName = mod:main\r\n\r\n; another\r\n\
            finder-tags=osx_tags.cmd : git.gud [click,other]\r\nlast = a:b # said\r\nlast = a:c\r\n\
            [gui_scripts]\nwindow= win :run\n[pytest11]\nvenv = pytest_venv\n= nothing\n";
        let found = parse(text).unwrap();
        let console = [
            entry("CmdName", "mod", "main"),
            entry("finder-tags", "osx_tags.cmd", "git.gud"),
            entry("last", "a", "c"),
        ];
        assert_eq!(found.console, console);
        assert_eq!(found.gui, [entry("window", "win", "run")]);
        assert_eq!(found.iter().count(), 4);
        let both = parse("[gui_scripts]\nx = gui:run\n[console_scripts]\nx = console:run\n").unwrap();
        assert_eq!(both.iter().collect::<Vec<_>>(), [&entry("x", "gui", "run")]);
    }

    /// Time is that of the length, whatever the names.
    #[test]
    fn hundreds_of_thousands_are_read_at_once() {
        let lines = |group: &str| {
            (0..200_000).map(|n| format!("s{n}=a:b\n")).fold(format!("[{group}]\n"), |all, line| all + &line)
        };
        let found = parse(&(lines("console_scripts") + &lines("gui_scripts"))).unwrap();
        assert_eq!((found.iter().count(), found.names().len()), (200_000, 200_000));
    }

    #[test]
    fn invalid_script_names_are_refused() {
        insta::assert_snapshot!(reason("run = module"), @"entry_points.txt: `run = module`: a script needs MODULE:OBJECT");
        insta::assert_snapshot!(reason("../run = a:b"), @"entry_points.txt: `../run = a:b`: its name cannot be the name of a script");
        for line in
            ["= a:b", ".. = a:b", "a\0b = a:b", "a/b = a:b", "run", "Python._pth = a:b", "pyvenv.cfg = a:b"]
        {
            reason(line);
        }
        for line in [
            "run = a-b:c",
            "run = a.:c",
            "run = 1a:c",
            "run = a:",
            "run = a:b c",
            "run = a:b()",
            "run = a;b:c",
        ] {
            reason(line);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(\\[(console|gui)_scripts\\]\n)?(\\PC{0,12}[=:\n]){0,8}") {
            for entry in parse(&text).iter().flat_map(EntryPoints::iter) {
                prop_assert!(!entry.name.contains('/') && !entry.name.is_empty());
                prop_assert!(is_dotted(&entry.module) && is_dotted(&entry.object));
            }
        }
    }
}

//! Where the members of a wheel go:
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/#installing-a-wheel-distribution-1-0-py32-none-any-whl>.

use std::collections::BTreeSet;

use crate::order::Inserted;

use crate::Error;
use crate::filename::WheelFilename;
use crate::name;
use crate::text::is_control;

/// A wheel's own directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dist_info: String,
}

/// A directory of the virtualenv, and the path below it: relative, with `/`, without empty, `.` or `..` parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// `lib/pythonX.Y/site-packages`.
    SitePackages(String),
    /// `bin`.
    Scripts(String),
    /// The virtualenv itself.
    Data(String),
    /// `include/site/pythonX.Y/NAME`.
    Headers(String),
}

/// The one `.dist-info` directory at the top of a wheel. It must carry the name of the file; a version that differs is
/// let pass, as pip and uv do.
pub fn find_dist_info<'a>(
    members: impl IntoIterator<Item = &'a str>,
    wheel: &WheelFilename,
) -> Result<String, Error> {
    let tops = members.into_iter().filter_map(|member| member.split('/').next());
    let found: BTreeSet<&str> = tops.filter(|top| top.ends_with(".dist-info")).inserted();
    let mut found = found.into_iter();
    let filename = wheel.to_string();
    let Some(dist_info) = found.next() else { return Err(Error::NoDistInfo { filename }) };
    if let Some(second) = found.next() {
        let found = [dist_info, second].into_iter().chain(found).map(str::to_owned).collect();
        return Err(Error::SeveralDistInfo { filename, found });
    }
    // Old wheels have dashes in the name, and some in the version: any of the splits may be the right one.
    let named = |(dash, _)| name::normalise(&dist_info[..dash]) == wheel.name;
    if !dist_info.match_indices('-').any(named) {
        return Err(Error::OtherDistInfo { filename, found: dist_info.to_owned() });
    }
    Ok(dist_info.to_owned())
}

impl Layout {
    /// With the directory that [`find_dist_info`] found.
    pub fn new(dist_info: &str) -> Self {
        Self { dist_info: dist_info.to_owned() }
    }

    /// The member `file` of the `.dist-info` directory, such as `RECORD`.
    pub fn dist_info_member(&self, file: &str) -> String {
        format!("{}/{file}", self.dist_info)
    }

    /// RECORD, which does not list itself, and its signatures, which RECORD need not list.
    pub fn is_record(&self, member: &str) -> bool {
        matches!(self.file(member), Some("RECORD" | "RECORD.jws" | "RECORD.p7s"))
    }

    /// What an installer writes, not the wheel: RECORD is made anew and its signatures would then be wrong, and how this
    /// install came about is not for the wheel to say.
    pub fn is_of_installer(&self, member: &str) -> bool {
        self.is_record(member)
            || matches!(self.file(member), Some("INSTALLER" | "REQUESTED" | "direct_url.json"))
    }

    /// The path below the `.dist-info` directory.
    fn file<'m>(&self, member: &'m str) -> Option<&'m str> {
        member.strip_prefix(self.dist_info.as_str())?.strip_prefix('/')
    }

    /// Where a member goes. Directory entries (`a/b/`) are for the caller to pass over; here they are refused.
    pub fn destination(&self, member: &str) -> Result<Destination, Error> {
        destination(member)
    }
}

/// Where a member goes. As in pip, every directory at the top that ends in `.data` is one of schemes.
pub fn destination(member: &str) -> Result<Destination, Error> {
    unsafe_path(member).map_err(|reason| Error::Member { member: member.to_owned(), reason })?;
    let Some((_, below)) = member.split_once('/').filter(|(top, _)| top.ends_with(".data")) else {
        return Ok(Destination::SitePackages(member.to_owned()));
    };
    let Some((scheme, path)) = below.split_once('/') else {
        return Err(Error::Member { member: member.to_owned(), reason: "it belongs to no scheme" });
    };
    let path = path.to_owned();
    match scheme {
        "purelib" | "platlib" => Ok(Destination::SitePackages(path)),
        "scripts" if steers_python(&format!("bin/{path}")) => Err(steering(member)),
        "data" if steers_python(&path) => Err(steering(member)),
        "scripts" => Ok(Destination::Scripts(path)),
        "data" => Ok(Destination::Data(path)),
        "headers" => Ok(Destination::Headers(path)),
        _ => Err(Error::Scheme { member: member.to_owned(), scheme: scheme.to_owned() }),
    }
}

/// Whether Python reads the file at `path`, below a virtualenv, when it starts: before its options, so that `-I` and `-S` do not
/// keep it from running what the file names (`Modules/getpath.py` of CPython). File systems may not tell cases apart.
pub fn steers_python(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let name = path.strip_prefix("bin/").unwrap_or(&path);
    ["pyvenv.cfg", "pybuilddir.txt"].contains(&name) || (name.ends_with("._pth") && !name.contains('/'))
}

/// The error of such a file.
pub fn steering(member: &str) -> Error {
    let reason = "it would change how Python starts, whatever its options";
    Error::Member { member: member.to_owned(), reason }
}

/// Refuses a name that leads elsewhere, of a file or, with a `/` at its end, of a directory.
pub fn check_path(member: &str) -> Result<(), Error> {
    let path = member.strip_suffix('/').unwrap_or(member);
    unsafe_path(path).map_err(|reason| Error::Member { member: member.to_owned(), reason })
}

/// Refuses whatever a file system or a reader of zips could take for another place.
fn unsafe_path(member: &str) -> Result<(), &'static str> {
    if member.starts_with('/') {
        return Err("its path is absolute");
    }
    if member.contains('\0') {
        return Err("its path has a NUL");
    }
    if member.contains('\\') {
        return Err("its path has a backslash");
    }
    if member.contains(is_control) {
        return Err("its name has a control character");
    }
    for part in member.split('/') {
        match part {
            "" => return Err("its path has an empty part"),
            "." | ".." => return Err("its path has the part . or .."),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dist_info(filename: &str, members: &[&str]) -> Result<String, String> {
        let wheel = WheelFilename::parse(filename).unwrap();
        find_dist_info(members.iter().copied(), &wheel).map_err(|error| error.to_string())
    }

    fn refusal(member: &str) -> String {
        destination(member).unwrap_err().to_string()
    }

    #[test]
    fn the_dist_info_carries_the_name_of_the_file() {
        let ours = "Zope_Interface-5.4.dist-info";
        for filename in ["zope.interface-5.4-py3-none-any.whl", "zope_interface-6-py3-none-any.whl"] {
            assert_eq!(
                dist_info(filename, &["a.py", &format!("{ours}/WHEEL"), "b/c.dist-info/x"]).unwrap(),
                ours
            );
        }
        let old = "has-dash-1.0-1.dist-info";
        assert_eq!(dist_info("has_dash-1.0-py3-none-any.whl", &[&format!("{old}/WHEEL")]).unwrap(), old);
    }

    #[test]
    fn a_missing_foreign_or_second_dist_info_is_refused() {
        let refusal = |members: &[&str]| dist_info("a-1-py3-none-any.whl", members).unwrap_err();
        insta::assert_snapshot!(refusal(&["a.py", "x/a-1.dist-info/WHEEL"]), @"`a-1-py3-none-any.whl` has no .dist-info directory");
        insta::assert_snapshot!(refusal(&["b-1.dist-info/WHEEL", "a-1.dist-info/WHEEL"]), @"`a-1-py3-none-any.whl` has several .dist-info directories: a-1.dist-info, b-1.dist-info");
        insta::assert_snapshot!(refusal(&["ab-1.dist-info/WHEEL"]), @"`a-1-py3-none-any.whl` has the .dist-info directory of another distribution: `ab-1.dist-info`");
        refusal(&[".dist-info/WHEEL"]);
    }

    #[test]
    fn schemes_lead_to_their_directories() {
        let ok = |member: &str| destination(member).unwrap();
        let text = str::to_owned;
        assert_eq!(ok("a/b.py"), Destination::SitePackages(text("a/b.py")));
        assert_eq!(ok("a-1.data/purelib/a.py"), Destination::SitePackages(text("a.py")));
        assert_eq!(ok("a-1.data/platlib/a/b.so"), Destination::SitePackages(text("a/b.so")));
        assert_eq!(ok("a-1.data/scripts/run"), Destination::Scripts(text("run")));
        assert_eq!(ok("a-1.data/data/etc/a"), Destination::Data(text("etc/a")));
        assert_eq!(ok("a-1.data/headers/a.h"), Destination::Headers(text("a.h")));
        assert_eq!(ok("a/b.data/x"), Destination::SitePackages(text("a/b.data/x")));
    }

    #[test]
    fn files_that_steer_python_are_refused() {
        insta::assert_snapshot!(refusal("a-1.data/data/bin/python._pth"), @"the member `a-1.data/data/bin/python._pth` cannot be installed: it would change how Python starts, whatever its options");
        for name in ["python3.12._pth", "PYTHON._PTH", "pyvenv.cfg", "PyVenv.cfg", "pybuilddir.txt"] {
            refusal(&format!("a-1.data/scripts/{name}"));
            refusal(&format!("a-1.data/data/BIN/{name}"));
            refusal(&format!("a-1.data/data/{name}"));
            for elsewhere in ["", "a/", "a-1.data/scripts/a/", "a-1.data/data/share/", "a-1.data/headers/"] {
                assert!(destination(&format!("{elsewhere}{name}")).is_ok());
            }
        }
        assert!(destination("a-1.data/scripts/python-argcomplete").is_ok());
    }

    #[test]
    fn paths_outside_the_virtualenv_are_refused() {
        insta::assert_snapshot!(refusal("../a.py"), @"the member `../a.py` cannot be installed: its path has the part . or ..");
        insta::assert_snapshot!(refusal("a-1.data/stdlib/a.py"), @"the member `a-1.data/stdlib/a.py` is of the unknown scheme `stdlib`");
        insta::assert_snapshot!(refusal("a-1.data/a.py"), @"the member `a-1.data/a.py` cannot be installed: it belongs to no scheme");
        for bad in
            ["/etc/a", "a//b", "a/./b", "a/", "", "a\\b", "a\0b", "a-1.data/data/../../x", "a-1.data/data//x"]
        {
            refusal(bad);
        }
    }

    #[test]
    fn record_signatures_are_not_installed() {
        let layout = Layout::new("a-1.dist-info");
        assert!(
            ["RECORD", "RECORD.jws", "RECORD.p7s"]
                .iter()
                .all(|file| layout.is_record(&layout.dist_info_member(file)))
        );
        assert!(!layout.is_record("a-1.dist-info/RECORDS") && !layout.is_record("RECORD"));
        assert!(
            layout.is_of_installer("a-1.dist-info/INSTALLER")
                && !layout.is_of_installer("a-1.dist-info/METADATA")
        );
    }

    proptest! {
        #[test]
        fn no_destination_leaves_its_directory(member in "([a.\\\\]{0,3}(\\.data)?/){0,4}(scripts|data|purelib)?/?[a./]{0,5}") {
            if let Ok(Destination::SitePackages(path) | Destination::Scripts(path) | Destination::Data(path) | Destination::Headers(path)) = destination(&member) {
                prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{}", path);
            }
        }
    }
}

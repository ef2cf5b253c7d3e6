//! Where the members of a wheel go:
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/#installing-a-wheel-distribution-1-0-py32-none-any-whl>.

use std::collections::BTreeSet;

use crate::Error;
use crate::filename::WheelFilename;
use crate::name;

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
    let found: BTreeSet<&str> = tops.filter(|top| top.ends_with(".dist-info")).collect();
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

    /// RECORD is written anew, and its signatures would then be wrong.
    pub fn is_record(&self, member: &str) -> bool {
        let file = member.strip_prefix(self.dist_info.as_str()).and_then(|rest| rest.strip_prefix('/'));
        file.is_some_and(|file| matches!(file, "RECORD" | "RECORD.jws" | "RECORD.p7s"))
    }

    /// Where a member goes. Directory entries (`a/b/`) are for the caller to pass over; here they are refused.
    pub fn destination(&self, member: &str) -> Result<Destination, Error> {
        destination(member)
    }
}

/// Where a member goes. As in pip, every directory at the top that ends in `.data` is one of schemes.
pub fn destination(member: &str) -> Result<Destination, Error> {
    check_path(member).map_err(|reason| Error::Member { member: member.to_owned(), reason })?;
    let Some((_, below)) = member.split_once('/').filter(|(top, _)| top.ends_with(".data")) else {
        return Ok(Destination::SitePackages(member.to_owned()));
    };
    let Some((scheme, path)) = below.split_once('/') else {
        return Err(Error::Member { member: member.to_owned(), reason: "it belongs to no scheme" });
    };
    let path = path.to_owned();
    match scheme {
        "purelib" | "platlib" => Ok(Destination::SitePackages(path)),
        "scripts" => Ok(Destination::Scripts(path)),
        "data" => Ok(Destination::Data(path)),
        "headers" => Ok(Destination::Headers(path)),
        _ => Err(Error::Scheme { member: member.to_owned(), scheme: scheme.to_owned() }),
    }
}

/// Refuses whatever a file system or a reader of zips could take for another place.
fn check_path(member: &str) -> Result<(), &'static str> {
    if member.starts_with('/') {
        return Err("its path is absolute");
    }
    if member.contains('\0') {
        return Err("its path has a NUL");
    }
    if member.contains('\\') {
        return Err("its path has a backslash");
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

//! Users and groups by name, from `/etc/passwd` and `/etc/group`: a static program has no other way to look
//! them up. A number is used as it is.

use fs_err as fs;

use crate::ReleaseError;

/// Who owns what a site writes, and runs its commands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Identity {
    /// None to keep the user who deploys.
    pub user: Option<u32>,
    pub group: Option<u32>,
    /// The owner's name; its number if it has none.
    #[serde(skip)]
    pub name: String,
    /// The owner's; `/` where there is none.
    #[serde(skip)]
    pub home: String,
}

impl Identity {
    /// User and group to work as in place of root: none where root deploys for itself, or root does not deploy.
    pub(crate) fn site_user(&self) -> Option<(u32, u32)> {
        let user = self.user.filter(|user| *user != 0 && rustix::process::getuid().is_root())?;
        Some((user, self.group.unwrap_or(user)))
    }
}

/// None where neither an owner nor a group is named.
pub(crate) fn find(owner: Option<&str>, group: Option<&str>) -> Result<Option<Identity>, ReleaseError> {
    if owner.is_none() && group.is_none() {
        return Ok(None);
    }
    let mut identity = Identity { user: None, group: None, name: String::new(), home: "/".to_owned() };
    if let Some(owner) = owner {
        identity.name = owner.to_owned();
        match (user(owner), owner.parse()) {
            (Some(fields), _) => {
                identity.user = fields[2].parse().ok();
                identity.group = fields[3].parse().ok();
                identity.home = fields[5].clone();
            }
            // To the kernel the last number is nobody: it would change no owner.
            (None, Ok(number)) if number != u32::MAX => {
                (identity.user, identity.group) = (Some(number), Some(number))
            }
            (None, _) => return Err(unknown("owner", owner, "user")),
        }
    }
    if let Some(group) = group {
        identity.group = Some(group_number(group).ok_or_else(|| unknown("group", group, "group"))?);
    }
    Ok(Some(identity))
}

/// The number of a group, by its name or as it is.
pub(crate) fn group_number(group: &str) -> Option<u32> {
    let found = lines("/etc/group", 3).into_iter().find(|fields| fields[0] == group);
    let number: Option<u32> = found.map_or_else(|| group.parse().ok(), |fields| fields[2].parse().ok());
    number.filter(|number| *number != u32::MAX)
}

/// Of the groups that nginx and Apache have on Debian and on other systems, the first that `is_here`, else Debian's.
pub(crate) fn proxy_group(is_here: impl Fn(&str) -> bool) -> &'static str {
    let groups = ["www-data", "nginx", "apache"];
    groups.into_iter().find(|group| is_here(group)).unwrap_or(groups[0])
}

/// The user that the site's commands run as, if that is another than the user of this process: root alone can do that.
pub(crate) fn other_user(identity: Option<&Identity>) -> Option<(u32, &Identity)> {
    let identity = identity.filter(|_| rustix::process::getuid().is_root())?;
    Some((identity.user?, identity))
}

/// Who works here, for the journal: who called sudo, or the user of this process, by name where there is one.
pub fn operator() -> String {
    if let Some(name) = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty()) {
        return name;
    }
    own_name()
}

/// The user of this process, by name where there is one.
pub(crate) fn own_name() -> String {
    let number = rustix::process::getuid().as_raw().to_string();
    let user = lines("/etc/passwd", 6).into_iter().find(|fields| fields[2] == number);
    user.map_or(number, |fields| fields[0].clone())
}

fn user(name: &str) -> Option<Vec<String>> {
    lines("/etc/passwd", 6).into_iter().find(|fields| fields[0] == name)
}

/// Lines of at least so many fields; none where the file cannot be read.
fn lines(path: &str, fields: usize) -> Vec<Vec<String>> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let split = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    split.filter(|line| line.len() >= fields).collect()
}

fn unknown(key: &'static str, name: &str, what: &str) -> ReleaseError {
    ReleaseError::Setting { key, reason: format!("there is no {what} `{name}` on this machine") }
}

#[cfg(test)]
mod tests {
    use super::{find, proxy_group};

    #[test]
    fn reserved_user_ids_are_refused() {
        assert_eq!(find(Some("4321"), None).unwrap().unwrap().user, Some(4321));
        for (owner, group) in [(Some("4294967295"), None), (None, Some("4294967295")), (Some("-1"), None)] {
            assert!(find(owner, group).is_err(), "{owner:?} {group:?}");
        }
    }

    #[test]
    fn the_proxy_has_a_group_of_the_host() {
        assert_eq!(proxy_group(|_| true), "www-data");
        assert_eq!(proxy_group(|group| group == "apache"), "apache");
        assert_eq!(proxy_group(|_| false), "www-data");
    }
}

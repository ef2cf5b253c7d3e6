//! What docs/guides/fleet.md shows: the site, and the controller's files.

/// Of the site, by path.
pub(super) const SITE: [(&str, &str); 10] = [
    ("requirements.txt", include_str!("site/requirements.txt")),
    ("wheelbarrow.toml", include_str!("site/wheelbarrow.toml")),
    ("mysite/settings.py", include_str!("site/mysite/settings.py")),
    ("mysite/urls.py", include_str!("site/mysite/urls.py")),
    ("mysite/wsgi.py", include_str!("site/mysite/wsgi.py")),
    ("news/models.py", include_str!("site/news/models.py")),
    ("news/views.py", include_str!("site/news/views.py")),
    ("news/clock.py", include_str!("site/news/clock.py")),
    ("news/worker.py", include_str!("site/news/worker.py")),
    ("news/migrations/0001_article.py", include_str!("site/news/migrations/0001_article.py")),
];
/// Empty ones.
pub(super) const PACKAGES: [&str; 3] =
    ["mysite/__init__.py", "news/__init__.py", "news/migrations/__init__.py"];

/// Of who deploys it.
pub(super) const CONTROLLER: [(&str, &str); 5] = [
    ("ansible.cfg", include_str!("controller/ansible.cfg")),
    ("inventory.yml", include_str!("controller/inventory.yml")),
    ("group_vars/all.yml", include_str!("controller/group_vars/all.yml")),
    ("haproxy.cfg.j2", include_str!("controller/haproxy.cfg.j2")),
    ("site.yml", include_str!("controller/site.yml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What people copy is what was tested.
    #[test]
    fn the_guide_shows_the_files_that_are_tested() {
        let guide =
            fs_err::read_to_string(crate::children::workspace().join("docs/guides/fleet.md")).unwrap();
        for (path, text) in SITE[..3].iter().chain(&CONTROLLER) {
            assert!(
                guide.contains(text.trim_end()),
                "docs/guides/fleet.md does not show {path} as it is tested"
            );
        }
    }
}

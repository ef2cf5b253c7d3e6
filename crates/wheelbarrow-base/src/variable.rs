//! Variables of the environment.

/// The first of `names` that is set to something.
pub fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.trim().is_empty()))
}

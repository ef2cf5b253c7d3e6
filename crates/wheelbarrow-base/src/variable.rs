//! Variables of the environment.

/// The value of the first variable in `names` that is set and not blank.
pub fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.trim().is_empty()))
}

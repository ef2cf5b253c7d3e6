mod settings;
/// Native installers by machine, as the build script made them.
pub(crate) const INSTALLERS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/installers.rs"));
fn main() { let _ = INSTALLERS[0].1.len(); }

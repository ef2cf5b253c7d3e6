//! Stories told through the binary.

mod env;
mod errors;
mod help;
mod init;
mod site;
mod support;

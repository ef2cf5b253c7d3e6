//! How libraries report the progress of long tasks; the binary draws it.

/// Receives the progress of one long task at a time. Called from several threads.
pub trait Progress: Sync {
    /// A task begins: its verb, such as `installing`, and its size in `unit`s.
    fn begin(&self, what: &str, total: u64, unit: Unit);
    /// `amount` more units are done.
    fn advance(&self, amount: u64);
    /// The task is over.
    fn end(&self);
    /// A note for the user, in one line.
    fn note(&self, message: &str);
    /// A note that is printed only with `--verbose`.
    fn detail(&self, _message: &str) {}
    /// A phase of an operation begins.
    fn phase(&self, _name: &str) {}
    /// The phase ends, with or without success.
    fn phase_ended(&self, _name: &str, _milliseconds: u64) {}
    /// A command runs; `line` is the last line of its output. Called repeatedly until `end`.
    fn runs(&self, _command: &str, _line: &str) {}
    /// Whether the user wants to stop. Long tasks check this regularly, and then fail with all changes
    /// undone.
    fn is_cancelled(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Items,
}

/// Prints nothing.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn note(&self, _message: &str) {}
}

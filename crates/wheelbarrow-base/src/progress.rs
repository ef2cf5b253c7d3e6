//! How libraries report what takes long; the binary draws it.

/// Told about one long task at a time. Called from several threads.
pub trait Progress: Sync {
    /// A task begins: what it does, as `installing`, and its size in `unit`s.
    fn begin(&self, what: &str, total: u64, unit: Unit);
    /// So many more units are done.
    fn advance(&self, amount: u64);
    /// The task is over.
    fn end(&self);
    /// Something that a person should know, in one line.
    fn note(&self, message: &str);
    /// The same, for who wants details.
    fn detail(&self, _message: &str) {}
    /// A phase of an operation begins.
    fn phase(&self, _name: &str) {}
    /// It is over, well or not.
    fn phase_ended(&self, _name: &str, _milliseconds: u64) {}
    /// A command runs, and the last line that it printed. Called again and again until `end`.
    fn runs(&self, _command: &str, _line: &str) {}
    /// Whether the person wants it to stop. Long tasks ask now and then, and then fail with everything undone.
    fn is_cancelled(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Items,
}

/// Says nothing.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn note(&self, _message: &str) {}
}

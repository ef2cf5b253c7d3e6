//! Progress on a terminal, for tasks of more than a second; notes everywhere.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wheelbarrow_base::progress::{Progress, Unit};

use crate::printer::Printer;
use crate::text;

/// Shorter tasks are not worth a look.
const QUIET: Duration = Duration::from_secs(1);

/// From one picture to the next.
const STEP: Duration = Duration::from_millis(100);

pub struct Bar {
    printer: Printer,
    task: Mutex<Option<Task>>,
    /// The phase that is under way; empty outside of one.
    phase: Mutex<String>,
    done: AtomicU64,
    /// Whether a signal only asks it to stop.
    interruptible: bool,
}

struct Task {
    what: String,
    total: u64,
    unit: Unit,
    begun: Instant,
    /// When it was last drawn.
    drawn: Option<Instant>,
}

impl Bar {
    pub fn new(printer: &Printer) -> Self {
        Self {
            printer: *printer,
            task: Mutex::new(None),
            phase: Mutex::default(),
            done: AtomicU64::new(0),
            interruptible: false,
        }
    }

    /// For what undoes things when somebody asks for it to stop, by Ctrl-C or a signal.
    pub fn interruptible(printer: &Printer) -> Self {
        wheelbarrow_base::watch_signals();
        let mut bar = Self::new(printer);
        bar.interruptible = true;
        bar
    }

    /// Prints in the place of what is drawn, which is soon drawn again below.
    fn above(&self, print: impl FnOnce()) {
        let Ok(mut task) = self.task.lock() else { return print() };
        if task.as_mut().is_some_and(|task| task.drawn.take().is_some()) {
            self.printer.draw("");
        }
        print();
    }

    /// A line for what has no measure.
    fn show(&self, message: &str) {
        if !self.printer.draws_progress() {
            return;
        }
        let phase = self.phase.lock().map(|phase| phase.clone()).unwrap_or_default();
        let Ok(mut task) = self.task.lock() else { return };
        let task = task.get_or_insert_with(|| Task::new("", 0, Unit::Items));
        let parts: Vec<_> =
            [plain(&phase), message.to_owned()].into_iter().filter(|part| !part.is_empty()).collect();
        task.drawn = Some(Instant::now());
        self.printer.draw(&format!("{:>4}s {}", task.begun.elapsed().as_secs(), parts.join(": ")));
    }
}

impl Drop for Bar {
    /// An error is printed below what is drawn.
    fn drop(&mut self) {
        self.end();
    }
}

impl Task {
    fn new(what: &str, total: u64, unit: Unit) -> Self {
        Self { what: what.to_owned(), total, unit, begun: Instant::now(), drawn: None }
    }

    fn is_due(&self) -> bool {
        self.begun.elapsed() >= QUIET && self.drawn.is_none_or(|drawn| drawn.elapsed() >= STEP)
    }

    /// `      installing [######----] 12.3 MB/20.0 MB`
    fn line(&self, done: u64) -> String {
        const WIDTH: u64 = 30;
        let total = self.total.max(1);
        let full = done.min(total).saturating_mul(WIDTH) / total;
        let mut line = format!("{:>16} [", plain(&self.what));
        line.extend((0..WIDTH).map(|place| if place < full { '#' } else { '-' }));
        let _ = match self.unit {
            Unit::Bytes => write!(line, "] {}/{}", text::bytes(done), text::bytes(self.total)),
            Unit::Items => write!(line, "] {done}/{}", self.total),
        };
        line
    }
}

/// One line without what a terminal obeys.
fn plain(text: &str) -> String {
    let line: String = text.chars().filter(|character| !character.is_control()).collect();
    wheelbarrow_artifact::printable(&line).into_owned()
}

impl Progress for Bar {
    fn begin(&self, what: &str, total: u64, unit: Unit) {
        self.end();
        self.done.store(0, Ordering::Relaxed);
        if !self.printer.draws_progress() {
            return;
        }
        if let Ok(mut task) = self.task.lock() {
            *task = Some(Task::new(what, total, unit));
        }
    }

    fn advance(&self, amount: u64) {
        let done = self.done.fetch_add(amount, Ordering::Relaxed) + amount;
        // Who cannot have the lock leaves the drawing to who has it.
        let Ok(mut task) = self.task.try_lock() else { return };
        if let Some(task) = task.as_mut().filter(|task| task.is_due()) {
            task.drawn = Some(Instant::now());
            self.printer.draw(&task.line(done));
        }
    }

    fn end(&self) {
        let task = self.task.lock().ok().and_then(|mut task| task.take());
        if task.is_some_and(|task| task.drawn.is_some()) {
            self.printer.draw("");
        }
    }

    fn note(&self, message: &str) {
        self.above(|| self.printer.note(message));
    }

    fn runs(&self, command: &str, line: &str) {
        self.show(&match plain(line) {
            line if line.is_empty() => plain(command),
            line => format!("{}: {line}", plain(command)),
        });
    }

    fn detail(&self, message: &str) {
        self.above(|| self.printer.detail(message));
    }

    fn phase(&self, name: &str) {
        self.end();
        if let Ok(mut phase) = self.phase.lock() {
            name.clone_into(&mut phase);
        }
        self.show("");
    }

    fn phase_ended(&self, name: &str, milliseconds: u64) {
        self.end();
        if let Ok(mut phase) = self.phase.lock() {
            phase.clear();
        }
        self.printer.phase(name, milliseconds);
    }

    fn is_cancelled(&self) -> bool {
        self.interruptible && wheelbarrow_base::stopped_by().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_how_much_is_done() {
        let line = |total, done, unit| Task::new("installing", total, unit).line(done);
        let half = format!("      installing [{}{}]", "#".repeat(15), "-".repeat(15));
        assert_eq!(line(2_000_000, 1_000_000, Unit::Bytes), format!("{half} 1.0 MB/2.0 MB"));
        assert_eq!(line(4, 2, Unit::Items), format!("{half} 2/4"));
        let none = format!("      installing [{}] 0/0", "-".repeat(30));
        assert_eq!(line(0, 0, Unit::Items), none);
        assert!(line(3, 9, Unit::Items).ends_with("[##############################] 9/3"));
    }

    #[test]
    fn what_a_command_prints_stays_on_its_line_and_in_its_direction() {
        assert_eq!(plain("a\r\n\x1b[31mb\tü\u{202e}c\u{2067}d"), "a[31mbü\\u202ec\\u2067d");
    }
}

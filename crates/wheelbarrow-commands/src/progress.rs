//! Progress on a terminal, for what takes over a second; notes anywhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wheelbarrow_base::progress::{Progress, Unit};

use crate::printer::Printer;

/// Shorter tasks are not worth a look.
const QUIET: Duration = Duration::from_secs(1);

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
    bar: Option<ProgressBar>,
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

    /// Prints above what is drawn.
    fn above(&self, print: impl FnOnce()) {
        match self.task.lock().ok().as_deref() {
            Some(Some(Task { bar: Some(bar), .. })) => bar.suspend(print),
            _ => print(),
        }
    }

    /// A line for what has no measure.
    fn show(&self, message: &str) {
        if !self.printer.draws_progress() {
            return;
        }
        let phase = self.phase.lock().map(|phase| phase.clone()).unwrap_or_default();
        let Ok(mut task) = self.task.lock() else { return };
        let task = task.get_or_insert_with(|| Task {
            what: String::new(),
            total: 0,
            unit: Unit::Items,
            begun: Instant::now(),
            bar: None,
        });
        let bar = task.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{elapsed:>5} {wide_msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        let parts: Vec<_> =
            [plain(&phase), message.to_owned()].into_iter().filter(|part| !part.is_empty()).collect();
        bar.set_message(parts.join(": "));
        bar.tick();
    }
}

impl Drop for Bar {
    /// An error is printed below what is drawn.
    fn drop(&mut self) {
        self.end();
    }
}

impl Task {
    fn bar(&mut self) -> &ProgressBar {
        self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(self.total), ProgressDrawTarget::stderr());
            let template = match self.unit {
                Unit::Bytes => "{msg:>16} {wide_bar} {decimal_bytes}/{decimal_total_bytes}",
                Unit::Items => "{msg:>16} {wide_bar} {pos}/{len}",
            };
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_message(wheelbarrow_artifact::printable(&self.what).into_owned());
            bar
        })
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
            *task = Some(Task { what: what.to_owned(), total, unit, begun: Instant::now(), bar: None });
        }
    }

    fn advance(&self, amount: u64) {
        let done = self.done.fetch_add(amount, Ordering::Relaxed) + amount;
        // Who cannot have the lock leaves the drawing to who has it.
        let Ok(mut task) = self.task.try_lock() else { return };
        if let Some(task) = task.as_mut().filter(|task| task.begun.elapsed() >= QUIET) {
            task.bar().set_position(done);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.task.lock().ok().and_then(|mut task| task.take()?.bar) {
            bar.finish_and_clear();
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
    fn what_a_command_prints_stays_on_its_line_and_in_its_direction() {
        assert_eq!(plain("a\r\n\x1b[31mb\tü\u{202e}c\u{2067}d"), "a[31mbü\\u202ec\\u2067d");
    }
}

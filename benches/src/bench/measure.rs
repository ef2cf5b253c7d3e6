//! Running contenders in turn, and what to say of them.

use std::fmt;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Commands that do one piece of work, one after the other.
pub(crate) struct Contender {
    name: String,
    commands: Vec<Command>,
    rounds: usize,
    runs: Vec<Run>,
}

#[derive(Clone, Copy)]
struct Run {
    wall: Duration,
    /// Kilobytes.
    memory: i64,
}

pub(crate) struct Table {
    title: String,
    contenders: Vec<Contender>,
}

impl Contender {
    pub(crate) fn new(name: &str, commands: Vec<Command>) -> Self {
        Self { name: name.to_owned(), commands, rounds: usize::MAX, runs: Vec::new() }
    }

    /// For those that take half a minute.
    pub(crate) fn at_most(self, rounds: usize) -> Self {
        Self { rounds, ..self }
    }

    fn median(&self) -> f64 {
        let mut walls: Vec<f64> = self.runs.iter().map(|run| run.wall.as_secs_f64()).collect();
        walls.sort_by(f64::total_cmp);
        let middle = walls.len() / 2;
        if walls.len() % 2 == 1 { walls[middle] } else { (walls[middle - 1] + walls[middle]) / 2.0 }
    }

    fn run(&mut self) -> Result<()> {
        let mut total = Run { wall: Duration::ZERO, memory: 0 };
        for command in &mut self.commands {
            let run = run(command).with_context(|| format!("{}: {command:?}", self.name))?;
            total = Run { wall: total.wall + run.wall, memory: total.memory.max(run.memory) };
        }
        self.runs.push(total);
        Ok(())
    }
}

/// Each round runs each contender once; `fresh` is called before each, outside the measured time.
pub(crate) fn interleave(
    title: &str,
    mut contenders: Vec<Contender>,
    rounds: usize,
    fresh: impl Fn() -> io::Result<()>,
) -> Result<Table> {
    for round in 0..rounds {
        for contender in contenders.iter_mut().filter(|contender| round < contender.rounds) {
            fresh()?;
            eprintln!("{title}: round {} of {rounds}: {}", round + 1, contender.name);
            contender.run()?;
        }
    }
    Ok(Table { title: title.to_owned(), contenders })
}

fn run(command: &mut Command) -> Result<Run> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().context("cannot run")?;
    let mut said = Vec::new();
    io::Read::read_to_end(&mut child.stderr.take().context("no stderr")?, &mut said)?;
    let mut status = 0;
    // SAFETY: a plain struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: our own child, waited for once; both pointers are to locals.
    let waited = unsafe { libc::wait4(i32::try_from(child.id())?, &raw mut status, 0, &raw mut usage) };
    let wall = begun.elapsed();
    if waited < 0 || !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 0 {
        bail!("it failed: {}", String::from_utf8_lossy(&said));
    }
    Ok(Run { wall, memory: usage.ru_maxrss })
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "### {}\n", self.title)?;
        writeln!(out, "| what | median, s | least to most, s | times ours | memory, MB | runs |")?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        let ours = self.contenders.first().map_or(1.0, Contender::median);
        for contender in &self.contenders {
            let walls = contender.runs.iter().map(|run| run.wall.as_secs_f64());
            let (least, most) =
                walls.fold((f64::MAX, 0.0f64), |(least, most), wall| (least.min(wall), most.max(wall)));
            let memory = contender.runs.iter().map(|run| run.memory).max().unwrap_or(0) / 1000;
            let median = contender.median();
            let digits = if median < 0.1 { 3 } else { 2 };
            writeln!(
                out,
                "| {} | {median:.digits$} | {least:.digits$} to {most:.digits$} | {:.2} | {memory} | {} |",
                contender.name,
                median / ours,
                contender.runs.len()
            )?;
        }
        Ok(())
    }
}

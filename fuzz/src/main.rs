//! The stable harness: mutated inputs for every parser, a fixed number of them or for some minutes, on all cores.
//!
//! An input that makes a parser panic, run for over a second or hold over 200 MB is written to `target/fuzz-failures/`, and the run
//! fails. Which inputs are tried depends on the seed alone.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for terminals and logs")]

mod differential;
mod failures;
mod memory;
mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use failures::keep;
use fs_err as fs;
use wheelbarrow_fuzz::{TARGETS, Target};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

const LONGEST: Duration = Duration::from_secs(1);
const MOST_MEMORY: usize = 200 << 20;
/// A thread that works on one input for so long will not come back.
const HUNG: Duration = Duration::from_secs(20);
/// How many executions a thread does before it looks at the clock and at the next target.
const ROUND: u64 = 2_000;

const USAGE: &str = "usage: wheelbarrow-fuzz [--minutes N | --executions N] [--seed N] [--target NAME]... [--compare N] [FILE]...\n\
    --compare N gives N inputs to every reader of environment.json, of artifacts, and of wheels\n\
    FILE is run once, with the one target that is named";

/// What is asked for.
struct Options {
    end: End,
    seed: u64,
    targets: Vec<Target>,
    files: Vec<PathBuf>,
    compare: Option<u64>,
}

#[derive(Clone, Copy)]
enum End {
    /// In all.
    Executions(u64),
    Minutes(u64),
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("error: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // Panics are reported with their input.
    std::panic::set_hook(Box::new(|_| {}));
    let failures = match options.files.as_slice() {
        [] if options.compare.is_some() => compare(&options),
        [] => fuzz(&options),
        files => files.iter().flat_map(|file| replay(&options, file)).collect(),
    };
    for failure in &failures {
        eprintln!("error: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        end: End::Executions(100_000),
        seed: 1,
        targets: Vec::new(),
        files: Vec::new(),
        compare: None,
    };
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            options.files.push(word.into());
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} has no value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} {value}: not a number"));
        match word.as_str() {
            "--minutes" => options.end = End::Minutes(number()?),
            "--executions" => options.end = End::Executions(number()?),
            "--compare" => options.compare = Some(number()?),
            "--seed" => options.seed = number()?,
            "--target" => {
                let found = TARGETS.iter().find(|(name, _)| *name == value);
                options.targets.push(*found.ok_or_else(|| format!("unknown target {value}"))?);
            }
            _ => return Err(format!("unknown flag {word}")),
        }
    }
    if options.targets.is_empty() {
        options.targets = TARGETS.to_vec();
    }
    Ok(options)
}

fn compare(options: &Options) -> Vec<String> {
    let mut corpora = ["environment", "artifact", "wheel"].map(corpus);
    // Artifacts are zips: what once broke a reader of these is read by all.
    corpora[1].extend(corpus("zip"));
    let (differences, done) =
        differential::compare(&corpora, options.seed, options.compare.unwrap_or_default());
    println!("{done} answers of Pythons compared, {} differ", differences.len());
    differences
}

/// One target with its inputs, and what was done with it.
struct Job {
    target: Target,
    corpus: Vec<Vec<u8>>,
    next: AtomicU64,
    memory: AtomicUsize,
    microseconds: AtomicU64,
}

/// What a thread works on.
type Current = Mutex<Option<(Instant, &'static str, Vec<u8>)>>;

fn fuzz(options: &Options) -> Vec<String> {
    let begun = Instant::now();
    let jobs: Vec<Job> = options.targets.iter().map(|target| job(*target)).collect();
    let each = match options.end {
        End::Executions(all) => all.div_ceil(jobs.len() as u64),
        End::Minutes(_) => u64::MAX,
    };
    let until = match options.end {
        End::Executions(_) => None,
        End::Minutes(minutes) => Some(begun + Duration::from_secs(60 * minutes)),
    };
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let current: Vec<Current> = (0..threads).map(|_| Mutex::new(None)).collect();
    let working = AtomicUsize::new(threads);
    std::thread::scope(|scope| {
        for (thread, current) in current.iter().enumerate() {
            let (jobs, failures, working) = (&jobs, &failures, &working);
            scope.spawn(move || {
                let is_over = || until.is_some_and(|until| Instant::now() >= until);
                let mut turn = thread;
                let mut idle = 0;
                while idle < jobs.len() && !is_over() {
                    let job = &jobs[turn % jobs.len()];
                    turn += 1;
                    let first = job.next.fetch_add(ROUND, Ordering::Relaxed);
                    idle = if first >= each { idle + 1 } else { 0 };
                    for number in first..first.saturating_add(ROUND).min(each) {
                        let mut random = mutate::Random::new(options.seed, job.target.0, number);
                        let data = mutate::input(&job.corpus, &mut random);
                        let failed =
                            execute(job, &data, current, &format!("--seed {} number {number}", options.seed));
                        lock(failures).extend(failed);
                    }
                }
                working.fetch_sub(1, Ordering::Relaxed);
            });
        }
        scope.spawn(|| watch(&current, &working));
    });
    report(&jobs, each, begun.elapsed());
    failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut corpus: Vec<Vec<u8>> = paths.iter().filter_map(|path| fs::read(path).ok()).collect();
    assert!(!corpus.is_empty(), "fuzz/corpus/{name} is empty");
    corpus.push(Vec::new());
    corpus
}

fn job(target: Target) -> Job {
    let corpus = corpus(target.0);
    let (next, memory, microseconds) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicU64::new(0));
    Job { target, corpus, next, memory, microseconds }
}

/// Runs one input. What is wrong with it, if anything.
fn execute(job: &Job, data: &[u8], current: &Current, origin: &str) -> Option<String> {
    let (name, function) = job.target;
    let begun = Instant::now();
    *lock(current) = Some((begun, name, data.to_vec()));
    let (outcome, memory) = memory::measured(|| catch_unwind(AssertUnwindSafe(|| function(data))));
    let taken = begun.elapsed();
    lock(current).take();
    job.memory.fetch_max(memory, Ordering::Relaxed);
    let microseconds = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
    job.microseconds.fetch_max(microseconds, Ordering::Relaxed);
    let problem = match outcome {
        Err(panic) => format!("panicked: {}", panic_text(&*panic)),
        Ok(()) if memory > MOST_MEMORY => format!("held {} MB", memory >> 20),
        // Once more: the machine may have been busy.
        Ok(()) if taken > LONGEST && takes_long(function, data) => format!("took {} ms", taken.as_millis()),
        Ok(()) => return None,
    };
    Some(format!("{name} {problem} ({origin}): {}", keep(name, data)))
}

fn takes_long(function: fn(&[u8]), data: &[u8]) -> bool {
    let begun = Instant::now();
    function(data);
    begun.elapsed() > LONGEST
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Ends the process if an input does not come to an end.
fn watch(current: &[Current], working: &AtomicUsize) {
    while working.load(Ordering::Relaxed) > 0 {
        std::thread::sleep(Duration::from_millis(200));
        for thread in current {
            let hung = lock(thread).as_ref().filter(|(begun, ..)| begun.elapsed() > HUNG).cloned();
            if let Some((_, name, data)) = hung {
                eprintln!("error: {name} does not end: {}", keep(name, &data));
                std::process::exit(1);
            }
        }
    }
}

fn report(jobs: &[Job], each: u64, taken: Duration) {
    let mut all = 0;
    for job in jobs {
        let done = job.next.load(Ordering::Relaxed).min(each);
        all += done;
        let memory = job.memory.load(Ordering::Relaxed) >> 10;
        let longest = job.microseconds.load(Ordering::Relaxed);
        println!("{:16} {done:10} executions, at most {memory:7} KB and {longest:7} µs", job.target.0);
    }
    println!("{all} executions in {} s", taken.as_secs());
}

fn replay(options: &Options, file: &Path) -> Vec<String> {
    let Ok(data) = fs::read(file) else { return vec![format!("cannot read {}", file.display())] };
    let current = Mutex::new(None);
    let run = |target: &Target| execute(&job(*target), &data, &current, &file.display().to_string());
    options.targets.iter().filter_map(run).collect()
}

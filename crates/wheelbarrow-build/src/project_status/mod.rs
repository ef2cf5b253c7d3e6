//! The status of the projects whose distributions are packed: archived, deprecated or quarantined.
//! <https://packaging.python.org/en/latest/specifications/project-status-markers/> (PEP 792)
//!
//! Only an index knows the status, which changes after a lock is made, so no lock has it. Indexes are queried
//! while wheels are fetched; an answer is kept for a day. A build never waits long: each page, and all of
//! them together, have limits of time and size, and a build without an answer continues without the status.

mod index;
pub(crate) mod memory;
mod page;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use url::Url;
use wheelbarrow_audit::{ProjectStatus, Statuses};
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_http::{Client, Credentials, PageRequest, redact, without_logins};

use crate::lock::Pylock;
use crate::uv::IndexOptions;
use index::KnownIndexes;
use memory::StatusMemory;

/// For one page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(3);
/// For all pages, from when the first is asked for.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 8;
/// How often cancellation is heeded.
const STEP: Duration = Duration::from_millis(100);

/// Whose status is asked for, and how.
pub(crate) struct StatusRequest<'a> {
    pub(crate) lock: &'a Pylock,
    /// Of the lock's packages, those that are packed.
    pub(crate) names: &'a BTreeSet<&'a str>,
    pub(crate) index: &'a IndexOptions,
    /// Whose uv settings count.
    pub(crate) project: &'a Path,
    pub(crate) credentials: &'a Credentials,
    /// How long a connection may stay silent, if that is less than a page has.
    pub(crate) stall: Duration,
    /// The cache's directory.
    pub(crate) cache: &'a Path,
}

/// A page of a project.
struct Question {
    /// Without its login.
    index: String,
    name: String,
    url: Url,
}

/// What came of a question.
struct Answer {
    index: String,
    name: String,
    result: Result<Option<ProjectStatus>, Failure>,
}

enum Failure {
    /// The index did not answer.
    Silent(String),
    /// It answered, and not with the page.
    Refused(String),
    /// Not asked, since the index failed before.
    Skipped,
}

/// Questions that other threads ask. Dropped, they are forgotten.
pub(crate) struct AskedStatuses {
    known: Statuses,
    memory: StatusMemory,
    /// By index, the projects that are not answered yet.
    pending: BTreeMap<String, BTreeSet<String>>,
    answers: Receiver<Answer>,
    deadline: Instant,
}

/// Begins to ask for what is not in the cache.
pub(crate) fn ask(request: &StatusRequest<'_>) -> AskedStatuses {
    let memory = StatusMemory::new(request.cache, SystemTime::now());
    let (sender, answers) = mpsc::channel();
    let deadline = Instant::now() + TIMEOUT;
    let mut asked =
        AskedStatuses { known: Statuses::new(), memory, pending: BTreeMap::new(), answers, deadline };
    let mut questions = VecDeque::new();
    for question in questions_of(request) {
        let Question { index, name, .. } = &question;
        if let Some(status) = asked.memory.recall(index, name) {
            add(&mut asked.known, name, status);
        } else if !request.index.offline && !asked.memory.is_silent(index) {
            let pending = asked.pending.entry(index.clone()).or_default();
            if pending.insert(name.clone()) {
                questions.push_back(question);
            }
        }
    }
    if !questions.is_empty() {
        let timeout = request.stall.min(PAGE_TIMEOUT);
        let credentials = request.credentials.clone();
        // Not in a scope: nobody waits for a thread whose host is still looked up.
        std::thread::spawn(move || ask_all(questions, timeout, credentials, deadline, &sender));
    }
    asked
}

/// The pages of all projects that come from an index.
fn questions_of(request: &StatusRequest<'_>) -> Vec<Question> {
    if request.index.indexes().none {
        return Vec::new();
    }
    let known = KnownIndexes::of(request.index, request.project);
    let packages = request.lock.packages.iter().filter(|package| request.names.contains(&*package.name));
    let questions = packages.filter_map(|package| {
        let url = known.page(package)?;
        let index = without_logins(url.join("../").ok()?.as_str());
        Some(Question { index, name: package.name.clone(), url })
    });
    questions.collect()
}

/// The worst counts if two indexes have a project of this name.
fn add(statuses: &mut Statuses, name: &str, status: Option<ProjectStatus>) {
    let Some(status) = status else { return };
    let kept = statuses.entry(name.to_owned()).or_insert_with(|| status.clone());
    *kept = status.max(kept.clone());
}

impl AskedStatuses {
    /// The statuses that are known when all questions are answered, or the time is over.
    pub(crate) fn wait(mut self, progress: &dyn Progress) -> Statuses {
        if self.pending.is_empty() {
            return self.known;
        }
        let total = self.pending.values().map(BTreeSet::len).sum::<usize>();
        progress.begin("reading project status", total as u64, Unit::Items);
        let mut failed: BTreeMap<String, (String, bool)> = BTreeMap::new();
        let mut answered = BTreeSet::new();
        while !progress.is_cancelled() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left.min(STEP)) {
                Ok(Answer { index, name, result }) => {
                    progress.advance(1);
                    if let Some(pending) = self.pending.get_mut(&index) {
                        pending.remove(&name);
                    }
                    match result {
                        Ok(status) => {
                            self.memory.keep(&index, &name, status.as_ref());
                            add(&mut self.known, &name, status);
                            answered.insert(index);
                        }
                        Err(Failure::Silent(reason)) => _ = failed.insert(index, (reason, true)),
                        Err(Failure::Refused(reason)) => _ = failed.entry(index).or_insert((reason, false)),
                        Err(Failure::Skipped) => {}
                    }
                }
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
                Err(_) => break,
            }
        }
        progress.end();
        if Instant::now() >= self.deadline {
            let late = self.pending.iter().filter(|(_, names)| !names.is_empty());
            let reason = format!("no answer within {} s", TIMEOUT.as_secs());
            failed.extend(late.map(|(index, _)| (index.clone(), (reason.clone(), true))));
        }
        for (index, (reason, is_silent)) in failed {
            progress.detail(&format!("the status of some projects is not known: {index}: {reason}"));
            if is_silent && !answered.contains(&index) {
                self.memory.keep_silence(&index);
            }
        }
        self.known
    }
}

/// Asks on a few connections. An index that failed is not asked again, unless it has answered too.
fn ask_all(
    questions: VecDeque<Question>,
    timeout: Duration,
    credentials: Credentials,
    deadline: Instant,
    answers: &Sender<Answer>,
) {
    let Ok(client) = Client::new(timeout) else { return };
    let threads = CONNECTIONS.min(questions.len());
    let asker = Arc::new(Asker {
        client,
        credentials,
        timeout,
        deadline,
        questions: Mutex::new(questions),
        indexes: Mutex::default(),
    });
    for _ in 0..threads {
        let (asker, answers) = (Arc::clone(&asker), answers.clone());
        std::thread::spawn(move || asker.run(&answers));
    }
}

struct Asker {
    client: Client,
    credentials: Credentials,
    timeout: Duration,
    deadline: Instant,
    questions: Mutex<VecDeque<Question>>,
    /// The indexes that were asked, and whether each has answered.
    indexes: Mutex<BTreeMap<String, bool>>,
}

impl Asker {
    fn run(&self, answers: &Sender<Answer>) {
        while Instant::now() < self.deadline {
            let next = self.questions.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(Question { index, name, url }) = next else { return };
            let has_failed = self.indexes().get(&index) == Some(&false);
            let result = if has_failed { Err(Failure::Skipped) } else { self.answer(&url) };
            if !has_failed {
                *self.indexes().entry(index.clone()).or_default() |= result.is_ok();
            }
            if answers.send(Answer { index, name, result }).is_err() {
                return;
            }
        }
    }

    fn indexes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, bool>> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, url: &Url) -> Result<Option<ProjectStatus>, Failure> {
        let silent = |error: wheelbarrow_http::HttpError| Failure::Silent(redact(&error.to_string()));
        let (client, credentials) = (&self.client, &self.credentials);
        let request = PageRequest { client, url, credentials, accept: page::ACCEPT, timeout: self.timeout };
        let answer = request.open().map_err(silent)?;
        match answer.status() {
            200 => {}
            // An index without a page of the project has no status of it.
            404 | 406 | 410 => return Ok(None),
            status => return Err(Failure::Refused(format!("HTTP {status}"))),
        }
        let kind = answer.content_type();
        let bytes = answer.read(page::limit(&kind), &|bytes| page::has_head(&kind, bytes)).map_err(silent)?;
        Ok(page::status(&kind, &bytes))
    }
}

//! From a lock to the wheels of every target, each in the cache and compared with its hash.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use serde_json::Value;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_audit::Statuses;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_http::Credentials;
use wheelbarrow_wheel::WheelFilename;

use crate::bootstrap;
use crate::cache::{Cache, CacheEntry};
use crate::container::BuildRooms;
use crate::fetch::{Download, FetchOptions, fetch, fetch_and};
use crate::lock::{Digest, Lock, complete};
use crate::own::OwnDistribution;
use crate::project_status::{self, StatusRequest};
use crate::select::{ChosenDistribution, DistributionSource, select};
use crate::source::{Builder, Checkouts};
use crate::target::BuildTarget;
use crate::uv::{IndexOptions, add_logins};
use crate::{Error, Result};

/// Wheels that are built at the same time; each may take a gigabyte of memory.
const MOST_BUILDS: usize = 4;

/// What [`gather`] needs beside the lock.
#[derive(Clone, Debug)]
pub struct GatherRequest {
    /// The project's directory, whose uv settings count.
    pub project: PathBuf,
    pub targets: Vec<BuildTarget>,
    /// The project's own distribution, if it may be installed.
    pub own: Option<OwnDistribution>,
    pub index: IndexOptions,
    /// The cache's directory, where it is not the usual one.
    pub cache_dir: Option<PathBuf>,
    /// podman or docker, where the person named one.
    pub container_engine: Option<String>,
    /// How to fetch; `offline` and logins are taken from `index` and the lock.
    pub fetch: FetchOptions,
}

/// Wheels for each target, in the order of the request's targets.
#[derive(Clone, Debug)]
pub struct Gathered {
    pub targets: Vec<TargetWheels>,
    /// The normalised name of the project's own distribution, if it is among the wheels.
    pub own: Option<String>,
    /// What indexes report of the projects whose wheels these are.
    pub statuses: Statuses,
}

#[derive(Clone, Debug)]
pub struct TargetWheels {
    pub target: BuildTarget,
    /// Ordered by file name.
    pub wheels: Vec<GatheredWheel>,
    /// Goes into the virtualenv beside them; from no lock.
    pub pip: GatheredWheel,
}

/// A wheel in the cache.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct GatheredWheel {
    pub filename: String,
    pub path: PathBuf,
    pub sha256: Sha256,
    /// Bytes.
    pub size: u64,
    /// Normalised (PEP 503).
    pub name: String,
    /// As in the file name.
    pub version: String,
    /// PEP 610, for what did not come from an index or a local path.
    pub direct_url: Option<Value>,
    /// Made from a source, so that its hash is in no lock.
    pub built: bool,
}

impl GatheredWheel {
    pub(crate) fn new(filename: &WheelFilename, entry: CacheEntry) -> Self {
        Self {
            filename: filename.to_string(),
            path: entry.path,
            sha256: entry.sha256,
            size: entry.size,
            name: filename.name.clone(),
            version: filename.version_text.clone(),
            direct_url: None,
            built: false,
        }
    }
}

/// Fetches. While the network is waited for, wheels that came are taken apart for the audit, one at a time; when the
/// last has come, those that are left are the audit's own, which does several.
fn fetch_and_verify(
    cache: &Cache,
    downloads: &[Download],
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Vec<CacheEntry>> {
    let fetched = AtomicBool::new(false);
    let (arrived, waiting) = mpsc::channel::<Download>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for download in waiting {
                if fetched.load(Ordering::Relaxed) {
                    break;
                }
                if let Ok(Some(entry)) = cache.get(download.sha256) {
                    let root = cache.root();
                    wheelbarrow_audit::read_ahead(&download.filename, &entry.path, entry.sha256, root);
                }
            }
        });
        let tell = |download: &Download| {
            if download.filename.ends_with(".whl") {
                let _ = arrived.send(download.clone());
            }
        };
        let entries = fetch_and(cache, downloads, options, progress, &tell);
        fetched.store(true, Ordering::Relaxed);
        // Ends the other thread, which may have nothing to do.
        drop(arrived);
        entries
    })
}

/// Selects for every target, fetches everything at once, then builds what has no wheel.
pub fn gather(lock: &Lock, request: &GatherRequest, progress: &dyn Progress) -> Result<Gathered> {
    let cache = Cache::open(request.cache_dir.as_deref())?;
    let credentials = credentials(lock, request);
    let options = FetchOptions {
        offline: request.index.offline,
        directories: request.index.indexes().directories(),
        credentials: credentials.clone(),
        ..request.fetch.clone()
    };
    let completed = complete(lock, &request.targets, &cache, &options, progress)?;
    let lock = &*completed;
    let mut chosen = request
        .targets
        .iter()
        .map(|target| select(lock, target))
        .collect::<Result<Vec<Vec<ChosenDistribution>>>>()?;
    let names: BTreeSet<&str> = chosen.iter().flatten().map(|one| one.name.as_str()).collect();
    let asked = project_status::ask(&StatusRequest {
        lock: &lock.pylock,
        names: &names,
        index: &request.index,
        project: &request.project,
        credentials: &credentials,
        stall: options.patience.stall,
        cache: cache.root(),
    });
    if let Some(own) = &request.own {
        chosen.iter_mut().for_each(|chosen| own.put_among(chosen));
    }
    let own = chosen.iter().flatten().find(|one| matches!(one.source, DistributionSource::Project(_)));
    let own = own.map(|own| own.name.clone());
    let downloads: Vec<Download> =
        chosen.iter().flatten().filter_map(ChosenDistribution::download).cloned().collect();
    let builder = Builder {
        cache: &cache,
        project: &request.project,
        index: &request.index,
        fetch: &request.fetch,
        credentials: &credentials,
        engine: request.container_engine.as_deref(),
        rooms: BuildRooms::default(),
        stop: AtomicBool::new(false),
        checkouts: Checkouts::default(),
        progress,
    };
    let by_target: Vec<_> = request.targets.iter().zip(chosen.iter().map(Vec::as_slice)).collect();
    builder.check_out(&by_target)?;
    // uv looks for pip while the wheels come.
    let (entries, pips) = std::thread::scope(|scope| {
        let pips =
            scope.spawn(|| bootstrap::downloads(&request.targets, &request.project, &cache, &request.index));
        let entries = fetch_and_verify(&cache, &downloads, &options, progress);
        (entries, pips.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let pips = pips.and_then(|pips| Ok((fetch(&cache, &pips, &options, progress)?, pips)));
    let (mut entries, (of_pip, pips)) = both(entries, pips)?;
    entries.extend(of_pip);
    let entries = entries.into_iter().map(|entry| (entry.sha256, entry)).collect();
    let gatherer = Gatherer { entries, builder };
    let wheels = gatherer.wheels(&by_target)?;
    let targets = request.targets.iter().zip(wheels).zip(&pips).map(|((target, wheels), pip)| {
        let pip = fetched_wheel(pip, gatherer.entry(pip)?)?;
        Ok(TargetWheels { target: target.clone(), wheels, pip })
    });
    let targets = targets.collect::<Result<_>>()?;
    Ok(Gathered { targets, own, statuses: asked.wait(progress) })
}

/// What is lacking offline is told of both.
fn both<A, B>(one: Result<A>, other: Result<B>) -> Result<(A, B)> {
    match (one, other) {
        (Err(Error::Offline { missing }), Err(Error::Offline { missing: more })) => {
            Err(Error::Offline { missing: [missing, more].concat() })
        }
        (one, other) => Ok((one?, other?)),
    }
}

fn credentials(lock: &Lock, request: &GatherRequest) -> Credentials {
    let indexes = request.index.indexes();
    let mut credentials = Credentials::collect(indexes.urls());
    credentials.extend(&lock.credentials);
    add_logins(&mut credentials, &request.project);
    credentials.hide();
    credentials
}

struct Gatherer<'a> {
    entries: BTreeMap<Sha256, CacheEntry>,
    builder: Builder<'a>,
}

impl Gatherer<'_> {
    /// The wheels of each target, in their order. Several are built at once: a compiler seldom uses more than one core.
    fn wheels(&self, chosen: &[(&BuildTarget, &[ChosenDistribution])]) -> Result<Vec<Vec<GatheredWheel>>> {
        let jobs: Vec<(usize, &BuildTarget, &ChosenDistribution)> = chosen
            .iter()
            .enumerate()
            .flat_map(|(number, (target, chosen))| chosen.iter().map(move |one| (number, *target, one)))
            .collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_BUILDS);
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let work = || {
            let mut done = Vec::new();
            while let Some((number, target, chosen)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.wheel(target, chosen) {
                    Ok(wheel) => done.push((*number, wheel)),
                    Err(error) => {
                        // Those that this one ends come later.
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        self.builder.stop.store(true, Ordering::Relaxed);
                        next.store(usize::MAX / 2, Ordering::Relaxed);
                    }
                }
            }
            done
        };
        let done: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let done = workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            done.collect()
        });
        let mut targets = vec![Vec::new(); chosen.len()];
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        for (number, wheel) in done {
            targets[number].push(wheel);
        }
        for wheels in &mut targets {
            wheels.sort_by(|one: &GatheredWheel, other| one.filename.cmp(&other.filename));
        }
        Ok(targets)
    }

    fn wheel(&self, target: &BuildTarget, chosen: &ChosenDistribution) -> Result<GatheredWheel> {
        let archive = match chosen.download() {
            Some(download) => {
                let entry = self.entry(download)?;
                check_required(chosen, download, &entry)?;
                Some(entry)
            }
            None => None,
        };
        let mut wheel = match (&chosen.source, archive) {
            (DistributionSource::Wheel(download), Some(entry)) => fetched_wheel(download, entry)?,
            (_, archive) => {
                let built = self.builder.wheel(chosen, archive.as_ref(), target)?;
                let wheel = GatheredWheel::new(&built.filename, built.entry);
                GatheredWheel { built: true, ..wheel }
            }
        };
        wheel.direct_url.clone_from(&chosen.direct_url);
        Ok(wheel)
    }

    fn entry(&self, download: &Download) -> Result<CacheEntry> {
        let gone = || Error::Offline { missing: vec![download.filename.clone()] };
        self.entries.get(&download.sha256).cloned().ok_or_else(gone)
    }
}

fn fetched_wheel(download: &Download, entry: CacheEntry) -> Result<GatheredWheel> {
    let broken = |error: wheelbarrow_wheel::Error| Error::Lock {
        path: PathBuf::from(&download.filename),
        reason: error.to_string(),
    };
    Ok(GatheredWheel::new(&WheelFilename::parse(&download.filename).map_err(broken)?, entry))
}

/// The requirements files' own hashes. SHA-256 was compared when selecting; others are computed now.
fn check_required(chosen: &ChosenDistribution, download: &Download, entry: &CacheEntry) -> Result<()> {
    for digests in &chosen.required {
        if digests.contains(&Digest::from(entry.sha256)) {
            continue;
        }
        let mut got = Vec::new();
        for digest in digests {
            let found = Digest::of_file(digest.algorithm, &entry.path);
            got.push(found.map_err(Error::io("read", &entry.path))?);
        }
        if !digests.iter().any(|digest| got.contains(digest)) {
            got.dedup();
            let texts =
                |digests: Vec<&Digest>| digests.into_iter().map(Digest::to_string).collect::<Vec<_>>();
            let (expected, got) = (texts(digests.iter().collect()), texts(got.iter().collect()).join(", "));
            return Err(Error::Hash { file: download.filename.clone(), expected, got });
        }
    }
    Ok(())
}

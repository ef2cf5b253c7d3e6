//! `cargo xtask servers --deploys N`: many deploys of a site of several services under load, a third of which are broken,
//! each time in another place, and rollbacks. After each all services run what is live, and nothing else.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::host::Host;
use super::place::{FAILS, NO_BEAT, NO_WORKER, SERVICES};
use super::services::{ROOT, SOCKET, Tasks, expect_each, prepare};
use super::{Load, Place};

const RATE: u32 = 100;
const TASKS: u32 = 20;
/// One of so many requests is an upload.
const UPLOADS: u32 = 20;

/// What is wrong with a version, the exit code of its deploy, and a word of its error.
const BROKEN: [(&str, u32, i32, &str); 6] = [
    ("web does not start", FAILS[0], 13, "the service `web`"),
    ("a worker does not start", NO_WORKER, 13, "the service `worker"),
    ("beat does not start", NO_BEAT, 13, "the service `beat`"),
    ("a probe fails", FAILS[1], 13, "the service `web`"),
    ("a required hook fails", FAILS[2], 13, "after_switch"),
    ("a migration fails", FAILS[3], 12, "no such table"),
];

pub(super) fn many(host: &Host<'_>, deploys: u32) -> Result<()> {
    let place = Place::new(host, "services", "owner = 'www-data'\n")?;
    prepare(host)?;
    let [mut live, mut next] = SERVICES;
    place.deploy(live).expect(0, &[])?;
    expect_each(host, &place, live)?;
    let ticks = format!("cat {ROOT}/shared/run/ticks | wc -l");
    let (before, begun) = (number(host, &ticks)?, Instant::now());
    let load = Load::begin_with(host, SOCKET, RATE, UPLOADS)?;
    let mut tasks = Tasks::begin(host, ROOT, TASKS)?;
    let (mut good, mut broken, mut back, mut took) = (0, 0, 0, Vec::new());
    for deploy in 1..=deploys {
        let now = Instant::now();
        let what = if deploy % 3 == 0 {
            let (what, version, code, word) = BROKEN[broken % BROKEN.len()];
            place.deploy(version).expect(code, &[word])?;
            broken += 1;
            what
        } else {
            place.deploy(next).expect(0, &[])?;
            (live, next) = (next, live);
            good += 1;
            took.push(now.elapsed().as_secs_f64());
            "good"
        };
        println!("   {deploy}: {what}: {:.1} s, version {live} is live", now.elapsed().as_secs_f64());
        expect_each(host, &place, live)?;
        // Back to what was live before, which is of the other version.
        if deploy % 5 == 0 {
            let now = Instant::now();
            place.wheelbarrow("rollback").expect(0, &[])?;
            let version = place.status()?["live"]["version"].as_str().unwrap_or_default().to_owned();
            let version: u32 = version.parse().with_context(|| format!("version `{version}`"))?;
            if version != live {
                (live, next) = (next, live);
            }
            back += 1;
            println!("   a rollback: {:.1} s, version {live} is live", now.elapsed().as_secs_f64());
            expect_each(host, &place, live)?;
        }
    }
    let sent = tasks.end()?;
    let met = load.end()?;
    let twice = done_twice(host, sent)?;
    // Each of them is there, whole, and was written once.
    let uploads = number(host, &format!("cat {ROOT}/shared/media/* | sort -u | wc -l"))?;
    let lines = number(host, &format!("cat {ROOT}/shared/media/* | wc -l"))?;
    if uploads != met.uploads || lines != uploads {
        bail!("{} uploads were answered; {uploads} are there, in {lines} lines", met.uploads);
    }
    let seconds = begun.elapsed().as_secs();
    let ticked = number(host, &ticks)? - before;
    // Beat sends one a second, and one more when it starts.
    if ticked > seconds + u64::from(deploys + back) * 2 + 2 {
        bail!("beat has sent {ticked} tasks in {seconds} s");
    }
    // A version that answers 500 is taken back for that, and nothing else fails.
    if met.failures.keys().any(|failure| !failure.contains("500")) {
        bail!("requests failed: {:?}", met.failures);
    }
    let failed: u64 = met.failures.values().sum();
    took.sort_by(f64::total_cmp);
    println!(
        "   {good} good and {broken} broken deploys, {back} rollbacks in {seconds} s: {} requests, {failed} of them answered 500 by \
         the version that does so, the slowest {} ms; {uploads} uploads, none lost; {sent} tasks, none lost, {twice} done twice by Celery; {ticked} of beat's; a good deploy \
         took {:.1} s (median), {:.1} s at most",
        met.requests,
        met.slowest,
        took.get(took.len() / 2).copied().unwrap_or_default(),
        took.last().copied().unwrap_or_default(),
    );
    host.good("systemctl stop mysite.target redis-server mysite-web.socket mysite-timer.timer").map(drop)
}

/// How many tasks were done twice, where none was lost. Celery gives a task back to the queue that has begun in the moment in which
/// its worker is asked to end (celery/celery#3796); for that a deploy is not to blame, but one task of a thousand would be too many.
fn done_twice(host: &Host<'_>, sent: u32) -> Result<u64> {
    let tasks = format!("{ROOT}/shared/tasks");
    host.good(&format!(
        "for attempt in $(seq 300); do test $(ls {tasks} | wc -l) -ge {sent} && exit; sleep 0.2; done; exit 1"
    ))?;
    let (files, lines) =
        (number(host, &format!("ls {tasks} | wc -l"))?, number(host, &format!("cat {tasks}/* | wc -l"))?);
    let again = number(host, &format!("cat {tasks}/* | grep -c \"'redelivered': True\" || true"))?;
    let twice = lines - files;
    if files != u64::from(sent) || twice > again || twice * 1000 > files {
        bail!(
            "{sent} tasks were sent; {files} were done, {twice} of them twice, {again} after Celery gave them back"
        );
    }
    Ok(twice)
}

fn number(host: &Host<'_>, script: &str) -> Result<u64> {
    let said = host.good(script)?;
    said.trim().parse().with_context(|| said)
}

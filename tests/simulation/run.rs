//! Runs seeds, on all cores, and reports.

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::raft::mutants::Mutant;

use super::chronicle::Chronicle;
use super::judge::Failure;
use super::world::World;

/// In a long run, how many seeds to the next line that says how far it is.
const SEEDS_A_REPORT: u64 = 10_000;

/// What to run each seed with.
#[derive(Clone, Copy)]
pub struct Plan {
    pub steps: u64,
    pub mutant: Option<Mutant>,
    /// May the judge look inside the nodes, or only at what they tell and answer?
    pub sees_inside: bool,
    pub aloud: bool,
}

/// How a run ended.
pub struct Outcome {
    pub seed: u64,
    /// Steps, those of the finale included.
    pub steps: u64,
    /// Terms with a leader, processes started, entries committed.
    pub work: [u64; 3],
    pub last_lines: String,
    pub failure: Option<Failure>,
}

thread_local! {
    /// Where and why this thread panicked last.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// One run.
pub fn run(seed: u64, plan: Plan) -> Outcome {
    let mut world = World::new(seed, plan.mutant, plan.sees_inside, Chronicle::new(plan.aloud));
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        while world.steps < plan.steps {
            world.step()?;
        }
        world.finish()
    }));
    let result = result.unwrap_or_else(|payload| Err(Failure { check: "assertion".to_owned(), why: words(&*payload) }));
    Outcome {
        seed,
        steps: world.steps,
        work: [
            world.judge.leaders() as u64,
            world.nodes.iter().map(|node| node.life + u64::from(node.is_up())).sum(),
            world.judge.committed.len() as u64,
        ],
        last_lines: format!("    {:?}\n{}", world.profile, world.chronicle.last_lines()),
        failure: result.err(),
    }
}

fn words(payload: &(dyn Any + Send)) -> String {
    let told = PANIC.with_borrow(String::clone);
    match payload.downcast_ref::<String>() {
        _ if !told.is_empty() => told,
        Some(text) => text.clone(),
        None => "a panic".to_owned(),
    }
}

/// Panics of simulated nodes are results, not output.
fn quieten_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| match thread::current().name() {
        Some("simulation") => PANIC.set(info.to_string()),
        _ => before(info),
    }));
}

/// Does the work for 0, 1, … `count` - 1 on `threads` threads, until it says that it is enough.
pub fn in_parallel(count: u64, threads: usize, work: impl Fn(u64) -> bool + Sync) {
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(quieten_panics);
    let (next, work) = (AtomicU64::new(0), &work);
    thread::scope(|scope| {
        for _ in 0..threads {
            let next = &next;
            let worker = move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count || !work(n) {
                        next.fetch_max(count, Ordering::Relaxed);
                        break;
                    }
                }
            };
            let started = thread::Builder::new().name("simulation".to_owned()).spawn_scoped(scope, worker);
            assert!(started.is_ok(), "no thread for the simulation");
        }
    });
}

/// A number from the environment.
pub fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
}

pub fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    setting("SIM_THREADS").map_or(cores, |threads| threads as usize)
}

/// To people, even while the tests' output is captured.
pub fn say(text: &str) {
    // If nobody listens, there is nobody to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The same seed is the same run, to the last line.
#[test]
fn a_seed_replays() {
    let plan = Plan { steps: 3000, mutant: None, sees_inside: true, aloud: false };
    for seed in 0..10 {
        let (one, two) = (run(seed, plan), run(seed, plan));
        assert_eq!((one.steps, one.work, one.last_lines), (two.steps, two.work, two.last_lines), "seed {seed}");
    }
}

/// Many seeds, each a different cluster in different trouble.
#[test]
fn seeds() {
    let plan = Plan {
        steps: setting("SIM_STEPS").unwrap_or(5_000),
        mutant: None,
        sees_inside: true,
        aloud: std::env::var_os("SIM_LOG").is_some(),
    };
    let (first, count) = match setting("SIM_SEED") {
        Some(seed) => (seed, setting("SIM_SEEDS").unwrap_or(1)),
        None => (0, setting("SIM_SEEDS").unwrap_or(1_000)),
    };
    let began = Instant::now();
    let (seeds, steps) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = [const { AtomicU64::new(0) }; 3];
    let failed: Mutex<Option<Outcome>> = Mutex::new(None);
    in_parallel(count, threads(), |n| {
        let outcome = run(first + n, plan);
        let done = seeds.fetch_add(1, Ordering::Relaxed) + 1;
        if done % SEEDS_A_REPORT == 0 {
            say(&format!("simulation: {done} of {count} seeds, {:.0} s\n", began.elapsed().as_secs_f64()));
        }
        steps.fetch_add(outcome.steps, Ordering::Relaxed);
        for (sum, number) in work.iter().zip(outcome.work) {
            sum.fetch_add(number, Ordering::Relaxed);
        }
        let passed = outcome.failure.is_none();
        if !passed {
            failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(outcome);
        }
        passed
    });
    let seconds = began.elapsed().as_secs_f64();
    let steps = steps.into_inner();
    let (seeds, [leaders, starts, committed]) = (seeds.into_inner(), work.map(AtomicU64::into_inner));
    say(&format!(
        "simulation: {seeds} seeds, {steps} steps, {leaders} leaders, {starts} starts of nodes, {committed} entries \
         committed, in {seconds:.1} s: {:.0} steps a second\n",
        steps as f64 / seconds
    ));
    if let Some(outcome) = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        report(&outcome, plan);
    }
}

fn report(outcome: &Outcome, plan: Plan) {
    let Some(failure) = &outcome.failure else { return };
    let story = &outcome.last_lines;
    let (seed, steps) = (outcome.seed, plan.steps);
    panic!(
        "seed {seed} fails after {} steps: {}\n    {}\n  the last lines of the cluster's log:\n{story}  replay it with\n    \
         SIM_SEED={seed} SIM_STEPS={steps} SIM_LOG=1 cargo test simulation::run::seeds -- --nocapture",
        outcome.steps, failure.check, failure.why
    );
}

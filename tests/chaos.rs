//! Chaos: random nodes are killed with `kill -9` and revived while clients append. At the end all
//! nodes list the same log, every acknowledged string is in it exactly once, and no string twice.
//!
//! `CHAOS_SECONDS` (30) says for how long, `CHAOS_SEED` repeats the choices of a run (not its timing).

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::Lab;
use common::appender::Appender;
use raft_lab::raft::types::EntryId;
use raft_lab::text::random::Random;
use raft_lab::text::unquote;

const CLIENTS: usize = 8;
/// The longest that one append may take. With a majority alive it takes two elections at the most.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client has to tell.
struct Told {
    acknowledged: Vec<(String, EntryId)>,
    retries: u64,
}

fn number_from(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, got {value:?}")))
}

#[test]
fn random_kills_lose_nothing_and_double_nothing() {
    let seconds = number_from("CHAOS_SECONDS").unwrap_or(30);
    let seed = number_from("CHAOS_SEED").unwrap_or_else(|| Random::from_os().next_u64());
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds}");
    let mut random = Random::from_seed(seed);
    let mut lab = Lab::start(3);
    lab.wait_for_leader();

    let nodes: Vec<_> = (1..=3).map(|node| lab.address(node)).collect();
    let over = AtomicBool::new(false);
    let mut kills = 0;
    let told: Vec<Result<Told, String>> = thread::scope(|scope| {
        let client = |number: usize| {
            let (nodes, over) = (nodes.clone(), &over);
            scope.spawn(move || append_until(over, nodes, number))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end && !clients.iter().any(|client| client.is_finished()) {
            kills += one_blow(&mut lab, &mut random);
        }
        (1..=3).filter(|node| !lab.runs(*node)).collect::<Vec<_>>().into_iter().for_each(|node| lab.start_node(node));
        over.store(true, Ordering::Relaxed);
        let ended = clients.into_iter().map(|client| client.join());
        ended.map(|ended| ended.unwrap_or_else(|_| Err("a client panicked".to_string()))).collect()
    });

    let mut acknowledged = Vec::new();
    let mut retries = 0;
    for told in told {
        match told {
            Ok(told) => {
                acknowledged.extend(told.acknowledged);
                retries += told.retries;
            }
            Err(why) => lab.fail(&format!("CHAOS_SEED={seed}: {why}")),
        }
    }
    let log = lab.wait_for_equal_logs();
    compare(&lab, &log, &acknowledged);
    lab.judge();
    let (events, leaders) = (lab.all_events().len(), lab.leaders().len());
    println!(
        "{} appends of {CLIENTS} clients acknowledged, {retries} retries; {kills} kills, {leaders} leaders, newest term {}; \
         {events} events judged",
        acknowledged.len(),
        lab.newest_term(),
    );
    assert!(!acknowledged.is_empty());
}

/// Waits a little, then kills a node, two, or all, and revives some of those that lie dead. Returns how
/// many it killed.
fn one_blow(lab: &mut Lab, random: &mut Random) -> usize {
    thread::sleep(random.duration(Duration::from_millis(50), Duration::from_millis(1500)));
    let mut kills = 0;
    let at_once = match random.below(10) {
        0 => 3,
        1 | 2 => 2,
        _ => 1,
    };
    for _ in 0..at_once {
        let running = lab.running();
        if running.is_empty() {
            break;
        }
        lab.kill(running[random.below(running.len() as u64) as usize]);
        kills += 1;
    }
    // Sometimes at once, sometimes after the others have gone on without it.
    thread::sleep(random.duration(Duration::ZERO, Duration::from_millis(1500)));
    for node in 1..=lab.size() {
        if !lab.runs(node) && random.below(4) > 0 {
            lab.start_node(node);
        }
    }
    kills
}

fn append_until(over: &AtomicBool, nodes: Vec<std::net::SocketAddr>, number: usize) -> Result<Told, String> {
    let mut client = Appender::new(nodes, number);
    let mut acknowledged = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let text = format!("client {number} string {}", acknowledged.len());
        let id = client.append(&text, Instant::now() + PATIENCE)?;
        acknowledged.push((text, id));
    }
    Ok(Told { acknowledged, retries: client.retries })
}

/// The log against what the clients were told.
fn compare(lab: &Lab, log: &[String], acknowledged: &[(String, EntryId)]) {
    let mut places: BTreeMap<String, EntryId> = BTreeMap::new();
    for line in log {
        let Some((id, text)) = line.split_once(' ') else { lab.fail(&format!("no line of a log: {line}")) };
        let parts = id.split_once('@').and_then(|(index, term)| Some((index.parse().ok()?, term.parse().ok()?)));
        let Some((index, term)) = parts else { lab.fail(&format!("no line of a log: {line}")) };
        let text = unquote(text).unwrap_or_else(|error| lab.fail(&error.to_string())).into_owned();
        if let Some(before) = places.insert(text, EntryId::new(index, term)) {
            lab.fail(&format!("twice in the log: {line}, and at {before}"));
        }
    }
    for (text, id) in acknowledged {
        match places.remove(text) {
            Some(place) if place == *id => {}
            place => lab.fail(&format!("{text:?} was acknowledged as {id}, but is at {place:?}")),
        }
    }
    if let Some(text) = places.keys().next() {
        // Every client waits for its last answer.
        lab.fail(&format!("{text:?} is in the log, but nobody was told so"));
    }
}

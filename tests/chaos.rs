//! Chaos: random nodes are killed with `kill -9` and revived while clients append; and once more with faults
//! ordered over the wire: cuts, delays, loss, pauses and crashes. At the end all nodes list the same log, every
//! acknowledged string is in it exactly once, and no string twice.
//!
//! `CHAOS_SECONDS` (30, 20 with faults) says for how long, `CHAOS_SEED` repeats the choices of a run (not its timing).

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
    let mut lab = Lab::start(3);
    let mut kills = 0;
    let revive = |lab: &mut Lab| {
        let dead: Vec<usize> = (1..=3).filter(|node| !lab.runs(*node)).collect();
        dead.into_iter().for_each(|node| lab.start_node(node));
    };
    storm(&mut lab, 30, |lab, random| kills += one_blow(lab, random), revive);
    println!("{kills} kills");
}

#[test]
fn random_faults_lose_nothing_and_double_nothing() {
    let mut lab = Lab::start_with(3, &[("FAULTS", "on")]);
    let mut weather = Weather::new();
    let mut crashes = 0;
    let blow = |lab: &mut Lab, random: &mut Random| crashes += weather.blow(lab, random);
    storm(&mut lab, 20, blow, heal);
    println!("{crashes} crashes; {}", told_faults(&lab));
}

/// Clients append while the blows fall; then all is mended and judged.
fn storm(
    lab: &mut Lab,
    default_seconds: u64,
    mut blow: impl FnMut(&mut Lab, &mut Random),
    mend: impl FnOnce(&mut Lab),
) {
    let seconds = number_from("CHAOS_SECONDS").unwrap_or(default_seconds);
    let seed = number_from("CHAOS_SEED").unwrap_or_else(|| Random::from_os().next_u64());
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds}");
    let mut random = Random::from_seed(seed);
    lab.wait_for_leader();

    let nodes: Vec<_> = (1..=3).map(|node| lab.address(node)).collect();
    let over = AtomicBool::new(false);
    let told: Vec<Result<Told, String>> = thread::scope(|scope| {
        let client = |number: usize| {
            let (nodes, over) = (nodes.clone(), &over);
            scope.spawn(move || append_until(over, nodes, number))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end && !clients.iter().any(|client| client.is_finished()) {
            blow(lab, &mut random);
        }
        mend(lab);
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
    compare(lab, &log, &acknowledged);
    lab.judge();
    let (events, leaders) = (lab.all_events().len(), lab.leaders().len());
    println!(
        "{} appends of {CLIENTS} clients acknowledged, {retries} retries; {leaders} leaders, newest term {}; \
         {events} events judged",
        acknowledged.len(),
        lab.newest_term(),
    );
    assert!(!acknowledged.is_empty());
}

/// What can be ordered of a node, but heal. Each comes as often as the others.
const KINDS: [&str; 9] = ["cut", "cut --from", "cut --to", "delay", "loss", "timeout", "pause", "crash", "crash --for"];

/// Faults in random order. A node that is away by order is left alone until it is back.
struct Weather {
    deck: Vec<&'static str>,
    away: [Instant; 3],
}

impl Weather {
    fn new() -> Weather {
        Weather { deck: Vec::new(), away: [Instant::now(); 3] }
    }

    /// Waits a little, then orders a fault or three, and heals and revives, or not. Returns how many crashed for good.
    fn blow(&mut self, lab: &mut Lab, random: &mut Random) -> usize {
        thread::sleep(random.duration(Duration::from_millis(50), Duration::from_millis(1000)));
        for _ in 0..=random.below(3) {
            let node = 1 + random.below(3) as usize;
            if lab.runs(node) && self.away[node - 1] < Instant::now() {
                let fault = self.fault(node, random);
                order(lab, node, &fault);
            }
        }
        thread::sleep(random.duration(Duration::ZERO, Duration::from_millis(1000)));
        let mut crashed = 0;
        for node in 1..=3 {
            if let Some(status) = lab.ended(node) {
                assert_eq!(status.code(), Some(137), "node {node} has ended, and not by order: {:?}", lab.errors(node));
                crashed += 1;
            }
            if !lab.runs(node) && random.below(4) > 0 {
                lab.start_node(node);
            } else if lab.runs(node) && random.below(3) == 0 && self.away[node - 1] < Instant::now() {
                order(lab, node, "heal");
            }
        }
        crashed
    }

    fn fault(&mut self, node: usize, random: &mut Random) -> String {
        if self.deck.is_empty() {
            self.deck.extend(KINDS);
        }
        let kind = self.deck.swap_remove(random.below(self.deck.len() as u64) as usize);
        let mut peers: Vec<String> = (1..=3).filter(|peer| *peer != node).map(|peer| peer.to_string()).collect();
        if random.below(2) == 0 {
            peers.remove(random.below(2) as usize);
        }
        let mut millis = |low, high| low + random.below(high - low);
        let away = |lasts: u64| Instant::now() + Duration::from_millis(lasts + 200);
        match kind {
            "delay" => format!("delay {} {}ms", peers[0], millis(5, 600)),
            "loss" => format!("loss {} {}%", peers[0], millis(5, 100)),
            "pause" | "crash --for" => {
                let lasts = millis(50, 2000);
                self.away[node - 1] = away(lasts);
                format!("{kind} {lasts}ms")
            }
            "timeout" | "crash" => kind.to_string(),
            _ => format!("{kind} {}", peers.join(" ")),
        }
    }
}

/// Orders a fault; false if the node is not there: it may have crashed a moment ago, or not be back yet.
fn order(lab: &Lab, node: usize, fault: &str) -> bool {
    let answer = lab.fault(node, fault).unwrap_or_default();
    assert!(answer.is_empty() || answer == "ok fault", "node {node}: {fault}: {answer}");
    !answer.is_empty()
}

/// Revives who lies dead, and waits until all are back and healed.
fn heal(lab: &mut Lab) {
    let deadline = Instant::now() + PATIENCE;
    for node in 1..=3 {
        while !order(lab, node, "heal") {
            lab.ended(node);
            if !lab.runs(node) {
                lab.start_node(node);
            }
            assert!(Instant::now() < deadline, "node {node} does not come back");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// How often the nodes have told of each kind of fault.
fn told_faults(lab: &Lab) -> String {
    let lines: Vec<String> = (1..=3).flat_map(|node| lab.lines_with(node, " FAULT ")).collect();
    let count = |kind: &&str| {
        // `cut 2`, `crash --for 5s`, `crash`: behind the kind comes a number or nothing.
        let is = |line: &&String| {
            let order = line.split_once(" FAULT      ").and_then(|(_, text)| text.split_once(": "));
            let behind = order.and_then(|(order, _)| order.strip_prefix(*kind));
            behind.is_some_and(|rest| rest.is_empty() || rest[1..].starts_with(|first: char| first.is_ascii_digit()))
        };
        format!("{kind} {}", lines.iter().filter(is).count())
    };
    KINDS.iter().chain(&["heal"]).map(count).collect::<Vec<_>>().join(", ")
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

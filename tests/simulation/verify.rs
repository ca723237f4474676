//! What `client verify` would say of these runs: their lines as text, cut at kills, read back by `logs` and judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;

use crate::logs::{Logs, Reader, Verdict, judge};
use crate::raft::event::{Event, Fact};
use crate::raft::mutants::Mutant;
use crate::raft::safety::Property;
use crate::raft::types::EntryId;
use crate::text::random::Random;

use super::chronicle::Chronicle;
use super::run::{in_parallel, say, setting, threads};
use super::world::World;

const SEEDS: u64 = 1000;
const STEPS: u64 = 2000;
/// Of each mutant, and how long each.
const MUTANT_SEEDS: u64 = 120;
const MUTANT_STEPS: u64 = 5000;

/// Those whose harm shows in the lines of these runs. The others answer clients wrongly, make no progress, or are
/// seldom in the way of anything.
const SEEN: [Mutant; 10] = [
    Mutant::DoubleVoteRestart,
    Mutant::StaleGrant,
    Mutant::UpToDateByLength,
    Mutant::StaleShortAppend,
    Mutant::DeposedSilent,
    Mutant::Figure8,
    Mutant::FreshTally,
    Mutant::PreVoteIsVote,
    Mutant::AnyLogWins,
    Mutant::PrevNotChecked,
];

/// The lines of a run, and what the judge outside objected to first.
fn played(seed: u64, mutant: Option<Mutant>, steps: u64) -> (Vec<Event>, Option<String>) {
    let mut world = World::new(seed, mutant, false, Chronicle::whole());
    let ended = panic::catch_unwind(AssertUnwindSafe(|| {
        while world.steps < steps {
            world.step()?;
        }
        Ok(())
    }));
    let objection = match ended {
        Ok(checked) => checked.err().map(|failure: super::judge::Failure| failure.check),
        Err(_) => Some("a panic".to_owned()),
    };
    (world.chronicle.told().cloned().collect(), objection)
}

/// A START line of an empty log without the word "new disk", and what the node had told before it.
fn is_empty_start(event: &Event) -> bool {
    matches!(event.fact, Fact::Start { new_disk: false, last: EntryId::ZERO, .. })
}

/// A wiped node that crashed before its first line: the word that its disk is another one was never told, so the
/// lines do contradict each other.
fn lacks_the_word(events: &[Event]) -> bool {
    let mut terms = BTreeMap::new();
    events.iter().any(|event| {
        let before = terms.insert(event.node, event.term).unwrap_or(0);
        is_empty_start(event) && event.term < before
    })
}

/// Each node's log as a file.
fn files(events: &[Event]) -> BTreeMap<u64, Vec<String>> {
    let mut files: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    events.iter().for_each(|event| files.entry(event.node.0).or_default().push(format!("{event}\n")));
    files
}

/// What is lost of it when the node is killed: some of the last lines of a life, and a part of one.
fn cut(lines: Vec<String>, random: &mut Random) -> String {
    let mut text = String::new();
    let mut life: Vec<String> = Vec::new();
    for line in lines.into_iter().map(Some).chain([None]) {
        if line.as_ref().is_none_or(|line| line.contains(" START ")) {
            for _ in 0..random.below(4) {
                // The start of a life stays: without it there would have been none.
                life.truncate(life.len().saturating_sub(1).max(1));
            }
            let whole = life.concat();
            // Nor is the word lost that the disk is another one: what it forgot would look like a contradiction.
            let last = life.last().filter(|line| !line.contains(", new disk\n")).map_or(0, String::len) as u64;
            let mut end = whole.len() - if random.below(2) > 0 { random.below(last + 1) as usize } else { 0 };
            while !whole.is_char_boundary(end) {
                end -= 1;
            }
            text.push_str(&whole[..end]);
            // What a process prints through a pipe gets its end of the line from who reads it.
            text.push_str(if random.below(2) > 0 && !text.ends_with('\n') { "\n" } else { "" });
            life.clear();
        }
        life.extend(line);
    }
    text
}

fn read(files: impl IntoIterator<Item = String>) -> Logs {
    let mut reader = Reader::new();
    for (number, text) in files.into_iter().enumerate() {
        if let Err(why) = reader.read(&format!("{}.log", number + 1), text.as_bytes()) {
            panic!("{why:?}");
        }
    }
    reader.finish()
}

/// The properties that are contradicted, and a report for people.
fn broken(logs: &Logs) -> (BTreeSet<String>, String) {
    let (mut properties, mut report) = (BTreeSet::new(), String::new());
    for (property, verdict) in judge(logs).verdicts {
        if let Verdict::Broken(broken) = verdict {
            properties.insert(property.to_string());
            // Writing to a String cannot fail.
            let _ = writeln!(report, "{property}: {}", broken.why);
            for line in broken.earlier.into_iter().chain([broken.line]) {
                let _ = writeln!(report, "  {} {}", logs.place(logs.lines[line].place), logs.lines[line].event);
            }
        }
    }
    (properties, report)
}

/// Healthy runs pass, whatever a kill has cut off, in a file for each node, or in one as `docker-compose logs` gives it.
#[test]
fn healthy_runs_pass() {
    let (failed, wordless) = (Mutex::new(None), Mutex::new(0));
    let judged = Mutex::new(BTreeMap::<Property, u64>::new());
    let first = setting("SIM_SEED").unwrap_or(0);
    let count = if setting("SIM_SEED").is_some() { 1 } else { setting("SIM_SEEDS").unwrap_or(SEEDS) };
    in_parallel(count, threads(), |n| {
        let seed = first + n;
        let (events, objection) = played(seed, None, STEPS);
        assert_eq!(objection, None, "seed {seed}");
        if lacks_the_word(&events) {
            *wordless.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
            return true;
        }
        let mut random = Random::from_seed(seed);
        let files: Vec<String> = match random.below(4) {
            0 => vec![events.iter().map(|event| format!("{}  | {event}\n", event.node)).collect()],
            _ => files(&events).into_values().map(|lines| cut(lines, &mut random)).collect(),
        };
        let logs = read(files);
        let (properties, report) = broken(&logs);
        let mut judged = judged.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for (property, verdict) in judge(&logs).verdicts {
            if let Verdict::Holds(times) = verdict {
                *judged.entry(property).or_default() += times;
            }
        }
        if !properties.is_empty() {
            failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert((seed, report));
        }
        properties.is_empty()
    });
    let failed = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    assert_eq!(failed, None, "a healthy run is called broken");
    let judged = judged.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let wordless = wordless.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    say(&format!("verify: {count} healthy runs pass, {wordless} left out; judged {judged:?}\n"));
    assert!(wordless * 20 <= count, "{wordless} of {count} runs were left out");
    assert!(count < SEEDS || Property::ALL.iter().all(|property| judged.contains_key(property)), "{judged:?}");
}

/// Wherever the harm of a mutant shows in the lines of a run, their text shows it too, and names the property.
#[test]
fn mutants_are_seen_in_their_text() {
    let (rows, missed) = (Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    in_parallel(Mutant::ALL.len() as u64, threads(), |n| {
        let mutant = Mutant::ALL[n as usize];
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        for seed in 0..MUTANT_SEEDS {
            let (events, objection) = played(seed, Some(mutant), MUTANT_STEPS);
            let (properties, _) = broken(&read(files(&events).into_values().map(|lines| lines.concat())));
            // A START line that ends the log may be half of one, so it is not judged.
            let objection = objection.filter(|_| !events.last().is_some_and(is_empty_start));
            let by_lines =
                objection.filter(|check| Property::ALL.iter().any(|property| property.to_string() == *check));
            if let Some(check) = by_lines.filter(|check| !properties.contains(check)) {
                let mut missed = missed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let last: Vec<String> = events.iter().rev().take(3).map(Event::to_string).collect();
                missed.push(format!("{mutant:?}, seed {seed}: {check}, found {properties:?}\n{}", last.join("\n")));
            }
            properties.into_iter().for_each(|property| *seen.entry(property).or_default() += 1);
        }
        rows.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(mutant, seen);
        true
    });
    let rows = rows.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let missed = missed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut table = format!("mutant                contradicted in how many of {MUTANT_SEEDS} logs\n");
    for (mutant, seen) in &rows {
        let _ = writeln!(table, "{:<22}{seen:?}", format!("{mutant:?}"));
    }
    say(&table);
    assert!(missed.is_empty(), "the text does not show what the lines show:\n{}", missed.join("\n"));
    assert_eq!(rows.len(), Mutant::ALL.len());
    let unseen: Vec<_> = SEEN.into_iter().filter(|mutant| rows[mutant].is_empty()).collect();
    assert!(unseen.is_empty(), "the harm of {unseen:?} shows in no log any more");
}

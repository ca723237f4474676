//! Every bug of `raft::mutants` must be caught. The table says how soon, and by which check: first by a
//! judge who sees inside the nodes, then from their lines and their answers to clients alone.
//! `SIM_MUTANT=Figure8` hunts one bug only.

use std::fmt::Write;
use std::sync::Mutex;

use crate::raft::mutants::Mutant;

use super::run::{Plan, in_parallel, run, say, threads};

/// Seeds within which a bug must be caught.
const SEEDS: u64 = 1000;
const STEPS: u64 = 5000;
/// Seeds for the second look, from outside, which need not catch every bug: some do no harm that a
/// user could see, and that is worth knowing too.
const SEEDS_OUTSIDE: u64 = 500;

/// The first seed that catches the bug, and the check that did.
fn hunt(mutant: Mutant, seeds: u64, sees_inside: bool) -> Option<(u64, String)> {
    let plan = Plan { steps: STEPS, mutant: Some(mutant), sees_inside, aloud: false };
    (0..seeds).find_map(|seed| run(seed, plan).failure.map(|failure| (seed + 1, failure.check)))
}

#[test]
fn every_mutant_is_caught() {
    let mutants: Vec<Mutant> = match std::env::var("SIM_MUTANT") {
        Ok(name) => Mutant::ALL.into_iter().filter(|mutant| format!("{mutant:?}") == name).collect(),
        Err(_) => Mutant::ALL.to_vec(),
    };
    let rows = Mutex::new(Vec::new());
    in_parallel(mutants.len() as u64, threads(), |n| {
        let mutant = mutants[n as usize];
        let views = (hunt(mutant, SEEDS, true), hunt(mutant, SEEDS_OUTSIDE, false));
        rows.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((mutant, views));
        true
    });
    let mut rows = rows.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    rows.sort();
    let tell = |caught: &Option<(u64, String)>| match caught {
        Some((seeds, check)) => format!("{seeds:>4}  {check}"),
        None => "   -  ".to_owned(),
    };
    let mut table =
        String::from("mutant              seeds until caught, and by what       from the lines and answers alone\n");
    for (mutant, (inside, outside)) in &rows {
        let _ = writeln!(table, "{:<20}{:<34}{}", format!("{mutant:?}"), tell(inside), tell(outside));
    }
    say(&table);
    let alive: Vec<_> = rows.iter().filter(|(_, (inside, _))| inside.is_none()).collect();
    assert!(alive.is_empty(), "not caught within {SEEDS} seeds: {alive:?}\n{table}");
}

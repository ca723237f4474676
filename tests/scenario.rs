//! `client scenario`: every scenario is played, with all its claims, and its logs pass `client verify`.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::TempDir;

fn client(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The logs that a scenario has kept.
fn logs(kept: &Path, name: &str, size: usize) -> Vec<String> {
    (1..=size).map(|node| kept.join(name).join(format!("node_{node}.log")).display().to_string()).collect()
}

fn passes(name: &str, size: usize) {
    let kept = TempDir::new();
    let played = client(&["scenario", name, "--keep", &kept.path().display().to_string()]);
    let told = said(&played);
    assert_eq!(played.status.code(), Some(0), "{told}");
    assert_eq!(told.lines().last(), Some(&*format!("PASS {name}")), "{told}");
    // What it tells is one screen wide, and shows real lines of the nodes.
    assert!(told.lines().all(|line| line.chars().count() <= 170), "{told}");
    assert!(told.lines().any(|line| line.contains(" LEADER    STATE ")), "{told}");

    let files = logs(kept.path(), name, size);
    let mut verify = vec!["verify"];
    verify.extend(files.iter().map(String::as_str));
    let verified = client(&verify);
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}

macro_rules! scenarios {
    ($($function:ident $name:literal $size:literal,)*) => {
        const PLAYED: &[&str] = &[$($name),*];
        $(#[test]
        fn $function() {
            passes($name, $size);
        })*
    };
}

scenarios! {
    typical_run "typical-run" 3,
    split_vote "split-vote" 3,
    dead_leader "dead-leader" 3,
    dead_follower "dead-follower" 3,
    leader_election "leader-election" 5,
    log_consistency "log-consistency" 5,
    crash_and_recovery "crash-and-recovery" 3,
    network_partition "network-partition" 5,
    end_to_end "end-to-end" 5,
    overwritten_entry "overwritten-entry" 3,
    two_of_five "two-of-five" 5,
    two_of_five_pre_vote "two-of-five-pre-vote" 5,
    minority_holds_leader "minority-holds-leader" 5,
    minority_holds_leader_pre_vote "minority-holds-leader-pre-vote" 5,
    majority_holds_leader "majority-holds-leader" 5,
    majority_holds_leader_pre_vote "majority-holds-leader-pre-vote" 5,
    one_of_three "one-of-three" 3,
    one_of_three_pre_vote "one-of-three-pre-vote" 3,
    figure8 "figure8" 5,
}

#[test]
fn the_list_names_what_is_played_here() {
    let list = client(&["scenario"]);
    let told = said(&list);
    assert_eq!(list.status.code(), Some(0), "{told}");
    let rows = told.lines().filter(|line| line.starts_with("  "));
    let listed: Vec<&str> = rows.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, PLAYED, "{told}");
}

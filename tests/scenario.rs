//! `client scenario`: every scenario is played, with all its claims, and its logs pass `client verify`.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{CALM, Lab, TempDir};

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

/// A cluster of the test's own, given to the scenario as Docker's would be.
fn given(lab: &Lab, arguments: &[&str]) -> Output {
    let places: Vec<String> = (1..=lab.size()).map(|node| lab.address(node).to_string()).collect();
    let places = places.join(",");
    client(&[&["--cluster", &places, "scenario", "--quiet"], arguments].concat())
}

const TIMERS: [&str; 4] = ["--election-timeout-ms", "1200-2000", "--heartbeat-interval-ms", "150"];

#[test]
fn it_plays_on_a_cluster_that_is_given() {
    let lab = Lab::start_with(3, &[&CALM[..], &[("FAULTS", "on")]].concat());
    lab.wait_for_leader();
    let played = given(&lab, &[&["split-vote", "overwritten-entry", "dead-leader"], &TIMERS[..]].concat());
    let told = said(&played);
    assert_eq!(played.status.code(), Some(0), "{told}\n{}", lab.story());
    assert!(told.contains("\n3 of 3 scenarios have passed\n"), "{told}");
    // Nothing stays broken, and no process has ended for good.
    lab.append("afterwards");
    lab.wait_for_equal_logs();
    assert!((1..=3).all(
        |node| !lab.lines_with(node, " FAULT      crash").is_empty() || lab.lines_with(node, " START ").len() == 1
    ));
    lab.judge();
}

/// It says that the nodes run without pre-vote, and they do not: their terms will not grow.
#[test]
fn a_claim_that_does_not_hold_fails_with_a_line() {
    let timers = [("ELECTION_TIMEOUT_MS", "400-800"), ("HEARTBEAT_INTERVAL_MS", "100"), ("FAULTS", "on")];
    let lab = Lab::start_with(3, &timers);
    lab.wait_for_leader();
    let short = ["--election-timeout-ms", "400-800", "--heartbeat-interval-ms", "100"];
    let played = given(&lab, &[&["one-of-three", "--pre-vote", "off"], &short[..]].concat());
    let told = said(&played);
    assert_eq!(played.status.code(), Some(1), "{told}");
    let verdict = told.lines().find(|line| line.starts_with("FAIL one-of-three: claim \"the terms of node_"));
    let verdict = verdict.unwrap_or_else(|| panic!("{told}"));
    let line = verdict.rsplit("\": ").next().unwrap_or_default();
    assert!((1..=3).any(|node| lab.lines(node).iter().any(|known| known == line)), "{verdict}\n{}", lab.story());
}

#[test]
fn what_cannot_be_played_is_refused() {
    for (arguments, why) in [
        (
            &["scenario", "spilt-vote"][..],
            "unknown scenario \"spilt-vote\"; expected all, or of typical-run, split-vote",
        ),
        (&["--cluster", "a:1,b:2", "scenario", "split-vote"], "split-vote is played by 3 nodes, --cluster names 2"),
        (&["--cluster", "a:1,b:2,c:3", "scenario", "typical-run"], "typical-run cannot be played on a given cluster"),
        (&["--cluster", "a:1,b:2,c:3", "scenario", "one-of-three"], "one-of-three needs nodes without pre-vote"),
        (&["scenario", "split-vote", "--pre-vote", "off"], "--pre-vote: expected on, or of a --cluster off"),
        (&["scenario", "split-vote", "--election-timeout-ms", "300-600"], "go together"),
    ] {
        let refused = client(arguments);
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(said(&refused).contains(why), "{}", said(&refused));
    }
}

/// A node that may not be broken stays as it is.
#[test]
fn without_leave_nothing_is_done() {
    let lab = Lab::start(3);
    lab.wait_for_leader();
    let played = given(&lab, &["split-vote"]);
    let told = said(&played);
    assert_eq!(played.status.code(), Some(1), "{told}");
    assert!(told.contains("FAIL split-vote: it could not be played: node_1: ") && told.contains("FAULTS=on"), "{told}");
    assert!((1..=3).all(|node| lab.lines_with(node, " FAULT ").is_empty()));
}

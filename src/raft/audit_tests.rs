//! What a leader's own lines must show, and what is no fault of it.

use super::*;

const SETTINGS: &str = "election timeout 6-10 s, heartbeat every 2 s";

fn audit(lines: &str) -> Vec<Violation> {
    let mut audit = Audit::new();
    lines.lines().flat_map(|line| audit.observe(&line.trim().parse().unwrap())).collect()
}

/// Node 1 starts, is elected and has its no-op on a majority.
fn elected() -> String {
    format!(
        "12:00:00.000 node_1 t0  FOLLOWER  START      node_1 of 3, {SETTINGS}
        12:00:07.000 node_1 t1  CANDIDATE STATE      follower -> candidate: no heartbeat for 7.000 s
        12:00:07.000 node_1 t1  CANDIDATE VOTE       voted for node_1 (itself): 1 of 3
        12:00:07.001 node_1 t1  CANDIDATE VOTE       received from node_2: 2 of 3
        12:00:07.001 node_1 t1  LEADER    STATE      candidate -> leader: 2 of 3 votes
        12:00:07.001 node_1 t1  LEADER    APPEND     1@1 no-op: opens term 1
        12:00:07.001 node_1 t1  LEADER    HEARTBEAT  sent to node_2, node_3
        12:00:07.002 node_1 t1  LEADER    REPLICATED 1@1 on node_2: 2 of 3
        12:00:07.002 node_1 t1  LEADER    COMMIT     1@1 no-op"
    )
}

#[track_caller]
fn contradicts(property: Property, lines: &str, why: &str) -> Violation {
    let mut wrong = audit(lines);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    let violation = wrong.remove(0);
    assert_eq!((violation.property, &*violation.why), (property, why));
    violation
}

#[test]
fn a_true_story() {
    assert_eq!(audit(&elected()), []);
}

#[test]
fn a_leader_without_a_majority() {
    let lines = elected().replace("VOTE       received from node_2: 2 of 3", "VOTE       received from node_1: 1 of 3");
    let why = "node_1 leads t1, but its lines tell of 1 of 3 votes";
    contradicts(Property::ElectedByMajority, &lines, why);
    let silent = elected() + "\n12:00:08.000 node_1 t2  LEADER    HEARTBEAT  sent to node_2";
    contradicts(Property::ElectedByMajority, &silent, "node_1 leads t2, and no line tells of its election");
    // A pre-vote is none, nor is the same vote twice.
    let pre = elected().replace("received from node_2", "pre-vote received from node_2");
    contradicts(Property::ElectedByMajority, &pre, why);
}

#[test]
fn a_commit_without_a_majority() {
    let lines = elected() + "\n12:00:08.000 node_1 t1  LEADER    APPEND     2@1 \"a\" from client";
    let early = lines.clone() + "\n12:00:08.000 node_1 t1  LEADER    COMMIT     2@1 \"a\"";
    let why = "node_1 commits 2@1, but its lines tell of 1 of 3 copies";
    let violation = contradicts(Property::CommitByMajority, &early, why);
    assert!(matches!(violation.earlier.unwrap().fact, Fact::Replicated { .. }));
    let counted = "\n12:00:08.000 node_1 t1  LEADER    REPLICATED 2@1 on node_3: 2 of 3";
    assert_eq!(audit(&(lines + counted + "\n12:00:08.000 node_1 t1  LEADER    COMMIT     2@1 \"a\"")), []);
}

/// Figure 8: 1@1 is on a majority, but no entry of term 3 is.
#[test]
fn a_commit_by_counting_an_older_term() {
    let lines = |counted: &str| {
        format!(
            "12:00:00.000 node_1 t2  FOLLOWER  START      node_1 of 3, {SETTINGS}, log through 1@1 sum=00000000
            12:00:07.000 node_1 t3  CANDIDATE VOTE       voted for node_1 (itself): 1 of 3
            12:00:07.001 node_1 t3  CANDIDATE VOTE       received from node_2: 2 of 3
            12:00:07.001 node_1 t3  LEADER    STATE      candidate -> leader: 2 of 3 votes
            12:00:07.001 node_1 t3  LEADER    APPEND     2@3 no-op: opens term 3
            12:00:07.002 node_1 t3  LEADER    REPLICATED {counted} on node_2: 2 of 3
            12:00:07.002 node_1 t3  LEADER    COMMIT     1@1 \"old\""
        )
    };
    let why = "node_1 commits 1@1 by counting, before a majority has 2@3, the first of its own term";
    contradicts(Property::CommitByMajority, &lines("1@1"), why);
    assert_eq!(audit(&lines("1@1..2@3")), []);
}

#[test]
fn one_node_is_a_majority_of_one_and_sends_no_heartbeats() {
    let lines = format!(
        "12:00:00.000 node_1 t0  FOLLOWER  START      node_1 of 1, {SETTINGS}
        12:00:07.000 node_1 t1  CANDIDATE VOTE       voted for node_1 (itself): 1 of 1
        12:00:07.000 node_1 t1  LEADER    STATE      candidate -> leader: 1 of 1 votes
        12:00:07.000 node_1 t1  LEADER    APPEND     1@1 no-op: opens term 1
        12:00:07.000 node_1 t1  LEADER    COMMIT     1@1 no-op"
    );
    let busy: String = (8..58)
        .map(|second| format!("\n12:00:{second:02}.000 node_1 t1  LEADER    CLIENT     \"a\" is told something"))
        .collect();
    assert_eq!(audit(&(lines + &busy)), []);
}

#[test]
fn a_silent_leader() {
    let says = |seconds: &[u64], what: &str| -> String {
        seconds.iter().map(|second| format!("\n12:00:{second:02}.000 node_1 t1  LEADER    {what}")).collect()
    };
    let talks = says(&[10, 14, 18, 19], "CLIENT     something");
    let why = "node_1 leads t1 and has sent no heartbeat for 11.999 s; there is one every 2.000 s";
    let violation = contradicts(Property::Heartbeats, &(elected() + &talks), why);
    assert!(matches!(violation.earlier.unwrap().fact, Fact::HeartbeatSent { .. }));
    // It was stopped, or has nobody to send to.
    let resumes = says(&[30], "PEER       node_2 lost: closed by it") + &says(&[30], "HEARTBEAT  sent to node_3");
    assert_eq!(audit(&(elected() + &resumes)), []);
    let alone = says(&[8], "PEER       node_2 lost: closed") + &says(&[9], "PEER       node_3 offline: no way");
    assert_eq!(audit(&(elected() + &alone + &talks + &says(&[23, 28], "CLIENT     something"))), []);
    // A follower has nothing to send.
    let follows = "\n12:00:08.000 node_1 t1  FOLLOWER  STATE      leader -> follower: why not";
    let quiet: String = talks.replace("LEADER   ", "FOLLOWER ");
    assert_eq!(audit(&(elected() + follows + &quiet)), []);
}

#[test]
fn a_log_that_starts_late_is_judged_by_what_it_shows() {
    let all = elected();
    for skipped in 1..all.lines().count() {
        let lines: Vec<&str> = all.lines().skip(skipped).collect();
        assert_eq!(audit(&lines.join("\n")), [], "{lines:?}");
    }
}

/// Each property gets its verdict, whatever was wrong before.
#[test]
fn it_goes_on_after_a_contradiction() {
    let lines = elected()
        + "
        12:00:08.000 node_1 t1  LEADER    TRUNCATE   1@1: why not
        12:00:08.000 node_1 t1  LEADER    APPEND     2@1 \"a\" from client
        12:00:08.000 node_1 t1  LEADER    COMMIT     2@1 \"a\"
        12:00:08.000 node_2 t1  FOLLOWER  VOTE       granted to node_3
        12:00:08.000 node_2 t1  FOLLOWER  HEARTBEAT  received from leader node_2
        12:00:08.000 node_1 t0  FOLLOWER  CLIENT     something";
    let found: Vec<Property> = audit(&lines).iter().map(|violation| violation.property).collect();
    let expected = [
        Property::LeaderAppendOnly,
        Property::CommitByMajority,
        Property::OneVote,
        Property::ElectionSafety,
        Property::TermsGrow,
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_index_that_nobody_can_have_is_not_judged() {
    let far = format!("\n12:00:08.000 node_1 t1  LEADER    APPEND     {}@1 \"a\" from client", MAX_INDEX + 1);
    assert_eq!(audit(&(elected() + &far)), []);
}

#[test]
fn times_are_read_from_the_settings() {
    let ms = Duration::from_millis;
    assert_eq!(times(SETTINGS), Some((ms(6000), ms(2000))));
    let short = "election timeout 150-300 ms, heartbeat every 50 ms, pre-vote off";
    assert_eq!(times(short), Some((ms(150), ms(50))));
    assert_eq!(times("simulated"), None);
}

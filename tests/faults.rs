//! Faults that a client orders, on real nodes: each does what it says, is in the log, and ends when it should.

mod common;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::{CALM, Lab};
use raft_lab::raft::types::Role;

const ON: (&str, &str) = ("FAULTS", "on");

fn start(size: usize) -> Lab {
    Lab::start_with(size, &[ON])
}

/// Orders a fault and expects `ok fault`.
#[track_caller]
fn order(lab: &Lab, node: usize, fault: &str) {
    let answer = lab.fault(node, fault).unwrap_or_else(|error| panic!("{fault}: {error}"));
    assert_eq!(answer, "ok fault", "{fault}");
}

/// Waits for the one FAULT line that ends so. (The log is written beside the answers.)
fn told(lab: &Lab, node: usize, text: &str) {
    let line = format!(" FAULT      {text}");
    let count = || lab.lines(node).iter().filter(|other| other.ends_with(&line)).count();
    lab.wait_until(&line, || (count() == 1).then_some(()));
}

fn two_others(node: usize) -> [usize; 2] {
    let others: Vec<usize> = (1..=3).filter(|other| *other != node).collect();
    [others[0], others[1]]
}

/// Is the peer up in the node's status?
fn up(lab: &Lab, node: usize, peer: usize) -> Option<bool> {
    let peers = lab.status(node)?.peers;
    peers.iter().find(|(id, _)| id.0 as usize == peer).map(|(_, up)| *up)
}

fn wait_until_up(lab: &Lab, node: usize, peer: usize, wanted: bool) {
    let what = format!("node {node} has node {peer} up: {wanted}");
    lab.wait_until(&what, || (up(lab, node, peer) == Some(wanted)).then_some(()));
}

#[test]
fn a_node_without_leave_refuses_and_changes_nothing() {
    let lab = Lab::start(3);
    let leader = lab.wait_for_leader();
    for fault in ["cut 1 2 3", "delay 2 5s", "loss 2 100%", "heal", "timeout", "pause 60s", "crash", "crash --for 60s"]
    {
        let before = lab.pid(leader);
        let answer = lab.ask(leader, &format!("fault {fault}")).unwrap();
        assert!(
            answer[0].starts_with("error faults-off ") && answer[0].contains("FAULTS=on or --faults on"),
            "{answer:?}"
        );
        assert_eq!((answer.len(), lab.pid(leader)), (1, before));
    }
    // All three are there, and none has moved.
    lab.append("still here");
    assert_eq!(lab.wait_for_equal_logs().len(), 1);
    assert_eq!(lab.leader(), Some(leader));
    assert!(lab.lines_with(leader, " FAULT ").is_empty());
    let refused = || lab.lines_with(leader, "this node was started without leave to be broken").len();
    lab.wait_until("eight refusals are told", || (refused() == 8).then_some(()));
}

#[test]
fn a_fault_that_names_itself_or_no_member_or_is_none_is_refused() {
    let lab = start(3);
    lab.wait_for_leader();
    for (fault, why) in [
        ("cut 1", "error not-this-cluster node_1 is this node itself: name one of the others"),
        ("cut 2 1", "error not-this-cluster node_1 is this node itself: name one of the others"),
        ("delay 4 5s", "error not-this-cluster node_4 is no member: they are node_1 to node_3"),
        ("loss 1 5%", "error not-this-cluster node_1 is this node itself: name one of the others"),
    ] {
        assert_eq!(lab.ask(1, &format!("fault {fault}")).unwrap(), [why]);
    }
    for fault in ["", "cut", "cut 0", "explode", "pause 1h", "crash --for"] {
        let answer = lab.ask(1, &format!("fault {fault}")).unwrap();
        assert!(answer.len() == 1 && answer[0].starts_with("error bad-request fault: "), "{fault}: {answer:?}");
    }
    assert!(lab.lines_with(1, " FAULT ").is_empty());
    // `cut 2 1` has not cut node 2 off either.
    lab.append("all are here");
    assert_eq!(lab.wait_for_equal_logs().len(), 1);
}

#[test]
fn a_cut_leader_is_replaced_and_follows_when_it_is_healed() {
    let lab = start(3);
    let old = lab.wait_for_leader();
    let [a, b] = two_others(old);
    lab.append("before");
    order(&lab, old, &format!("cut {a} {b}"));
    for other in [a, b] {
        wait_until_up(&lab, old, other, false);
        wait_until_up(&lab, other, old, false);
    }
    let new = lab.wait_until("another leader", || lab.leader().filter(|leader| *leader != old));
    lab.append("without it");
    // Longer than any back-off: no new connection gets through the cut.
    lab.wait_until("it is called offline", || {
        (!lab.lines_with(a, &format!("node_{old} offline")).is_empty()).then_some(())
    });
    let offline = format!("node_{a} offline: cut by a fault");
    lab.wait_until(&offline, || (!lab.lines_with(old, &offline).is_empty()).then_some(()));
    assert_eq!(up(&lab, a, old), Some(false));
    assert!(lab.status(old).is_some_and(|status| status.commit < lab.status(new).unwrap().commit));
    order(&lab, old, "heal");
    let healed = Instant::now();
    [a, b].iter().for_each(|other| wait_until_up(&lab, old, *other, true));
    [a, b].iter().for_each(|other| wait_until_up(&lab, *other, old, true));
    println!("up again {:?} after heal", healed.elapsed());
    assert_eq!(lab.wait_for_equal_logs().len(), 2);
    told(&lab, old, &format!("cut {a} {b}: nothing passes between this node and node_{a}, node_{b}"));
    told(&lab, old, &format!("heal: everything passes again between this node and node_{a}, node_{b}"));
    order(&lab, old, "heal");
    told(&lab, old, "heal: there is nothing to heal");
    lab.judge();
}

/// Two followers have nothing to say to each other: the cut shows all the same, at both.
#[test]
fn a_cut_between_followers_shows_too() {
    let lab = Lab::start_with(3, &[CALM[0], CALM[1], ON]);
    let leader = lab.wait_for_leader();
    let [a, b] = two_others(leader);
    wait_until_up(&lab, a, b, true);
    order(&lab, a, &format!("cut {b}"));
    wait_until_up(&lab, a, b, false);
    wait_until_up(&lab, b, a, false);
    order(&lab, a, "heal");
    wait_until_up(&lab, a, b, true);
    wait_until_up(&lab, b, a, true);
}

/// The follower hears its leader, but is not heard: it stays a follower, and what it has is not counted.
#[test]
fn one_way_cuts() {
    let lab = Lab::start_with(3, &[CALM[0], CALM[1], ON]);
    let leader = lab.wait_for_leader();
    let [a, b] = two_others(leader);
    order(&lab, leader, &format!("cut --from {a} {b}"));
    let request = "append \"nobody says yes\"".to_string();
    let mut connection = lab.connect(leader).unwrap();
    connection.send(&request).unwrap();
    lab.wait_until("the followers have it", || {
        [a, b].iter().all(|node| !lab.lines_with(*node, "nobody says yes").is_empty()).then_some(())
    });
    assert!(lab.lines_with(leader, "COMMIT").iter().all(|line| !line.contains("nobody says yes")));
    assert!(lab.lines_with(leader, "REPLICATED 2@").is_empty());
    // No majority answers, so it stops leading.
    lab.wait_until("it steps down", || (!lab.lines_with(leader, "no majority has answered").is_empty()).then_some(()));
    order(&lab, leader, "heal");
    let leader = lab.wait_for_leader();

    // And the other way: the follower is heard, but hears nothing.
    let [a, _] = two_others(leader);
    order(&lab, leader, &format!("cut --to {a}"));
    lab.wait_until("it misses its leader", || {
        let story = lab.lines_with(a, "follower -> pre-candidate").pop()?;
        let faults = lab.lines_with(leader, " FAULT ").pop()?;
        (story > faults).then_some(())
    });
    order(&lab, leader, "heal");
    lab.append("all is well");
    lab.wait_for_equal_logs();
    told(&lab, leader, &format!("cut --to {a}: what this node says does not arrive at node_{a}"));
    lab.judge();
}

#[test]
fn a_delay_keeps_the_order_and_holds_back_nobody_else() {
    let lab = Lab::start_with(3, &[CALM[0], CALM[1], ON]);
    let leader = lab.wait_for_leader();
    let [slow, quick] = two_others(leader);
    order(&lab, leader, &format!("delay {slow} 700ms"));
    let texts: Vec<String> = (0..20).map(|n| format!("string {n}")).collect();
    // While the delay lasts a majority without the slow one commits.
    let began = Instant::now();
    for text in &texts {
        lab.append(text);
    }
    println!("20 appends in {:?}", began.elapsed());
    let log = lab.wait_for_equal_logs();
    let strings: Vec<_> =
        log.iter().filter_map(|line| line.split_once(' ')).map(|(_, text)| text.to_string()).collect();
    let wanted: Vec<_> = texts.iter().map(|text| format!("{text:?}")).collect();
    assert_eq!(strings, wanted);
    // Every string came to the slow one at least so much later than to the leader; times are the nodes' own.
    let appended = |node: usize, text: &str| {
        let line = lab.events(node).into_iter().find(|event| {
            let line = event.to_string();
            line.contains(" APPEND ") && line.contains(&format!("{text:?}"))
        });
        line.unwrap_or_else(|| lab.fail(&format!("{text} is not in the log of node {node}"))).at
    };
    let mut least = Duration::MAX;
    for text in &texts {
        let late = appended(slow, text).saturating_sub(appended(leader, text));
        least = least.min(late);
        assert!(late >= Duration::from_millis(690), "{text}: {late:?}");
    }
    let quick_ones = texts.iter().filter(|text| appended(quick, text).saturating_sub(appended(leader, text)) < least);
    assert!(quick_ones.count() > 10, "the other follower is held back too");
    assert_eq!(lab.lines_with(leader, "TRUNCATE").len() + lab.lines_with(slow, "TRUNCATE").len(), 0);
    // The end of a delay lets all arrive.
    order(&lab, leader, &format!("delay {slow} 60s"));
    lab.append("on its way");
    order(&lab, leader, "heal");
    lab.wait_for_equal_logs();
    lab.judge();
}

#[test]
fn loss_near_all_and_all() {
    let lab = start(3);
    let leader = lab.wait_for_leader();
    let [a, b] = two_others(leader);
    for (node, peers) in [(leader, [a, b]), (a, [leader, b]), (b, [leader, a])] {
        peers.iter().for_each(|peer| order(&lab, node, &format!("loss {peer} 30%")));
    }
    for number in 0..5 {
        lab.append(&format!("through the rain {number}"));
    }
    let leader = lab.wait_until("a leader", || lab.leader());
    let [a, b] = two_others(leader);
    [a, b].iter().for_each(|peer| order(&lab, leader, &format!("loss {peer} 100%")));
    lab.wait_until("it is not heard", || lab.leader().filter(|now| *now != leader));
    // 0% ends it; so does heal.
    [a, b].iter().for_each(|peer| order(&lab, leader, &format!("loss {peer} 0%")));
    (1..=3).for_each(|node| order(&lab, node, "heal"));
    lab.append("dry");
    assert_eq!(lab.wait_for_equal_logs().len(), 6);
    lab.judge();
}

#[test]
fn a_timer_fires_when_it_is_told() {
    // No election would come by itself.
    let slow = [("ELECTION_TIMEOUT_MS", "60000-120000"), ("HEARTBEAT_INTERVAL_MS", "100"), ON];
    let lab = Lab::start_with(3, &slow);
    lab.wait_until("they listen", || (1..=3).all(|node| lab.status(node).is_some()).then_some(()));
    (1..=3).for_each(|node| two_others(node).iter().for_each(|peer| wait_until_up(&lab, node, *peer, true)));
    order(&lab, 2, "timeout");
    assert_eq!(lab.wait_for_leader(), 2);
    told(&lab, 2, "timeout: the election timer fires now");
    let lines = lab.lines(2);
    let place = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap_or(usize::MAX);
    assert!(place(" FAULT ") < place("follower -> pre-candidate"), "the line comes first");
    // A leader counts its majority then, and leads on.
    order(&lab, 2, "timeout");
    lab.append("still led");
    assert_eq!(lab.leader(), Some(2));
}

#[test]
fn a_pause_is_as_if_stopped() {
    let lab = start(3);
    let paused = lab.wait_for_leader();
    lab.append("before");
    let began = Instant::now();
    order(&lab, paused, "pause 4s");
    assert!(began.elapsed() < Duration::from_secs(3), "the answer is out before");
    // A caller is let in by the system and hears nothing until it is over.
    let other = lab.wait_until("another leader", || {
        two_others(paused).into_iter().find(|node| lab.status(*node).is_some_and(|s| s.role == Role::Leader))
    });
    let mut caller = lab.connect(paused).unwrap();
    caller.send("status").unwrap();
    let mut stranger = lab.connect(paused).unwrap();
    stranger.send("nonsense").unwrap();
    assert!(caller.line().unwrap().starts_with("status node="));
    assert!(stranger.line().unwrap().starts_with("error unknown-command"));
    assert!(began.elapsed() >= Duration::from_secs(4), "it has answered in its sleep");
    lab.wait_until("it follows", || (lab.status(paused)?.leader == lab.status(other)?.leader).then_some(()));
    lab.append("behind");
    assert_eq!(lab.wait_for_equal_logs().len(), 2);
    let lines = lab.lines(paused);
    let place = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}"));
    let (begin, end) =
        (place("FAULT      pause 4s: the node does nothing"), place("FAULT      the pause is over after 4."));
    assert_eq!(end, begin + 1, "nothing happened meanwhile");
    lab.judge();
}

#[test]
fn a_crash_is_as_by_kill_and_the_log_and_the_answer_are_out_before() {
    let mut lab = start(3);
    let leader = lab.wait_for_leader();
    lab.append("kept");
    order(&lab, leader, "crash");
    assert_eq!(lab.wait_for_end(leader).code(), Some(137));
    let last = lab.lines(leader).pop().unwrap_or_default();
    assert!(last.ends_with("FAULT      crash: the process dies, as by kill -9"), "{last}");
    assert!(lab.errors(leader).is_empty());
    lab.append("without it");
    lab.start_node(leader);
    assert_eq!(lab.wait_for_equal_logs().len(), 2);
    lab.judge();
}

#[test]
fn a_crash_for_a_while_keeps_the_process_and_the_promises() {
    let mut lab = start(3);
    let leader = lab.wait_for_leader();
    lab.append("kept");
    let (term, pid) = (lab.status(leader).unwrap().term, lab.pid(leader));
    let began = Instant::now();
    order(&lab, leader, "crash --for 3s");
    // The port is closed, and free, though the process is there.
    lab.wait_until("the port is closed", || lab.connect(leader).is_err().then_some(()));
    assert!(TcpListener::bind(lab.address(leader)).is_ok() || began.elapsed() > Duration::from_secs(3));
    lab.append("without it");
    let status = lab.wait_until("it is back", || lab.status(leader));
    assert!(began.elapsed() >= Duration::from_secs(3));
    assert!(status.term >= term && status.uptime < began.elapsed());
    assert_eq!(lab.pid(leader), pid);
    assert_eq!(lab.wait_for_equal_logs().len(), 2);
    let lines = lab.lines(leader);
    let place = |part: &str| lines.iter().rposition(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}"));
    let (crash, start) = (place("FAULT      crash --for 3s: the process dies"), place(" START "));
    assert_eq!(start, crash + 1);
    assert!(lines[start].contains("log through"), "{}", lines[start]);
    assert!(lines[start..].iter().any(|line| line.contains("the crash is over: back from the disk after 3.000 s")));
    // It can do it again, and it still ends with its standard input, even while it is away.
    order(&lab, leader, "crash --for 60s");
    lab.wait_until("the port is closed", || lab.connect(leader).is_err().then_some(()));
    assert_eq!(lab.stop(leader).code(), Some(0));
    lab.start_node(leader);
    lab.append("again");
    assert_eq!(lab.wait_for_equal_logs().len(), 3);
    lab.judge();
}

/// What is ordered is gone with the process.
#[test]
fn a_crash_heals() {
    let lab = start(3);
    let leader = lab.wait_for_leader();
    let [a, b] = two_others(leader);
    order(&lab, leader, &format!("cut {a} {b}"));
    order(&lab, leader, "crash --for 100ms");
    lab.append("together");
    lab.wait_for_equal_logs();
    [a, b].iter().for_each(|other| wait_until_up(&lab, leader, *other, true));
}

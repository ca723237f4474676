//! What a node costs, counted, never timed: syncs of the disk for each committed entry, messages for
//! each heartbeat. The numbers are printed: `cargo test --test counts -- --nocapture`.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::appender::Appender;
use common::{Lab, PATIENCE};
use raft_lab::raft::event::{Event, Fact};
use raft_lab::wire::client::NodeStatus;

/// Nothing may disturb the leader here.
const PATIENT: [(&str, &str); 2] = [("ELECTION_TIMEOUT_MS", "2000-4000"), ("HEARTBEAT_INTERVAL_MS", "100")];

fn status(lab: &Lab, node: usize) -> NodeStatus {
    lab.status(node).unwrap_or_else(|| lab.fail(&format!("node {node} tells no status")))
}

fn statuses(lab: &Lab) -> Vec<NodeStatus> {
    (1..=lab.size()).map(|node| status(lab, node)).collect()
}

#[test]
fn many_clients_share_their_syncs() {
    const CLIENTS: usize = 64;
    const APPENDS: usize = 50;
    let lab = Lab::start_with(3, &PATIENT);
    let leader = lab.wait_for_leader();
    lab.append("first");
    lab.wait_for_equal_logs();
    let before = statuses(&lab);

    let nodes: Vec<_> = (1..=3).map(|node| lab.address(node)).collect();
    let ended: Vec<Result<(), String>> = thread::scope(|scope| {
        let client = |number: usize| {
            let nodes = nodes.clone();
            scope.spawn(move || {
                let mut client = Appender::new(nodes, leader - 1);
                // One at a time: what is batched is what different clients ask in the same moment.
                (0..APPENDS)
                    .try_for_each(|at| client.append(&format!("{number}:{at}"), Instant::now() + PATIENCE).map(drop))
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.into_iter().map(|client| client.join().unwrap_or_else(|_| Err("panicked".to_string()))).collect()
    });
    if let Some(why) = ended.into_iter().find_map(Result::err) {
        lab.fail(&why);
    }
    assert_eq!(lab.wait_for_equal_logs().len(), CLIENTS * APPENDS + 1);

    for (before, after) in before.iter().zip(statuses(&lab)) {
        let (syncs, entries) = (after.syncs - before.syncs, after.commit - before.commit);
        let ratio = syncs as f64 / entries as f64;
        println!("{} {}: {syncs} syncs for {entries} committed entries: {ratio:.3} each", after.node, after.role);
        assert!(syncs * 4 < entries, "{syncs} syncs for {entries} entries\n{}", lab.story());
    }
    lab.judge();
}

#[test]
fn an_idle_cluster_sends_a_message_and_its_answer_for_each_heartbeat() {
    const HEARTBEATS: usize = 20;
    let lab = Lab::start_with(3, &PATIENT);
    lab.append("only");
    // A cluster that holds an election in between is not idle. It should not, but a busy machine may
    // hold a process up for seconds.
    for _ in 0..5 {
        let leader = lab.wait_for_leader();
        lab.wait_for_equal_logs();
        let elections = lab.leaders().len();
        let sent = |event: &Event| matches!(event.fact, Fact::HeartbeatSent { .. });
        let received = |event: &Event| matches!(event.fact, Fact::HeartbeatReceived { .. });
        let told = |lab: &Lab, node| lab.count(node, if node == leader { sent } else { received });

        // A node counts first and tells then: what it told before the first status and after the last
        // one frames what was sent between them, but for the one under way.
        let before: Vec<usize> = (1..=3).map(|node| told(&lab, node)).collect();
        let first = statuses(&lab);
        lab.wait_until("heartbeats", || (told(&lab, leader) >= before[leader - 1] + HEARTBEATS).then_some(()));
        let last = statuses(&lab);
        thread::sleep(Duration::from_millis(20));
        let after: Vec<usize> = (1..=3).map(|node| told(&lab, node)).collect();
        if lab.leaders().len() != elections {
            continue;
        }
        for node in 1..=3 {
            let messages = last[node - 1].sent - first[node - 1].sent;
            let heartbeats = (after[node - 1] - before[node - 1]) as u64;
            let peers = if node == leader { 2 } else { 1 };
            println!("node_{node} {}: {messages} messages, {heartbeats} heartbeats", last[node - 1].role);
            assert!(messages <= peers * (heartbeats + 1), "{messages} for {heartbeats}\n{}", lab.story());
            assert!(messages + peers * 2 >= peers * heartbeats, "{messages} for {heartbeats}\n{}", lab.story());
        }
        return lab.judge();
    }
    lab.fail("an election each time");
}

#[test]
fn a_peer_that_comes_again_and_again_costs_little() {
    const ROUNDS: u64 = 8;
    let mut lab = Lab::start_with(3, &PATIENT);
    let leader = lab.wait_for_leader();
    lab.append("only");
    lab.wait_for_equal_logs();
    let follower = leader % 3 + 1;
    let syncs = status(&lab, leader).syncs;
    for _ in 0..ROUNDS {
        let heartbeats = |lab: &Lab| lab.count(follower, |event| matches!(event.fact, Fact::HeartbeatReceived { .. }));
        let before = heartbeats(&lab);
        lab.kill(follower);
        lab.start_node(follower);
        lab.wait_until("it hears the leader", || (heartbeats(&lab) > before).then_some(()));
    }
    // Each time: a heartbeat of its own at the most, and what tells where its log ends. The time that
    // passes costs the usual heartbeats to both peers.
    let after = status(&lab, leader);
    let told = lab.count(leader, |event| matches!(event.fact, Fact::HeartbeatSent { .. })) as u64;
    println!("{} messages, {told} heartbeats, {ROUNDS} reconnects", after.sent);
    assert!(after.sent <= 2 * (told + 1) + 6 * ROUNDS + 20, "{} for {told}\n{}", after.sent, lab.story());
    assert_eq!((after.syncs, after.term), (syncs, 1), "it wrote for it\n{}", lab.story());
    assert_eq!(lab.leader(), Some(leader));
    lab.judge();
}

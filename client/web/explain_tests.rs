//! What the status of a node is called, and what is said about it.

use raft_lab::cluster::Cluster;
use raft_lab::raft::types::{EntryId, NodeId};
use raft_lab::wire::client::{Answer, NodeStatus};

use super::*;

/// The report's second status of task 2: the leader after a put and an append, with a snapshot up to 4.
const LEADER: &str = "status node=node_2 role=leader term=1 leader=node_2 last=6@1 commit=6 applied=6 leader-commit=6 \
    snapshot=4@1 log-len=2 log-bytes=200 snapshot-bytes=300 keys=1 peers=node_1:up,node_3:down \
    progress=node_1:7:6,node_3:5:4 heard=0.012 size=3 uptime=618.9 syncs=4 sent=9";
const ALONE: &str = "status node=node_1 role=pre-candidate term=8 leader=none last=7@8 commit=6 applied=5 \
    leader-commit=6 snapshot=0@0 log-len=7 log-bytes=200 snapshot-bytes=0 keys=1 peers=node_2:down,node_3:down \
    progress=none heard=never size=3 uptime=12.0 syncs=4 sent=9";

fn status(line: &str) -> NodeStatus {
    match Answer::decode(line) {
        Ok(Answer::Status(status)) => status,
        other => panic!("{other:?}"),
    }
}

fn shown(status: &NodeStatus) -> (String, Vec<(String, String)>) {
    let cluster = Cluster::of_size(3).unwrap();
    let view = View { status, cluster: &cluster };
    let why = view.fields().into_iter().map(|field| (view.name(field), sentence(&view, field)));
    (view.json().to_string(), why.collect())
}

fn why(status: &NodeStatus, name: &str) -> String {
    let (_, all) = shown(status);
    all.into_iter().find(|(known, _)| known == name).map(|(_, why)| why).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_names_and_their_order_are_the_reports() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        shown(&status(LEADER)).0,
        format!(
            "{{\"version\":\"{version}\",\"revision\":\"deprecated\",\"self\":\"node_2:1234\",\"state\":2,\
             \"leader\":\"node_2:1234\",\"has_quorum\":true,\"partner_nodes_count\":2,\
             \"partner_node_status_server_node_1:1234\":2,\"partner_node_status_server_node_3:1234\":0,\
             \"readonly_nodes_count\":0,\"log_len\":2,\"last_applied\":6,\"commit_idx\":6,\"raft_term\":1,\
             \"next_node_idx_count\":2,\"next_node_idx_server_node_1:1234\":7,\"next_node_idx_server_node_3:1234\":5,\
             \"match_idx_count\":2,\"match_idx_server_node_1:1234\":6,\"match_idx_server_node_3:1234\":4,\
             \"leader_commit_idx\":6,\"uptime\":618,\"self_code_version\":0,\"enabled_code_version\":0}}"
        )
    );
    let alone = shown(&status(ALONE)).0;
    for part in
        ["\"state\":1,\"leader\":null,\"has_quorum\":false,", "\"next_node_idx_count\":0,\"match_idx_count\":0,"]
    {
        assert!(alone.contains(part), "{part} is not in {alone}");
    }
}

#[test]
fn sentences_say_why_the_value_is_what_it_is_now() {
    let leader = status(LEADER);
    assert_eq!(why(&leader, "log_len"), "log_len is 2 although commit_idx is 6: entries up to 4 are in the snapshot");
    for (name, part) in [
        ("state", "2, leader: at least 2 of 3 nodes voted for node_2 in term 1"),
        ("leader", "last heard from a majority 0.0 s ago"),
        ("has_quorum", "true: node_2 and its connected partners are 2 of 3 nodes, and 2 are a majority"),
        ("partner_node_status_server_node_3:1234", "0: node_2 has no connection to node_3"),
        ("commit_idx", "a majority of the nodes has entries up to 6 on disk"),
        ("next_node_idx_server_node_1:1234", "all entries up to 6 were sent to node_1: the next one will be 7"),
        ("next_node_idx_server_node_3:1234", "node_3 is not connected: when it is back, sending begins at 5"),
        ("match_idx_server_node_3:1234", "node_3 has acknowledged entries up to 4: 2 of those up to 6 are missing"),
        ("leader_commit_idx", "its own commit_idx"),
    ] {
        let why = why(&leader, name);
        assert!(why.contains(part), "{name}: {why}");
    }
    let alone = status(ALONE);
    for (name, part) in [
        ("state", "before it raises the term from 8"),
        ("leader", "with 1 of 3 nodes connected none can be elected"),
        ("has_quorum", "false: node_1 and its connected partners are 1 of 3 nodes, and a majority needs 2"),
        ("log_len", "all entries from 1 to 7 are in the log, none is in a snapshot yet; 1 at its end"),
        ("commit_idx", "a leader has said that entries up to 6 are on a majority; the 1 behind it up to 7@8"),
        ("last_applied", "1 behind commit_idx"),
        ("next_node_idx_count", "node_1 is a pre-candidate"),
        ("match_idx_count", "node_1 is a pre-candidate"),
    ] {
        let why = why(&alone, name);
        assert!(why.contains(part), "{name}: {why}");
    }
}

/// Every field has a sentence of its own in every state that the numbers can make.
#[test]
fn every_state_has_its_sentences() {
    for role in Role::ALL {
        for leader in [None, Some(NodeId(1)), Some(NodeId(2))] {
            for (snapshot, last, commit) in [(0, 0, 0), (0, 3, 2), (3, 3, 3), (4, 6, 6), (1, 9, 1)] {
                let mut one = status(if role == Role::Leader { LEADER } else { ALONE });
                (one.role, one.leader) = (role, leader);
                one.snapshot = EntryId::new(snapshot, 1);
                one.last = EntryId::new(last, 1);
                (one.log_len, one.commit, one.applied) = (last - snapshot, commit, commit);
                for (name, why) in shown(&one).1 {
                    assert!(why.len() > 10 && !why.ends_with('.') && !why.contains("  "), "{name}: {why}");
                }
            }
        }
    }
}

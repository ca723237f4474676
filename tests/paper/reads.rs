//! Thesis §6.4, "Processing read-only queries more efficiently": ReadIndex, step by step. And §8, where the paper says it
//! first.
use super::*;
use server::{Done, round_of};

fn confirmed(index: u64, round: u64) -> Body {
    Body::Matched { index, round }
}

/// A leader of term 1 that has committed its no-op, with every answer in but to nothing later.
fn leader(size: u64) -> Server {
    let mut server = Server::leader(size, 1, &[]);
    for peer in 2..=size {
        server.receive(NodeId(peer), 1, matched(1));
    }
    assert_eq!(server.raft.commit_index(), 1);
    server
}

/// "1. If the leader has not yet marked an entry from its current term committed, it waits until it has done so": §8:
/// "Leader must have the latest information on which entries are committed".
#[test]
fn step_1_no_read_is_served_before_the_no_op_is_committed() {
    let mut server = Server::leader(3, 2, &[1, 1]);
    let round = round_of(&server.read(7).to(TWO));
    // A majority confirms that it leads, but what it knows as committed may lie behind what clients were told.
    assert_eq!(server.receive(TWO, 2, confirmed(2, round)).ready.reads, []);
    assert_eq!(server.raft.commit_index(), 0);
    let done = server.receive(TWO, 2, confirmed(3, round));
    assert_eq!((done.committed(), done.ready.reads), (vec![1, 2, 3], vec![7]), "applied first, then read");
}

/// "2. The leader saves its current commit index in … readIndex": what is served is at least what was committed when the
/// read came; "4. The leader waits for its state machine to advance at least as far as the readIndex": a `Ready` applies
/// before it serves.
#[test]
fn steps_2_and_4_a_read_sees_what_was_committed_before_it_came() {
    let mut server = leader(3);
    server.propose(5);
    assert_eq!(server.receive(TWO, 1, matched(2)).committed(), [2]);
    let round = round_of(&server.read(7).to(TWO));
    let done = server.receive(THREE, 1, confirmed(1, round));
    assert_eq!((done.ready.reads, server.raft.commit_index()), (vec![7], 2));
}

/// "3. The leader needs to make sure it has not been superseded by a newer leader of which it is unaware. It issues a new
/// round of heartbeats and waits for their acknowledgments from a majority of the cluster."
#[test]
fn step_3_a_round_is_sent_at_once_to_all_and_a_majority_answers_it() {
    let mut server = leader(5);
    let done = server.read(7);
    assert_eq!(done.ready.reads, []);
    let rounds: Vec<u64> = (2..=5).map(|peer| round_of(&done.to(NodeId(peer)))).collect();
    assert_eq!(rounds, [1; 4]);
    // It is no heartbeat line in the log: nobody is told that the timer ticked.
    assert!(matches!(done.to(TWO).body, Body::AppendEntries { heartbeat: false, .. }));
    assert_eq!(server.receive(TWO, 1, confirmed(1, 1)).ready.reads, []);
    assert_eq!(server.receive(TWO, 1, confirmed(1, 1)).ready.reads, [], "one node answers once");
    assert_eq!(server.receive(THREE, 1, confirmed(1, 1)).ready.reads, [7]);
}

/// "3. … a new round of heartbeats": an answer to what was sent before the read came confirms nothing, whatever it is an
/// answer to (etcd #20418).
#[test]
fn step_3_no_older_acknowledgement_confirms_a_read() {
    let mut server = leader(3);
    let first = round_of(&server.read(7).to(TWO));
    let second = round_of(&server.read(8).to(TWO));
    assert!(first < second);
    for old in [confirmed(1, 0), Body::Rejected { prev: id(1, 1), conflict: id(1, 0), round: 0 }] {
        assert_eq!(server.receive(TWO, 1, old).ready.reads, []);
    }
    assert_eq!(server.receive(TWO, 1, confirmed(1, first)).ready.reads, [7], "the later read waits for its own round");
    assert_eq!(server.receive(THREE, 1, confirmed(1, first)).ready.reads, []);
    assert_eq!(server.receive(THREE, 1, confirmed(1, second)).ready.reads, [8]);
}

/// A rejection is an acknowledgement too: who gives it is in the leader's term.
#[test]
fn step_3_a_rejection_confirms_that_the_leader_still_leads() {
    let mut server = leader(3);
    let round = round_of(&server.read(7).to(TWO));
    let rejected = Body::Rejected { prev: id(1, 1), conflict: id(1, 0), round };
    assert_eq!(server.receive(TWO, 1, rejected).ready.reads, [7]);
}

/// "The leader … can amortize … for any number of read-only queries that it has accumulated": one round serves them all.
#[test]
fn a_round_serves_all_reads_that_wait() {
    let mut server = leader(3);
    let done = server.act_all((10..15).map(|token| Input::Read { token }).collect());
    assert_eq!(done.sent.len(), 2, "one message to each");
    assert_eq!(server.receive(THREE, 1, confirmed(1, round_of(&done.to(TWO)))).ready.reads, [10, 11, 12, 13, 14]);
}

/// A later round confirms an earlier read as well: its answer was given after the read came.
#[test]
fn a_later_round_confirms_earlier_reads() {
    let mut server = leader(3);
    server.read(7);
    let round = round_of(&server.read(8).to(TWO));
    assert_eq!(server.receive(TWO, 1, confirmed(1, round)).ready.reads, [7, 8]);
}

/// §5.3: lost messages are sent again: the round goes out with the next heartbeat once more.
#[test]
fn a_lost_round_is_repeated_with_the_next_heartbeat() {
    let mut server = leader(3);
    let round = round_of(&server.read(7).to(TWO));
    let again = server.heartbeat();
    assert_eq!((round_of(&again.to(TWO)), round_of(&again.to(THREE))), (round, round));
    assert_eq!(server.receive(THREE, 1, confirmed(1, round)).ready.reads, [7]);
    assert_eq!(server.receive(TWO, 1, confirmed(1, round)).ready.reads, [], "each read is served once");
}

/// "It has not been superseded by a newer leader": if it has, the read is refused, and a read changes nothing, so whoever
/// asked may ask again.
#[test]
fn reads_that_wait_are_refused_when_leadership_is_lost() {
    let mut server = leader(3);
    let round = round_of(&server.read(7).to(TWO));
    let done = server.receive(TWO, 2, ask(EntryId::ZERO));
    assert_eq!(done.ready.refusals, [(7, Refusal::NoLeader)]);
    assert_eq!(server.receive(THREE, 1, confirmed(1, round)).ready.reads, []);
    // Both in one batch, in either order.
    for deposed_first in [true, false] {
        let mut server = leader(3);
        let mut inputs = vec![Input::Read { token: 7 }, Server::message(TWO, 2, ask(EntryId::ZERO))];
        if deposed_first {
            inputs.reverse();
        }
        let done = server.act_all(inputs);
        assert_eq!((done.ready.reads, done.ready.refusals), (vec![], vec![(7, Refusal::NoLeader)]));
    }
}

/// Thesis §6.4: a follower could ask the leader for the readIndex. Here it names the leader (see `raft::reads` for why).
#[test]
fn a_follower_names_the_leader() {
    let mut server = Server::follower(3, 1, &[]);
    assert_eq!(server.read(5).ready.refusals, [(5, Refusal::NoLeader)]);
    server.receive(TWO, 1, append_entries(EntryId::ZERO, vec![], 0));
    let Done { sent, ready } = server.read(6);
    assert_eq!((sent, ready.refusals), (vec![], vec![(6, Refusal::Redirect { leader: TWO })]));
}

/// A leader of one is its own majority.
#[test]
fn one_server_alone_serves_reads_at_once() {
    let mut server = Server::follower(1, 0, &[]);
    assert_eq!(server.timeout().committed(), [1]);
    assert_eq!(server.read(7).ready.reads, [7]);
    // Its write is committed by its own sync, and a read of the same moment may come before it.
    let ready = server.step(Server::proposal(8));
    assert_eq!((server.read(9).ready.reads, server.raft.commit_index()), (vec![9], 1));
    assert_eq!(server.act(Input::Persisted { batch: ready.batch }).committed(), [2]);
}

/// What a follower repeats is the number that it was asked with, in an acceptance and in a rejection.
#[test]
fn a_follower_repeats_the_round() {
    let mut server = Server::follower(3, 1, &[1]);
    let asked = |prev| Body::AppendEntries { prev, commit: 0, heartbeat: false, round: 9, entries: vec![] };
    assert_eq!(server.receive(TWO, 1, asked(id(1, 1))).to(TWO).body, confirmed(1, 9));
    let answer = server.receive(TWO, 1, asked(id(4, 1))).to(TWO).body;
    assert!(matches!(answer, Body::Rejected { round: 9, .. }), "{answer:?}");
    // Who is in a later term does not confirm anything: its answer deposes the leader.
    server.receive(THREE, 2, ask(id(9, 1)));
    let answer = server.receive(TWO, 1, asked(id(1, 1))).to(TWO);
    assert_eq!(answer.term, 2);
}

/// Who is behind the log, or gets a snapshot, or waits for another answer, is asked and answers like all others.
#[test]
fn a_follower_that_lags_behind_confirms_reads_too() {
    let mut server = Server::leader(3, 1, &[]);
    server.receive(TWO, 1, matched(1));
    // node_3 has never answered: its probe is under way.
    let done = server.read(7);
    assert_eq!(server.receive(THREE, 1, confirmed(0, round_of(&done.to(THREE)))).ready.reads, [7]);
}

/// A round that was never begun cannot be answered: such a message is wrong, and confirms nothing.
#[test]
fn a_round_that_was_not_begun_confirms_nothing() {
    let mut server = leader(3);
    let far = (1 << 53) - 1;
    for wrong in [confirmed(1, far), Body::Rejected { prev: id(1, 1), conflict: id(1, 0), round: far }] {
        let done = server.receive(TWO, 1, wrong);
        assert!(
            done.errors().iter().any(|text| text.contains("node_2") && text.contains("round")),
            "{:?}",
            done.errors()
        );
    }
    assert_eq!(server.read(7).ready.reads, []);
    assert_eq!(server.raft.role(), Role::Leader);
}

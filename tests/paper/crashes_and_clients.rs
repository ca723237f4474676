//! §5.5, §8, and the thesis where it adds to them: the no-op, clients, pre-vote, check-quorum, the leader's own disk.
use super::*;
use raft_lab::raft::types::Command;

/// §5.5: "Raft RPCs are idempotent": the second of two equal messages changes nothing and is answered the same.
#[test]
fn a_repeated_message_is_answered_again_and_does_nothing() {
    for body in [append_entries(id(1, 1), vec![entry(2, 2)], 1), ask(id(2, 1))] {
        let mut server = Server::follower(3, 2, &[1, 1]);
        let first = server.receive(TWO, 2, body.clone());
        let again = server.receive(TWO, 2, body);
        assert!(!first.ready.records.is_empty() && again.ready.records.is_empty());
        assert_eq!(first.to(TWO), again.to(TWO));
    }
}

/// §8: a server that is not the leader "will reject the client's request and supply information about the most
/// recent leader it has heard from".
#[test]
fn clients_are_sent_to_the_leader() {
    let mut server = Server::follower(3, 1, &[]);
    assert_eq!(server.propose(5).ready.refusals, [(5, Refusal::NoLeader)]);
    server.receive(TWO, 1, append_entries(EntryId::ZERO, vec![], 0));
    assert_eq!(server.propose(6).ready.refusals, [(6, Refusal::Redirect { leader: TWO })]);
    assert!(server.ids().is_empty());
}

/// §8: "each leader commit[s] a blank no-op entry into the log at the start of its term".
#[test]
fn a_leader_opens_its_term_with_a_no_op() {
    let server = Server::leader(3, 2, &[1]);
    let log = server.raft.log();
    assert_eq!(
        (log.last(), log.range(2, 2).next().map(|entry| entry.command.clone())),
        (id(2, 2), Some(Command::Noop))
    );
}

/// Thesis §10.2.1: the leader sends entries while it writes them itself, and counts itself only once they are on
/// its disk.
#[test]
fn a_leader_counts_itself_once_it_is_synced() {
    let mut server = Server::leader(3, 1, &[]);
    server.receive(TWO, 1, matched(1));
    let ready = server.step(Server::proposal(9));
    assert_eq!(ready.overtaking.len(), 1, "node_2 gets it at once; node_3 has not answered its probe");
    let early = server.step(Server::message(TWO, 1, matched(2)));
    assert!(early.committed.is_empty(), "it is on one disk of three");
    assert_eq!(server.act(Input::Persisted { batch: ready.batch }).committed(), [2]);
}

/// The same rule from its other side: only entries may be overtaken. A batch that holds anything else that must not be
/// forgotten, here the disk of a voter met for the first time, is synced before the new leader's entries leave.
#[test]
fn nothing_but_entries_is_overtaken() {
    let (mut raft, _) = Raft::new(config(3, false), Persistent::default(), None, Duration::ZERO);
    raft.step(Duration::ZERO, vec![Input::ElectionTimeout]);
    let ready = raft.step(Duration::ZERO, vec![Server::message(TWO, 1, grant())]);
    assert_eq!(raft.role(), Role::Leader);
    assert!(ready.records.iter().any(|record| matches!(record, Record::Peer { node: TWO, .. })));
    assert_eq!((ready.overtaking.len(), ready.messages.len()), (0, 2));
}

fn with_pre_vote() -> Config {
    config(3, true)
}

/// Thesis §9.6: "a candidate only increments its term if it first learns from a majority of the cluster that they
/// would be willing to grant the candidate their votes".
#[test]
fn pre_vote_asks_before_the_term_is_touched() {
    let mut server = Server::with(with_pre_vote(), 1, &[1]);
    let done = server.timeout();
    assert_eq!((server.raft.role(), server.raft.current_term()), (Role::PreCandidate, 1));
    assert_eq!((done.to(TWO).body, done.ready.records), (Body::PreVote { last: id(1, 1) }, vec![]));
    server.receive(TWO, 1, Body::PreVoteReply { granted: false });
    assert_eq!(server.raft.role(), Role::PreCandidate);
    server.receive(THREE, 1, Body::PreVoteReply { granted: true });
    assert_eq!((server.raft.role(), server.raft.current_term()), (Role::Candidate, 2));
}

/// Thesis §9.6, §4.2.3: who hears a leader grants no pre-vote; "they have not received heartbeats from a valid
/// leader for at least a baseline election timeout" is two heartbeats here. It grants without using its vote up.
#[test]
fn pre_vote_is_refused_while_a_leader_is_heard() {
    let mut server = Server::with(with_pre_vote(), 1, &[1]);
    server.receive(TWO, 1, append_entries(id(1, 1), vec![], 0));
    server.now = Duration::from_millis(3999);
    assert!(!server.receive(THREE, 1, Body::PreVote { last: id(1, 1) }).granted(THREE));
    server.now = Duration::from_millis(4000);
    let done = server.receive(THREE, 1, Body::PreVote { last: id(1, 1) });
    assert!(done.granted(THREE) && done.ready.records.is_empty() && server.raft.voted_for().is_none());
    assert!(!server.receive(THREE, 1, Body::PreVote { last: EntryId::ZERO }).granted(THREE), "§5.4.1 holds");
}

/// Thesis §6.2: "a leader … steps down if an election timeout elapses without a successful round of heartbeats to a
/// majority of its cluster".
#[test]
fn a_leader_without_a_majority_steps_down() {
    let mut server = Server::with(with_pre_vote(), 0, &[]);
    server.timeout();
    server.receive(TWO, 0, Body::PreVoteReply { granted: true });
    server.receive(TWO, 1, grant());
    server.now = Duration::from_secs(3);
    server.receive(TWO, 1, matched(1));
    server.now = Duration::from_millis(8999);
    let wait = server.timeout().ready.election_timer.expect("the watch goes on");
    assert_eq!((server.raft.role(), wait.min), (Role::Leader, Duration::from_millis(1)));
    server.now = Duration::from_secs(9);
    server.timeout();
    assert_eq!((server.raft.role(), server.raft.current_term()), (Role::Follower, 1));
}

//! A node that comes back with an empty disk (not in Raft; the rules are those of `raft::readmit`). node_3 has lost disk 3
//! and comes back with disk 33.
use super::*;
use raft_lab::raft::event::Fact;
use raft_lab::raft::message::Message;
use raft_lab::raft::types::{Command, Disk, DiskId, Entry};
use server::Done;

const NEW: DiskId = DiskId(33);

fn from_new(term: u64, body: Body) -> Input {
    Input::Message { from: THREE, disk: NEW, message: Message { term, body } }
}

fn readmit(index: u64, term: u64, node: NodeId, disk: DiskId) -> Entry {
    Entry { id: id(index, term), command: Command::Readmit { node, disk } }
}

/// A leader of term 2 with a committed log of two entries, which has met the new disk of node_3.
fn leader() -> Server {
    let mut server = Server::leader(3, 2, &[1]);
    assert_eq!(server.receive(TWO, 2, matched(2)).committed(), [1, 2]);
    server.act(Input::Met { peer: THREE, disk: NEW });
    server
}

fn ask_for_readmission(server: &mut Server) -> Done {
    server.act(Input::Readmit { token: 9, node: THREE })
}

/// node_3 itself, with nothing but what it was told: it runs as node_1 here, with disk 33 in the place of disk 1.
fn wiped(size: u64) -> Server {
    let config = Config { disk: NEW, new_disk: true, ..config(size, false) };
    Server { raft: Raft::new(config, Persistent::default(), None, Duration::ZERO).0, now: Duration::ZERO }
}

fn refused() -> Body {
    Body::Refused { disk: DiskId(1) }
}

mod others {
    //! What the others do with it.
    use super::*;

    /// Nothing that it says is counted, and it is told so.
    #[test]
    fn it_is_refused_until_it_is_readmitted() {
        for body in
            [matched(3), ask(id(9, 2)), grant(), Body::Rejected { prev: id(2, 2), conflict: id(1, 0), round: 0 }]
        {
            let mut server = leader();
            server.propose(5);
            let done = server.act(from_new(2, body));
            assert_eq!(done.to(THREE).body, Body::Refused { disk: DiskId(3) });
            assert_eq!((done.committed(), server.raft.role(), server.raft.current_term()), (vec![], Role::Leader, 2));
        }
        let mut server = leader();
        assert_eq!(server.act(from_new(7, ask(id(9, 2)))).to(THREE).body, Body::Refused { disk: DiskId(3) });
        assert_eq!(server.raft.current_term(), 2, "its term does not count either");
    }

    /// The ERROR line names the cure, once.
    #[test]
    fn the_error_names_the_cure() {
        let mut server = leader();
        assert!(server.act(Input::Met { peer: THREE, disk: NEW }).errors().is_empty());
        let done = server.act(Input::Met { peer: THREE, disk: DiskId(34) });
        assert!(done.errors()[0].contains("client readmit node_3"), "{:?}", done.errors());
    }

    /// A vote of the new disk is no vote.
    #[test]
    fn its_vote_does_not_count() {
        let mut server = Server::candidate(3, 2, &[1]);
        assert!(matches!(server.act(from_new(2, grant())).to(THREE).body, Body::Refused { .. }));
        assert_eq!(server.raft.role(), Role::Candidate);
    }

    /// The cure is an entry: committed by a majority without the lost disk.
    #[test]
    fn a_majority_without_it_readmits_it() {
        let mut server = leader();
        let done = ask_for_readmission(&mut server);
        assert!(matches!(done.append_to(TWO), (_, new) if new == [id(3, 2)]));
        assert_eq!(server.raft.log().range(3, 3).next(), Some(&readmit(3, 2, THREE, NEW)));
        assert!(
            done.committed().is_empty()
                && done.ready.records.iter().all(|record| !matches!(record, Record::Peer { .. }))
        );
        assert!(server.act(from_new(2, matched(3))).committed().is_empty(), "its own acknowledgement does not help");
        let done = server.receive(TWO, 2, matched(3));
        assert_eq!((done.committed(), done.ready.committed[0].token), (vec![3], Some(9)));
        let disk = Disk { id: NEW, since: id(3, 2) };
        assert!(done.ready.records.contains(&Record::Peer { node: THREE, disk }), "{:?}", done.ready.records);
        let told = Fact::Readmitted { peer: THREE, by: id(3, 2), disk: NEW };
        assert!(done.ready.events.iter().any(|event| event.fact == told));
        // From now on its acknowledgements count.
        server.propose(5);
        assert_eq!(server.act(from_new(2, matched(4))).committed(), [4]);
        assert!(matches!(server.receive(THREE, 2, matched(4)).to(THREE).body, Body::Refused { disk: NEW }));
    }

    /// Alone with the new disk, the leader cannot readmit it.
    #[test]
    fn without_a_majority_it_is_not_readmitted() {
        let mut server = leader();
        ask_for_readmission(&mut server);
        for _ in 0..3 {
            server.heartbeat();
            assert!(server.act(from_new(2, matched(3))).committed().is_empty());
        }
    }

    /// What the lost disk had acknowledged is forgotten: the new one has nothing of it.
    #[test]
    fn the_copies_of_the_lost_disk_are_not_counted() {
        let mut server = Server::leader(5, 2, &[1]);
        server.receive(THREE, 2, matched(2));
        server.act(Input::Met { peer: THREE, disk: NEW });
        ask_for_readmission(&mut server);
        server.receive(TWO, 2, matched(3));
        assert_eq!(server.receive(NodeId(4), 2, matched(3)).committed(), [3], "a third copy that is there");
        let progress = server.raft.status().progress;
        assert_eq!(progress.iter().find(|(peer, ..)| *peer == THREE).map(|(.., matched)| *matched), Some(0));
        // It is asked for its place like any other, from the end of the log on.
        let rejected = Body::Rejected { prev: id(3, 2), conflict: id(1, 0), round: 0 };
        assert_eq!(server.act(from_new(2, rejected)).append_to(THREE).0, EntryId::ZERO);
    }

    /// Its votes count in later terms.
    #[test]
    fn its_vote_counts_in_a_later_term() {
        let mut server = leader();
        ask_for_readmission(&mut server);
        server.receive(TWO, 2, matched(3));
        server.receive(TWO, 3, ask(EntryId::ZERO));
        assert_eq!(server.raft.role(), Role::Follower);
        server.timeout();
        assert_eq!((server.raft.role(), server.raft.current_term()), (Role::Candidate, 4));
        server.act(from_new(4, grant()));
        assert_eq!(server.raft.role(), Role::Leader);
    }

    /// A follower counts the new disk as soon as it knows the entry as committed, not before.
    #[test]
    fn a_follower_readmits_it_with_the_commit() {
        let mut server = Server::follower(3, 2, &[1]);
        server.receive(TWO, 2, append_entries(id(1, 1), vec![readmit(2, 2, THREE, NEW)], 1));
        assert!(matches!(server.act(from_new(3, ask(id(2, 2)))).to(THREE).body, Body::Refused { .. }));
        let done = server.receive(TWO, 2, append_entries(id(2, 2), vec![], 2));
        assert!(done.ready.events.iter().any(|event| matches!(event.fact, Fact::Readmitted { peer: THREE, .. })));
        assert!(server.act(from_new(3, ask(id(2, 2)))).granted(THREE));
    }

    /// After a restart the entry is committed once more, and does nothing.
    #[test]
    fn after_a_restart_it_is_harmless() {
        let disk = Disk { id: NEW, since: id(2, 2) };
        let persistent = Persistent {
            current_term: 2,
            entries: vec![entry(1, 1), readmit(2, 2, THREE, NEW)],
            disks: [(TWO, Disk { id: DiskId(2), since: EntryId::ZERO }), (THREE, disk)].into(),
            ..Persistent::default()
        };
        let raft = Raft::new(config(3, false), persistent, None, Duration::ZERO).0;
        let mut server = Server { raft, now: Duration::ZERO };
        let done = server.receive(TWO, 2, append_entries(id(2, 2), vec![], 2));
        assert_eq!((done.committed(), done.ready.records), (vec![1, 2], vec![]));
        assert!(server.act(from_new(3, ask(id(2, 2)))).granted(THREE), "and it counts before, too");
    }

    /// Two clients ask: the second entry changes nothing.
    #[test]
    fn readmitted_twice_is_readmitted_once() {
        let mut server = leader();
        ask_for_readmission(&mut server);
        ask_for_readmission(&mut server);
        let done = server.receive(TWO, 2, matched(4));
        assert_eq!(done.committed(), [3, 4]);
        let lines = done.ready.events.iter().filter(|event| matches!(event.fact, Fact::Readmitted { .. }));
        assert_eq!(lines.count(), 1);
        assert_eq!(ask_for_readmission(&mut server).ready.refusals, [(9, Refusal::NotRefused { node: THREE })]);
    }

    /// Wiped once more while its readmission was under way: the entry counts a disk that is gone, and it takes another.
    #[test]
    fn wiped_twice_it_is_readmitted_twice() {
        let mut server = leader();
        ask_for_readmission(&mut server);
        let newer = DiskId(34);
        server.act(Input::Met { peer: THREE, disk: newer });
        server.receive(TWO, 2, matched(3));
        let from_newer = |body| Input::Message { from: THREE, disk: newer, message: Server::body(2, body) };
        assert_eq!(server.act(from_newer(matched(3))).to(THREE).body, Body::Refused { disk: NEW });
        ask_for_readmission(&mut server);
        assert_eq!(server.receive(TWO, 2, matched(4)).committed(), [4]);
        server.propose(5);
        assert_eq!(server.act(from_newer(matched(5))).committed(), [5]);
        assert!(matches!(server.act(from_new(2, matched(5))).to(THREE).body, Body::Refused { .. }));
    }

    /// A node that is counted, that is unknown, or that is no other: there is nothing to do. Who does not lead says who does.
    #[test]
    fn there_must_be_something_to_readmit() {
        let mut server = leader();
        for node in [ONE, TWO, NodeId(4), NodeId(9)] {
            let done = server.act(Input::Readmit { token: 9, node });
            assert_eq!((done.ready.refusals, done.ready.records), (vec![(9, Refusal::NotRefused { node })], vec![]));
        }
        let mut server = Server::follower(3, 1, &[]);
        assert_eq!(ask_for_readmission(&mut server).ready.refusals, [(9, Refusal::NoLeader)]);
        server.receive(TWO, 1, append_entries(EntryId::ZERO, vec![], 0));
        assert_eq!(ask_for_readmission(&mut server).ready.refusals, [(9, Refusal::Redirect { leader: TWO })]);
    }
}

mod itself {
    //! What it does itself.
    use super::*;

    /// Told that it is not counted, it remembers that, votes for nobody, and does not stand for election.
    #[test]
    fn it_votes_for_nobody_not_for_itself_either() {
        let mut server = wiped(3);
        let done = server.receive(TWO, 5, refused());
        let lost = Disk { id: DiskId(1), since: EntryId::ZERO };
        assert!(done.ready.records.contains(&Record::Peer { node: ONE, disk: lost }));
        assert!(done.errors()[0].contains("client readmit node_1"), "{:?}", done.errors());
        assert!(!server.receive(TWO, 1, ask(id(9, 1))).granted(TWO));
        assert!(!server.receive(TWO, 1, Body::PreVote { last: id(9, 1) }).granted(TWO));
        let done = server.timeout();
        assert_eq!((done.sent, server.raft.role(), server.raft.voted_for()), (vec![], Role::Follower, None));
        assert!(done.ready.election_timer.is_some(), "it goes on waiting");
    }

    /// A restart does not make it forget that it was told.
    #[test]
    fn a_restart_does_not_change_that() {
        let mut server = wiped(3);
        let mut persistent = Persistent::default();
        for record in server.receive(TWO, 5, refused()).ready.records {
            persistent.apply(record).expect("each record follows the ones before it");
        }
        let config = Config { disk: NEW, ..config(3, false) };
        let raft = Raft::new(config, persistent, None, Duration::ZERO).0;
        let mut server = Server { raft, now: Duration::ZERO };
        assert!(!server.receive(TWO, 1, ask(id(9, 1))).granted(TWO));
        assert_eq!((server.timeout().sent, server.raft.role()), (vec![], Role::Follower));
    }

    /// Who learns it in the middle of an election, or as a leader, has voted for itself with a vote that does not count.
    #[test]
    fn it_steps_down_when_it_is_told() {
        let mut server = wiped(5);
        server.timeout();
        server.receive(TWO, 1, grant());
        server.receive(TWO, 1, refused());
        assert_eq!(server.raft.role(), Role::Follower);
        server.receive(THREE, 1, grant());
        server.receive(NodeId(4), 1, grant());
        assert_eq!(server.raft.role(), Role::Follower, "late votes make no leader of it");

        let mut server = wiped(3);
        server.timeout();
        server.receive(TWO, 1, grant());
        assert_eq!(server.raft.role(), Role::Leader);
        server.propose(5);
        let done = server.receive(THREE, 1, refused());
        assert_eq!((server.raft.role(), done.ready.heartbeat_timer), (Role::Follower, Some(HeartbeatTimer::Stop)));
        assert_eq!(done.ready.refusals, [(5, Refusal::Unknown { id: id(2, 1) })]);
    }

    /// It follows and takes entries like any other, and with the entry that readmits it, it votes: in later terms, never in
    /// the one in which it came back.
    #[test]
    fn it_votes_in_later_terms_only() {
        let mut server = wiped(3);
        server.receive(TWO, 2, refused());
        server.receive(TWO, 2, append_entries(EntryId::ZERO, vec![entry(1, 1), readmit(2, 2, ONE, NEW)], 1));
        assert!(!server.receive(THREE, 2, ask(id(9, 2))).granted(THREE));
        server.receive(TWO, 2, append_entries(id(2, 2), vec![], 2));
        assert!(!server.receive(THREE, 2, ask(id(9, 2))).granted(THREE), "not in the term in which it came back");
        assert!(server.receive(THREE, 3, ask(id(9, 2))).granted(THREE));
        // And it may be elected again.
        server.timeout();
        assert_eq!((server.raft.role(), server.raft.current_term()), (Role::Candidate, 4));
    }

    /// A refusal by one that has not heard of the readmission yet does not take it back.
    #[test]
    fn an_old_refusal_does_not_take_it_back() {
        let mut server = wiped(3);
        server.receive(TWO, 2, append_entries(EntryId::ZERO, vec![entry(1, 1), readmit(2, 2, ONE, NEW)], 2));
        let done = server.receive(THREE, 2, refused());
        assert!(done.ready.records.is_empty() && done.errors().is_empty());
        assert!(server.receive(THREE, 3, ask(id(9, 2))).granted(THREE));
    }

    /// Its old disk, brought back after another was readmitted in its place, is the lost one now: it may have voted, and it
    /// does not count.
    #[test]
    fn the_old_disk_does_not_come_back_unseen() {
        let mut server = Server::leader(3, 2, &[1]);
        server.receive(TWO, 3, append_entries(id(1, 1), vec![readmit(2, 3, ONE, NEW)], 2));
        assert!(!server.receive(THREE, 4, ask(id(9, 3))).granted(THREE));
        assert_eq!((server.timeout().sent, server.raft.role()), (vec![], Role::Follower));
    }
}

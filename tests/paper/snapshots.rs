//! §7, "Log compaction", and Figure 13, "InstallSnapshot RPC". The content of a snapshot never passes through the core:
//! here the test is the disk that stores the pieces.
use super::*;
use raft_lab::raft::event::{Event, Fact};
use raft_lab::raft::ready::{SendChunk, StoreChunk};
use raft_lab::raft::types::{Disk, DiskId, SnapshotMeta};
use server::Done;

fn meta(index: u64, term: u64) -> SnapshotMeta {
    SnapshotMeta { last: id(index, term), sum: 0x5a5a, bytes: 10, crc: 0xc0c0 }
}

fn install(meta: SnapshotMeta, offset: u64, data: &str) -> Body {
    Body::InstallSnapshot { meta, offset, data: data.into() }
}

fn taken(meta: SnapshotMeta, through: u64) -> Body {
    Body::SnapshotTaken { last: meta.last, crc: meta.crc, through }
}

fn stored(meta: SnapshotMeta) -> Input {
    Input::SnapshotStored { meta, readmitted: vec![] }
}

fn piece(meta: SnapshotMeta, offset: u64, data: &str) -> Option<StoreChunk> {
    Some(StoreChunk { meta, offset, data: data.into() })
}

/// The follower gets both halves of the snapshot from node_2 in `term`, and stores them.
fn take_over(server: &mut Server, term: u64, meta: SnapshotMeta) -> Done {
    server.receive(TWO, term, install(meta, 0, "01234"));
    server.act(Input::ChunkStored { meta, through: 5 });
    server.receive(TWO, term, install(meta, 5, "56789"));
    server.act(stored(meta))
}

/// A leader of term 3 that has committed entries of terms 1, 1, 2, 3 and holds only the last of them in its log.
fn compacted_leader() -> Server {
    let mut server = Server::leader(3, 3, &[1, 1, 2]);
    assert_eq!(server.receive(TWO, 3, matched(4)).committed(), [1, 2, 3, 4]);
    server.act(Input::SnapshotMade { meta: meta(3, 2) });
    assert_eq!(server.ids(), [id(4, 3)]);
    server
}

/// node_3 of that leader has only entry 1: it gets the snapshot.
fn sending() -> (Server, Done) {
    let mut server = compacted_leader();
    let rejected = Body::Rejected { prev: id(3, 2), conflict: id(2, 0), round: 0 };
    let done = server.receive(THREE, 3, rejected);
    (server, done)
}

fn chunk(offset: u64) -> Vec<SendChunk> {
    vec![SendChunk { to: THREE, term: 3, meta: meta(3, 2), offset, bytes: 256 * 1024 }]
}

/// The entries of a follower's log, its snapshot and its commit index.
fn place(server: &Server) -> (Vec<EntryId>, EntryId, u64) {
    (server.ids(), server.raft.log().base(), server.raft.commit_index())
}

mod compaction {
    //! §7: each server compacts its own log.
    use super::*;

    /// "Each server takes snapshots independently, covering just the committed entries in its log": "the last included
    /// index and term … are preserved to support the AppendEntries consistency check for the first log entry following
    /// the snapshot".
    #[test]
    fn the_log_begins_behind_the_last_included_entry() {
        let mut server = Server::follower(3, 1, &[1, 1, 1]);
        server.receive(TWO, 1, append_entries(id(3, 1), vec![], 2));
        let done = server.act(Input::SnapshotMade { meta: meta(2, 1) });
        assert_eq!(place(&server), (vec![id(3, 1)], id(2, 1), 2));
        let told = Fact::Compacted { last: id(2, 1), sum: 0x5a5a, bytes: 10, entries: 2 };
        assert_eq!(done.ready.events.iter().map(|event| &event.fact).collect::<Vec<_>>(), [&told]);
        let answer = server.receive(TWO, 1, append_entries(id(2, 1), vec![entry(3, 1), entry(4, 1)], 4));
        assert_eq!((answer.to(TWO).body, answer.committed()), (matched(4), vec![3, 4]));
    }

    /// A snapshot that is no later than what is there already changes nothing.
    #[test]
    fn an_older_snapshot_is_ignored() {
        let mut server = compacted_leader();
        for older in [meta(3, 2), meta(2, 1)] {
            assert!(server.act(Input::SnapshotMade { meta: older }).ready.events.is_empty());
        }
        assert_eq!(server.raft.snapshot(), Some(meta(3, 2)));
    }

    /// What a new file of the log begins with is all that has to be known with the snapshot.
    #[test]
    fn the_opening_says_everything_anew() {
        let mut server = compacted_leader();
        server.propose(1);
        let opening = server.raft.opening(4);
        assert_eq!(opening[0], Record::Base { id: id(4, 3), sum: server.raft.log().sum(4) });
        let mut persistent = Persistent::default();
        for record in opening {
            persistent.apply(record).expect("each record follows the ones before it");
        }
        assert_eq!((persistent.current_term, persistent.voted_for), (3, Some(ONE)));
        assert_eq!((persistent.base, persistent.last(), persistent.disks.len()), (id(4, 3), id(5, 3), 2));
    }

    /// A restart begins where the snapshot ends: what is in it is committed, and not applied again.
    #[test]
    fn a_restart_applies_only_what_follows_the_snapshot() {
        let mut persistent = Persistent { current_term: 2, base: id(3, 2), base_sum: 7, ..Persistent::default() };
        persistent.entries = vec![entry(4, 2)];
        let raft = Raft::new(config(3, false), persistent, Some(meta(3, 2)), Duration::ZERO).0;
        let mut server = Server { raft, now: Duration::ZERO };
        assert_eq!(place(&server), (vec![id(4, 2)], id(3, 2), 3));
        assert_eq!(server.receive(TWO, 2, append_entries(id(4, 2), vec![], 4)).committed(), [4]);
    }

    /// An old AppendEntries from before the snapshot (openraft 44381b0c): its beginning is committed, so it is equal.
    #[test]
    fn an_append_entries_that_begins_before_the_snapshot() {
        for (prev, new, answer, log) in [
            (EntryId::ZERO, entries(&[1]), 1, vec![id(3, 1)]),
            (EntryId::ZERO, entries(&[1, 1]), 2, vec![id(3, 1)]),
            (EntryId::ZERO, entries(&[1, 1, 1, 1]), 4, vec![id(3, 1), id(4, 1)]),
            (id(1, 1), vec![], 1, vec![id(3, 1)]),
            (id(1, 1), vec![entry(2, 1), entry(3, 1)], 3, vec![id(3, 1)]),
        ] {
            let mut server = Server::follower(3, 1, &[1, 1, 1]);
            server.receive(TWO, 1, append_entries(id(3, 1), vec![], 2));
            server.act(Input::SnapshotMade { meta: meta(2, 1) });
            let done = server.receive(TWO, 1, append_entries(prev, new, 2));
            assert_eq!((done.to(TWO).body, server.ids()), (matched(answer), log));
        }
    }

    /// One that contradicts what is committed is wrong; nothing of it is taken, and nothing panics.
    #[test]
    fn an_append_entries_that_contradicts_the_snapshot() {
        let mut server = Server::follower(3, 5, &[1, 1, 1]);
        server.receive(TWO, 5, append_entries(id(3, 1), vec![], 2));
        server.act(Input::SnapshotMade { meta: meta(2, 1) });
        for (prev, new) in [(EntryId::ZERO, vec![entry(1, 1), entry(2, 2), entry(3, 2)]), (id(2, 2), vec![entry(3, 2)])]
        {
            let done = server.receive(TWO, 5, append_entries(prev, new, 3));
            assert_eq!((done.errors().len(), done.sent.len()), (1, 0));
            assert_eq!(place(&server), (vec![id(3, 1)], id(2, 1), 2));
        }
    }
}

mod receiver {
    //! Figure 13, "Receiver implementation".
    use super::*;

    /// "1. Reply immediately if term < currentTerm".
    #[test]
    fn rule_1_an_older_term_is_answered_with_the_current_one() {
        let mut server = Server::follower(3, 3, &[]);
        let done = server.receive(TWO, 2, install(meta(5, 2), 0, "01234"));
        assert_eq!(done.to(TWO).term, 3);
        assert_eq!((done.ready.store_chunk, server.raft.leader()), (None, None));
    }

    /// "2. Create new snapshot file if first chunk (offset is 0)"; "3. Write data into snapshot file at given offset".
    #[test]
    fn rules_2_and_3_pieces_are_stored_in_order() {
        let (mut server, meta) = (Server::follower(3, 2, &[]), meta(5, 2));
        assert_eq!(server.receive(TWO, 2, install(meta, 0, "01234")).ready.store_chunk, piece(meta, 0, "01234"));
        server.act(Input::ChunkStored { meta, through: 5 });
        assert_eq!(server.receive(TWO, 2, install(meta, 5, "56789")).ready.store_chunk, piece(meta, 5, "56789"));
    }

    /// "3. … at given offset": a gap, or what is there already, is not stored; the answer says where to go on.
    #[test]
    fn rule_3_a_piece_that_does_not_follow_is_answered_with_what_is_there() {
        let (mut server, meta) = (Server::follower(3, 2, &[]), meta(5, 2));
        let done = server.receive(TWO, 2, install(meta, 5, "56789"));
        assert_eq!((done.to(TWO).body, done.ready.store_chunk), (taken(meta, 0), None), "the first piece is missing");
        server.receive(TWO, 2, install(meta, 0, "01234"));
        server.act(Input::ChunkStored { meta, through: 5 });
        for (offset, data) in [(0, "01234"), (7, "789"), (3, "34567"), (5, "")] {
            let done = server.receive(TWO, 2, install(meta, offset, data));
            assert_eq!((done.to(TWO).body, done.ready.store_chunk), (taken(meta, 5), None), "{data} at {offset}");
        }
    }

    /// The answer to a piece waits until it is stored, and a doubled piece is stored once.
    #[test]
    fn rule_3_one_piece_at_a_time() {
        let (mut server, meta) = (Server::follower(3, 2, &[]), meta(5, 2));
        let twice = vec![Server::message(TWO, 2, install(meta, 0, "01234")); 2];
        let done = server.act_all(twice);
        assert_eq!((done.sent.len(), done.ready.store_chunk), (0, piece(meta, 0, "01234")));
        let done = server.receive(TWO, 2, install(meta, 0, "01234"));
        assert_eq!((done.sent.len(), done.ready.store_chunk), (0, None));
        assert_eq!(server.act(Input::ChunkStored { meta, through: 5 }).to(TWO).body, taken(meta, 5));
    }

    /// "4. Reply and wait for more data chunks if done is false": nothing is taken over before the last byte.
    #[test]
    fn rule_4_a_part_changes_nothing() {
        let (mut server, meta) = (Server::follower(3, 2, &[1]), meta(5, 2));
        server.receive(TWO, 2, install(meta, 0, "01234"));
        let done = server.act(Input::ChunkStored { meta, through: 5 });
        assert_eq!((done.to(TWO).body, done.ready.installed), (taken(meta, 5), None));
        assert_eq!(place(&server), (vec![id(1, 1)], EntryId::ZERO, 0));
    }

    /// "5. Save snapshot file, discard any existing or partial snapshot with a smaller index".
    #[test]
    fn rule_5_a_newer_snapshot_takes_the_place_of_a_partial_one() {
        let mut server = Server::follower(3, 2, &[]);
        server.receive(TWO, 2, install(meta(5, 2), 0, "01234"));
        let done = server.receive(TWO, 2, install(meta(6, 2), 0, "abcde"));
        assert_eq!(done.ready.store_chunk, piece(meta(6, 2), 0, "abcde"));
        // The old one's last word comes late.
        assert!(server.act(Input::ChunkStored { meta: meta(5, 2), through: 5 }).sent.is_empty());
        assert_eq!(server.act(stored(meta(5, 2))).ready.installed, None);
        assert_eq!(server.act(Input::ChunkStored { meta: meta(6, 2), through: 5 }).to(TWO).body, taken(meta(6, 2), 5));
    }

    /// "6. If existing log entry has same index and term as snapshot's last included entry, retain log entries following
    /// it and reply".
    #[test]
    fn rule_6_what_follows_the_same_entry_stays() {
        let mut server = Server::follower(3, 2, &[1, 2, 2, 2]);
        let done = take_over(&mut server, 2, meta(2, 2));
        assert_eq!(place(&server), (vec![id(3, 2), id(4, 2)], id(2, 2), 2));
        assert_eq!((done.to(TWO).body, done.ready.installed), (matched(2), Some(meta(2, 2))));
    }

    /// "7. Discard the entire log".
    #[test]
    fn rule_7_otherwise_the_log_goes() {
        for log in [&[1, 1, 1, 1, 1, 1][..], &[1], &[]] {
            let mut server = Server::follower(3, 2, log);
            take_over(&mut server, 2, meta(5, 2));
            assert_eq!(place(&server), (vec![], id(5, 2), 5), "of {log:?}");
            let done = server.receive(TWO, 2, append_entries(id(5, 2), vec![entry(6, 2)], 6));
            assert_eq!((done.to(TWO).body, done.committed()), (matched(6), vec![6]));
        }
    }

    /// "8. Reset state machine using snapshot contents": said before anything else is applied, and on disk before it is
    /// acknowledged. Term and vote stay.
    #[test]
    fn rule_8_the_state_machine_is_replaced_and_nothing_of_the_snapshot_is_applied_again() {
        let mut server = Server::follower(3, 1, &[1, 1]);
        server.receive(THREE, 2, ask(id(9, 1)));
        take_over(&mut server, 2, meta(5, 2));
        let mut server = Server::follower(3, 1, &[1, 1]);
        server.receive(THREE, 2, ask(id(9, 1)));
        server.receive(TWO, 2, install(meta(5, 2), 0, "0123456789"));
        let ready = server.step(stored(meta(5, 2)));
        assert_eq!((ready.installed, ready.committed.len()), (Some(meta(5, 2)), 0));
        assert_eq!(ready.records[0], Record::Base { id: id(5, 2), sum: 0x5a5a });
        assert!(ready.records.contains(&Record::Vote { term: 2, voted_for: Some(THREE) }));
        assert!(ready.overtaking.is_empty() && ready.batch > 0);
        assert!(ready.messages.iter().any(|(to, message)| *to == TWO && message.body == matched(5)));
    }

    /// A snapshot that a follower has by now needs not be stored: through a committed index all logs are equal.
    #[test]
    fn what_is_committed_is_acknowledged_at_once() {
        let mut server = Server::follower(3, 2, &[1, 1, 2]);
        server.receive(TWO, 2, append_entries(id(3, 2), vec![], 2));
        let done = server.receive(TWO, 2, install(meta(2, 1), 0, "01234"));
        assert_eq!((done.to(TWO).body, done.ready.store_chunk), (matched(2), None));
        // It came on another way while the last piece was being stored.
        server.receive(TWO, 2, install(meta(3, 2), 0, "0123456789"));
        server.receive(TWO, 2, append_entries(id(3, 2), vec![], 3));
        let done = server.act(stored(meta(3, 2)));
        assert_eq!((done.ready.installed, done.to(TWO).body), (None, matched(3)));
    }

    /// It is the leader's message: a candidate of its term follows, and its timer starts anew (§5.2).
    #[test]
    fn a_candidate_follows_who_sends_a_snapshot() {
        let mut server = Server::candidate(3, 2, &[]);
        let done = server.receive(TWO, 2, install(meta(5, 2), 0, "01234"));
        assert_eq!((server.raft.role(), server.raft.leader()), (Role::Follower, Some(TWO)));
        assert!(done.ready.election_timer.is_some() && done.ready.store_chunk.is_some());
    }

    /// Who stands for election while the last piece is being stored takes nothing over; neither does who has heard of a
    /// new term and of no leader: nothing may be installed without its line, and that names the leader.
    #[test]
    fn nothing_is_installed_without_a_leader() {
        let meta = meta(5, 1);
        for input in [Input::ElectionTimeout, Server::message(THREE, 2, ask(id(9, 1)))] {
            let mut server = Server::follower(3, 1, &[]);
            server.receive(TWO, 1, install(meta, 0, "0123456789"));
            server.act(input);
            assert_eq!(server.raft.leader(), None);
            let done = server.act(stored(meta));
            assert_eq!((done.ready.installed, place(&server)), (None, (vec![], EntryId::ZERO, 0)));
            // The next leader sends it again, from its beginning.
            let again = server.receive(THREE, 2, install(meta, 10, ""));
            assert_eq!(again.to(THREE).body, taken(meta, 0));
            assert!(server.receive(THREE, 2, install(meta, 0, "0123456789")).ready.store_chunk.is_some());
            let done = server.act(stored(meta));
            let installed = Fact::Installed { last: id(5, 1), sum: 0x5a5a, bytes: 10, from: THREE };
            assert!(done.ready.events.iter().any(|Event { fact, .. }| *fact == installed));
        }
    }

    /// A snapshot that is not what it should be is thrown away and asked for again.
    #[test]
    fn a_broken_snapshot_is_sent_again() {
        let (mut server, meta) = (Server::follower(3, 2, &[]), meta(5, 2));
        server.receive(TWO, 2, install(meta, 0, "0123456789"));
        let done = server.act(Input::SnapshotBroken { meta, why: "line 3".to_owned() });
        assert_eq!((done.errors().len(), done.to(TWO).body), (1, taken(meta, 0)));
        assert!(server.receive(TWO, 2, install(meta, 0, "0123456789")).ready.store_chunk.is_some());
    }

    /// Numbers that no leader would send do no harm.
    #[test]
    fn absurd_pieces_are_refused() {
        let mut server = Server::follower(3, 2, &[]);
        let far = SnapshotMeta { bytes: u64::MAX, ..meta(5, 2) };
        for (meta, offset) in [(meta(5, 2), u64::MAX), (meta(5, 2), 8), (meta(5, 3), 0), (far, u64::MAX)] {
            let done = server.receive(TWO, 2, install(meta, offset, "01234"));
            assert!(done.ready.store_chunk.is_none(), "{meta:?} at {offset}");
        }
        assert_eq!(place(&server), (vec![], EntryId::ZERO, 0));
    }

    /// What the snapshot says of disks counts from then on.
    #[test]
    fn a_snapshot_brings_the_readmissions_that_are_in_it() {
        let (mut server, meta) = (Server::follower(3, 3, &[]), meta(5, 2));
        server.receive(TWO, 3, install(meta, 0, "0123456789"));
        let disk = Disk { id: DiskId(33), since: id(4, 2) };
        let done = server.act(Input::SnapshotStored { meta, readmitted: vec![(THREE, disk)] });
        assert!(done.ready.records.contains(&Record::Peer { node: THREE, disk }));
        let asks = |disk| Input::Message { from: THREE, disk, message: Server::body(3, ask(id(5, 2))) };
        assert!(matches!(server.act(asks(DiskId(3))).to(THREE).body, Body::Refused { disk: DiskId(33) }));
        assert!(server.act(asks(DiskId(33))).granted(THREE));
    }
}

mod leader {
    //! §7: "the leader must occasionally send snapshots to followers that lag behind".
    use super::*;

    /// "This happens when the leader has already discarded the next log entry that it needs to send to a follower."
    #[test]
    fn a_follower_that_needs_what_is_gone_gets_the_snapshot() {
        let (_, done) = sending();
        assert_eq!((done.ready.send_chunks, done.sent), (chunk(0), vec![]));
    }

    /// Not before: a follower that has the last included entry needs none.
    #[test]
    fn a_follower_that_has_its_last_entry_gets_entries() {
        let mut server = compacted_leader();
        let done = server.heartbeat();
        assert_eq!((done.append_to(THREE), done.ready.send_chunks), ((id(3, 2), vec![id(4, 3)]), vec![]));
        assert_eq!(server.receive(THREE, 3, matched(4)).ready.send_chunks, []);
    }

    /// "Send … chunks in order": each answer brings the next piece, once; a lost one is repeated with the heartbeat.
    #[test]
    fn pieces_are_sent_in_order_one_at_a_time() {
        let (mut server, _) = sending();
        assert_eq!(server.receive(THREE, 3, taken(meta(3, 2), 4)).ready.send_chunks, chunk(4));
        assert_eq!(server.receive(THREE, 3, taken(meta(3, 2), 4)).ready.send_chunks, [], "a doubled answer");
        let rejected = Body::Rejected { prev: id(3, 2), conflict: id(2, 0), round: 0 };
        assert_eq!(server.receive(THREE, 3, rejected).ready.send_chunks, [], "a doubled rejection");
        assert_eq!(server.heartbeat().ready.send_chunks, chunk(4));
        // The follower has restarted and lost what it had stored.
        assert_eq!(server.receive(THREE, 3, taken(meta(3, 2), 0)).ready.send_chunks, []);
        assert_eq!(server.heartbeat().ready.send_chunks, chunk(0));
    }

    /// While the follower stores the last piece that is repeated once a heartbeat, and it hears that the leader
    /// lives. (A follower never says that it has taken the last byte: it says that it has installed it.)
    #[test]
    fn the_last_piece_is_repeated() {
        let (mut server, _) = sending();
        assert_eq!(server.receive(THREE, 3, taken(meta(3, 2), 8)).ready.send_chunks, chunk(8));
        assert_eq!(server.receive(THREE, 3, taken(meta(3, 2), 10)).ready.send_chunks, []);
        let done = server.heartbeat();
        assert_eq!(done.ready.send_chunks, chunk(8));
        assert!(matches!(done.to(THREE).body, Body::AppendEntries { heartbeat: true, prev: EntryId::ZERO, .. }));
        // Its answer to that sign of life is no answer about the log.
        assert_eq!(server.receive(THREE, 3, matched(0)).sent.len(), 0);
        assert!(server.raft.is_sending_snapshot());
    }

    /// Then replication goes on behind it.
    #[test]
    fn behind_the_snapshot_entries_follow() {
        let (mut server, _) = sending();
        let done = server.receive(THREE, 3, matched(3));
        assert_eq!(done.append_to(THREE), (id(3, 2), vec![id(4, 3)]));
        assert!(!server.raft.is_sending_snapshot());
        server.receive(THREE, 3, matched(4));
        assert_eq!(server.propose(9).append_to(THREE), (id(4, 3), vec![id(5, 3)]));
    }

    /// A snapshot that is made in the meantime is sent from its beginning; the old one does not help any more.
    #[test]
    fn a_newer_snapshot_is_sent_from_its_beginning() {
        let (mut server, _) = sending();
        server.receive(THREE, 3, taken(meta(3, 2), 4));
        let done = server.act(Input::SnapshotMade { meta: meta(4, 3) });
        assert_eq!(done.ready.send_chunks, vec![SendChunk { meta: meta(4, 3), ..chunk(0)[0].clone() }]);
        assert_eq!(server.receive(THREE, 3, taken(meta(3, 2), 8)).ready.send_chunks, []);
        let done = server.receive(THREE, 3, matched(3));
        assert_eq!((done.sent, done.ready.send_chunks), (vec![], vec![]), "entry 4 is in the snapshot alone");
        server.receive(THREE, 3, matched(4));
        assert_eq!(server.propose(9).append_to(THREE), (id(4, 3), vec![id(5, 3)]));
    }

    /// A follower confirms reads while it gets a snapshot (thesis §6.4).
    #[test]
    fn a_read_is_confirmed_by_a_follower_in_transfer() {
        let (mut server, _) = sending();
        let round = server::round_of(&server.read(7).to(THREE));
        assert_eq!(server.receive(THREE, 3, Body::Matched { index: 0, round }).ready.reads, [7]);
    }

    /// Compaction takes away what a follower was being probed with, or what was under way to it.
    #[test]
    fn compaction_under_a_probe_and_under_the_pipeline() {
        // node_3 is probed at its old end and answers that it lacks everything.
        let mut server = Server::leader(3, 3, &[1, 1, 2]);
        server.receive(THREE, 3, Body::Rejected { prev: id(3, 2), conflict: id(2, 0), round: 0 });
        server.receive(TWO, 3, matched(4));
        server.act(Input::SnapshotMade { meta: meta(4, 3) });
        assert_eq!(server.receive(THREE, 3, matched(2)).ready.send_chunks, [], "entry 3 is not asked for yet");
        let done = server.receive(THREE, 3, Body::Rejected { prev: id(4, 3), conflict: id(3, 0), round: 0 });
        assert_eq!(done.ready.send_chunks.len(), 1);
        // node_3 is sent entries one after the other, all lost; the snapshot goes beyond some of them.
        for rejected in 4..=7 {
            let mut server = Server::leader(3, 3, &[1, 1, 2]);
            server.receive(TWO, 3, matched(4));
            server.receive(THREE, 3, matched(4));
            for token in 5..=7 {
                server.propose(token);
            }
            server.receive(TWO, 3, matched(7));
            server.act(Input::SnapshotMade { meta: meta(6, 3) });
            let done = server.receive(THREE, 3, Body::Rejected { prev: id(rejected, 3), conflict: id(5, 0), round: 0 });
            let gets_snapshot = !done.ready.send_chunks.is_empty();
            let is_probed = done.sent.iter().any(|(to, _)| *to == THREE);
            match rejected {
                4 => assert!(done.errors().is_empty() && !gets_snapshot, "it has acknowledged 4: an old message"),
                5 | 6 => assert!(gets_snapshot),
                _ => assert!(is_probed && done.append_to(THREE).0 == id(6, 3)),
            }
        }
    }

    /// What a follower says of a snapshot that it was never sent, or of bytes that are not there, is ignored.
    #[test]
    fn absurd_answers_change_nothing() {
        let (mut server, _) = sending();
        for (last, crc, through) in
            [(id(3, 2), 0xc0c0, u64::MAX), (id(3, 2), 0xc0c0, 11), (id(3, 2), 1, 4), (id(9, 3), 0xc0c0, 4)]
        {
            let done = server.receive(THREE, 3, Body::SnapshotTaken { last, crc, through });
            assert_eq!((done.sent, done.ready.send_chunks), (vec![], vec![]));
        }
        let done = server.receive(THREE, 3, matched(u64::MAX));
        assert_eq!((done.errors().len(), done.committed()), (1, vec![]));
        assert_eq!(server.heartbeat().ready.send_chunks, chunk(0));
    }

    /// A new connection goes on where the old one was, after it has asked what the follower has.
    #[test]
    fn a_reconnect_goes_on_with_the_same_snapshot() {
        let (mut server, _) = sending();
        server.receive(THREE, 3, taken(meta(3, 2), 4));
        let done = server.act(Input::PeerConnected { peer: THREE, detail: String::new() });
        assert_eq!((done.append_to(THREE).0, done.ready.send_chunks), (id(4, 3), vec![]));
        server.receive(THREE, 3, Body::Rejected { prev: id(4, 3), conflict: id(2, 0), round: 0 });
        let done = server.receive(THREE, 3, Body::Rejected { prev: id(3, 2), conflict: id(2, 0), round: 0 });
        assert_eq!(done.ready.send_chunks, chunk(4));
    }
}

//! The rules of the Raft paper, one test a rule, over the public core.
//!
//! "Figure 2" is the summary of the algorithm in Ongaro & Ousterhout, "In Search of an Understandable Consensus
//! Algorithm" (extended version, 2014); § is a section of it, "thesis §" one of Ongaro's dissertation. The server under
//! test is node_1; unless a test says otherwise it runs the plain protocol, without pre-vote.

#[path = "paper/crashes_and_clients.rs"]
mod crashes_and_clients;
#[path = "paper/nonsense.rs"]
mod nonsense;
#[path = "paper/readmission.rs"]
mod readmission;
#[path = "paper/reads.rs"]
mod reads;
#[path = "paper/server.rs"]
mod server;
#[path = "paper/snapshots.rs"]
mod snapshots;

use std::time::Duration;

use raft_lab::raft::message::Body;
use raft_lab::raft::ready::{HeartbeatTimer, Input, Refusal};
use raft_lab::raft::types::{EntryId, NodeId, Persistent, Record, Role};
use raft_lab::raft::{Config, Raft};
use server::{ONE, Server, THREE, TWO, append_entries, config, entries, entry, id};

fn ask(last: EntryId) -> Body {
    Body::RequestVote { last }
}

fn grant() -> Body {
    Body::RequestVoteReply { granted: true }
}

fn matched(index: u64) -> Body {
    Body::Matched { index, round: 0 }
}

mod state {
    //! Figure 2, "State".
    use super::*;

    /// "currentTerm: latest term server has seen (initialized to 0 on first boot)"; "votedFor … (or null if none)".
    #[test]
    fn first_boot_starts_at_term_0_without_a_vote_and_an_empty_log() {
        let server = Server::follower(3, 0, &[]);
        assert_eq!((server.raft.current_term(), server.raft.voted_for()), (0, None));
        assert_eq!((server.raft.log().last(), server.raft.commit_index()), (EntryId::ZERO, 0));
    }

    /// "Persistent state on all servers": term, vote and log come back; the commit index begins at 0.
    #[test]
    fn a_restart_keeps_term_vote_and_log_and_nothing_else() {
        let persistent =
            Persistent { current_term: 4, voted_for: Some(TWO), entries: entries(&[1, 1, 3]), ..Persistent::default() };
        let (raft, _) = Raft::new(config(3, false), persistent, None, Duration::ZERO);
        assert_eq!((raft.current_term(), raft.voted_for(), raft.log().last()), (4, Some(TWO), id(3, 3)));
        assert_eq!((raft.commit_index(), raft.role(), raft.leader()), (0, Role::Follower, None));
    }

    /// "Updated on stable storage before responding to RPCs": a vote leaves behind its record …
    #[test]
    fn a_vote_is_on_disk_before_it_is_sent() {
        let mut server = Server::follower(3, 0, &[]);
        let ready = server.step(Server::message(TWO, 1, ask(EntryId::ZERO)));
        assert_eq!(ready.records.last(), Some(&Record::Vote { term: 1, voted_for: Some(TWO) }));
        assert!(ready.overtaking.is_empty(), "nothing may leave before the vote is synced");
        assert_eq!(ready.messages.len(), 1);
    }

    /// … a candidacy behind its term and its own vote, in one record …
    #[test]
    fn a_candidacy_is_on_disk_before_votes_are_asked_for() {
        let mut server = Server::follower(3, 0, &[]);
        let ready = server.step(Input::ElectionTimeout);
        assert_eq!(ready.records, [Record::Vote { term: 1, voted_for: Some(ONE) }]);
        assert!(ready.overtaking.is_empty());
        assert_eq!(ready.messages.len(), 2);
    }

    /// … and an acknowledgement behind the entries that it vouches for.
    #[test]
    fn entries_are_on_disk_before_they_are_acknowledged() {
        let mut server = Server::follower(3, 1, &[]);
        let ready = server.step(Server::message(TWO, 1, append_entries(EntryId::ZERO, entries(&[1, 1]), 0)));
        assert_eq!(ready.records, entries(&[1, 1]).into_iter().map(Record::Entry).collect::<Vec<_>>());
        assert!(ready.overtaking.is_empty());
        assert_eq!(ready.messages[0].1.body, matched(2));
    }

    /// "nextIndex[] … (initialized to leader last log index + 1)".
    #[test]
    fn a_new_leader_first_sends_what_follows_its_old_end() {
        let mut server = Server::candidate(3, 3, &[1, 1, 2]);
        let done = server.receive(TWO, 3, grant());
        for peer in [TWO, THREE] {
            assert_eq!(done.append_to(peer), (id(3, 2), vec![id(4, 3)]));
        }
    }

    /// "matchIndex[] … (initialized to 0)": what a follower had before is not taken for granted.
    #[test]
    fn a_new_leader_counts_no_copy_before_it_is_acknowledged() {
        let mut server = Server::leader(3, 3, &[1, 1, 2]);
        assert_eq!(server.heartbeat().committed(), []);
        assert_eq!(server.receive(TWO, 3, matched(3)).committed(), [], "index 3 is of an old term");
        assert_eq!(server.receive(TWO, 3, matched(4)).committed(), [1, 2, 3, 4]);
    }
}

mod append_entries_receiver {
    //! Figure 2, "AppendEntries RPC, receiver implementation".
    use super::*;

    /// "1. Reply false if term < currentTerm (§5.1)".
    #[test]
    fn rule_1_an_older_term_is_refused_with_the_current_one() {
        let mut server = Server::follower(3, 3, &[1]);
        let done = server.receive(TWO, 2, append_entries(id(1, 1), vec![entry(2, 2)], 1));
        assert!(matches!(done.to(TWO).body, Body::Rejected { .. }));
        assert_eq!(done.to(TWO).term, 3);
        assert_eq!((server.terms(), server.raft.commit_index(), server.raft.leader()), (vec![1], 0, None));
    }

    /// "2. Reply false if log doesn't contain an entry at prevLogIndex whose term matches prevLogTerm (§5.3)".
    #[test]
    fn rule_2_a_gap_or_another_term_before_the_entries_is_refused() {
        for prev in [id(3, 1), id(2, 2)] {
            let mut server = Server::follower(3, 3, &[1, 1]);
            let done = server.receive(TWO, 3, append_entries(prev, vec![entry(prev.index + 1, 3)], 9));
            assert!(matches!(done.to(TWO).body, Body::Rejected { prev: refused, .. } if refused == prev));
            assert_eq!((server.terms(), server.raft.commit_index()), (vec![1, 1], 0));
        }
    }

    /// "3. If an existing entry conflicts with a new one (same index but different terms), delete the existing entry
    /// and all that follow it (§5.3)"; "4. Append any new entries not already in the log". The table is Figure 7's
    /// idea: followers that miss entries, have more, or both.
    #[test]
    fn rules_3_and_4_conflicts_go_and_new_entries_come() {
        let leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
        for follower in [
            &[1, 1, 1, 4, 4, 5, 5, 6, 6][..],
            &[1, 1, 1, 4],
            &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
            &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
            &[1, 1, 1, 4, 4, 4, 4],
            &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
        ] {
            let mut server = Server::follower(3, 8, follower);
            let mut new = entries(&leader);
            new.push(entry(11, 8));
            let done = server.receive(TWO, 8, append_entries(EntryId::ZERO, new, 0));
            assert_eq!(server.terms(), [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8], "of {follower:?}");
            assert_eq!(done.to(TWO).body, matched(11));
        }
    }

    /// "3. If an existing entry conflicts": without a conflict nothing goes, however old and short the message is.
    #[test]
    fn rule_3_without_a_conflict_nothing_is_deleted() {
        let mut server = Server::follower(3, 1, &[1, 1, 1]);
        for (prev, new, proven) in [(EntryId::ZERO, vec![entry(1, 1)], 1), (id(1, 1), vec![], 1), (id(3, 1), vec![], 3)]
        {
            let done = server.receive(TWO, 1, append_entries(prev, new, 0));
            assert_eq!(done.to(TWO).body, matched(proven), "only what the message proves is acknowledged");
            assert_eq!(server.terms(), [1, 1, 1]);
            assert!(done.ready.records.is_empty());
        }
    }

    /// "4. Append any new entries not already in the log": what is there is not written again.
    #[test]
    fn rule_4_only_what_is_missing_is_written() {
        let mut server = Server::follower(3, 1, &[1, 1]);
        let done = server.receive(TWO, 1, append_entries(EntryId::ZERO, entries(&[1, 1, 1]), 0));
        assert_eq!(done.ready.records, [Record::Entry(entry(3, 1))]);
    }

    /// "5. If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)".
    #[test]
    fn rule_5_the_commit_index_is_capped_by_what_the_message_proves() {
        for (prev, new, leader_commit, commit) in [
            (id(1, 1), vec![entry(2, 1)], 1, 1),
            (id(1, 1), vec![entry(2, 1)], 2, 2),
            (id(1, 1), vec![entry(2, 1)], 9, 2),
            (id(1, 1), vec![], 3, 1),
            (EntryId::ZERO, vec![], 3, 0),
        ] {
            let mut server = Server::follower(3, 1, &[1, 1, 1]);
            let done = server.receive(TWO, 1, append_entries(prev, new, leader_commit));
            assert_eq!(server.raft.commit_index(), commit, "after {prev}, leaderCommit {leader_commit}");
            assert_eq!(done.committed(), (1..=commit).collect::<Vec<_>>());
        }
    }

    /// "5. If leaderCommit > commitIndex": it never goes back.
    #[test]
    fn rule_5_the_commit_index_never_falls() {
        let mut server = Server::follower(3, 1, &[1, 1, 1]);
        server.receive(TWO, 1, append_entries(id(3, 1), vec![], 3));
        assert_eq!(server.receive(TWO, 1, append_entries(id(1, 1), vec![], 1)).committed(), []);
        assert_eq!(server.raft.commit_index(), 3);
    }
}

mod request_vote_receiver {
    //! Figure 2, "RequestVote RPC, receiver implementation".
    use super::*;

    /// "1. Reply false if term < currentTerm (§5.1)".
    #[test]
    fn rule_1_an_older_term_gets_no_vote() {
        let mut server = Server::follower(3, 3, &[]);
        let done = server.receive(TWO, 2, ask(id(9, 2)));
        assert!(!done.granted(TWO));
        assert_eq!((done.to(TWO).term, server.raft.voted_for()), (3, None));
    }

    /// "2. If votedFor is null or candidateId …": one vote a term, first come, first served (§5.2); who lost the
    /// answer gets it again.
    #[test]
    fn rule_2_one_vote_a_term() {
        let mut server = Server::follower(3, 0, &[]);
        assert!(server.receive(TWO, 1, ask(EntryId::ZERO)).granted(TWO));
        assert!(!server.receive(THREE, 1, ask(id(9, 1))).granted(THREE));
        assert!(server.receive(TWO, 1, ask(EntryId::ZERO)).granted(TWO), "a repeated request is granted again");
        assert!(server.receive(THREE, 2, ask(EntryId::ZERO)).granted(THREE), "a new term, a new vote");
    }

    /// "2. … and candidate's log is at least as up-to-date as receiver's log, grant vote (§5.2, §5.4)". §5.4.1: "If the
    /// logs have last entries with different terms, then the log with the later term is more up-to-date. If the logs
    /// end with the same term, then whichever log is longer is more up-to-date."
    #[test]
    fn rule_2_only_for_a_log_that_is_at_least_as_up_to_date() {
        for (last, granted) in [
            (id(2, 2), true),
            (id(3, 2), true),
            (id(1, 3), true),
            (id(1, 2), false),
            (id(9, 1), false),
            (EntryId::ZERO, false),
        ] {
            let mut server = Server::follower(3, 3, &[1, 2]);
            assert_eq!(server.receive(TWO, 4, ask(last)).granted(TWO), granted, "its log ends at {last}, mine at 2@2");
            assert_eq!(server.raft.voted_for(), granted.then_some(TWO));
            assert_eq!(server.raft.current_term(), 4, "the term is adopted either way (§5.1)");
        }
    }

    /// A refusal is no vote: the next candidate may still have it.
    #[test]
    fn rule_2_a_refusal_does_not_use_the_vote_up() {
        let mut server = Server::follower(3, 1, &[1]);
        assert!(!server.receive(TWO, 2, ask(EntryId::ZERO)).granted(TWO));
        assert!(server.receive(THREE, 2, ask(id(1, 1))).granted(THREE));
    }
}

mod all_servers {
    //! Figure 2, "Rules for Servers: All Servers".
    use super::*;

    /// "If commitIndex > lastApplied: increment lastApplied, apply log[lastApplied] to state machine (§5.3)": in
    /// order, each once.
    #[test]
    fn committed_entries_are_applied_in_order_and_once() {
        let mut server = Server::follower(3, 1, &[]);
        let mut applied = server.receive(TWO, 1, append_entries(EntryId::ZERO, entries(&[1, 1, 1]), 2)).committed();
        applied.extend(server.receive(TWO, 1, append_entries(EntryId::ZERO, entries(&[1, 1, 1]), 2)).committed());
        applied.extend(server.receive(TWO, 1, append_entries(id(3, 1), vec![], 3)).committed());
        assert_eq!(applied, [1, 2, 3]);
    }

    /// "If RPC request or response contains term T > currentTerm: set currentTerm = T, convert to follower (§5.1)",
    /// whatever the role and whatever the message.
    #[test]
    fn a_newer_term_makes_a_follower_of_everyone() {
        let makes: [fn() -> Server; 3] =
            [|| Server::follower(3, 2, &[1]), || Server::candidate(3, 2, &[1]), || Server::leader(3, 2, &[1])];
        for make in makes {
            for body in [
                ask(EntryId::ZERO),
                Body::RequestVoteReply { granted: false },
                Body::PreVote { last: EntryId::ZERO },
                Body::PreVoteReply { granted: false },
                append_entries(EntryId::ZERO, vec![], 0),
                matched(1),
                Body::Rejected { prev: id(1, 1), conflict: id(1, 0), round: 0 },
            ] {
                let mut server = make();
                let done = server.receive(TWO, 7, body.clone());
                assert_eq!((server.raft.current_term(), server.raft.role()), (7, Role::Follower), "after {body:?}");
                assert_eq!(done.votes_on_disk().first(), Some(&(7, None)), "and the term is on disk");
            }
        }
    }

    /// §5.1: "Current terms are exchanged whenever servers communicate."
    #[test]
    fn every_message_carries_the_current_term() {
        let mut server = Server::leader(3, 4, &[1, 3]);
        let mut sent = server.propose(1).sent;
        sent.extend(server.heartbeat().sent);
        sent.extend(server.receive(TWO, 2, ask(EntryId::ZERO)).sent);
        assert!(sent.len() >= 3 && sent.iter().all(|(_, message)| message.term == 4));
    }
}

mod followers {
    //! Figure 2, "Rules for Servers: Followers (§5.2)".
    use super::*;

    /// §5.2: "When servers start up, they begin as followers", with an election timeout "chosen randomly from a fixed
    /// interval".
    #[test]
    fn servers_begin_as_followers_with_a_random_timeout() {
        let (raft, ready) = Raft::new(config(3, false), Persistent::default(), None, Duration::ZERO);
        let timer = ready.election_timer.expect("the election timer is set at the start");
        assert_eq!(raft.role(), Role::Follower);
        assert_eq!((timer.min, timer.max), (Duration::from_secs(6), Duration::from_secs(10)));
        assert!(ready.messages.is_empty() && ready.records.is_empty() && ready.heartbeat_timer.is_none());
    }

    /// "Respond to RPCs from candidates and leaders", and issue none themselves.
    #[test]
    fn followers_only_answer() {
        let mut server = Server::follower(3, 1, &[1]);
        assert!(server.heartbeat().sent.is_empty());
        assert_eq!(server.receive(TWO, 1, append_entries(id(1, 1), vec![], 0)).sent.len(), 1);
    }

    /// "If election timeout elapses without receiving AppendEntries RPC from current leader or granting vote to
    /// candidate: convert to candidate": these two set the timer anew, and nothing else does.
    #[test]
    fn a_heartbeat_and_a_granted_vote_reset_the_election_timer() {
        let reset = |last: EntryId, body: fn(EntryId) -> Body, term| {
            let mut server = Server::follower(3, 2, &[1, 2]);
            server.receive(TWO, term, body(last)).ready.election_timer.is_some()
        };
        assert!(reset(id(2, 2), |prev| append_entries(prev, vec![], 0), 2));
        assert!(reset(id(7, 2), |prev| append_entries(prev, vec![], 0), 2), "also one that does not match");
        assert!(!reset(id(2, 2), |prev| append_entries(prev, vec![], 0), 1), "an old leader does not count");
        assert!(reset(id(2, 2), ask, 3));
        assert!(!reset(id(1, 1), ask, 3), "a refused vote does not count");
        assert!(!reset(id(2, 2), ask, 1));
    }

    /// A heartbeat that waited behind the timer's message came in time all the same.
    #[test]
    fn a_heartbeat_in_the_same_batch_stops_the_election() {
        let mut server = Server::follower(3, 1, &[1]);
        let heartbeat = Server::message(TWO, 1, append_entries(id(1, 1), vec![], 0));
        server.raft.step(Duration::from_secs(9), vec![Input::ElectionTimeout, heartbeat]);
        assert_eq!((server.raft.role(), server.raft.current_term()), (Role::Follower, 1));
    }
}

mod candidates {
    //! Figure 2, "Rules for Servers: Candidates (§5.2)".
    use super::*;

    /// "On conversion to candidate, start election: increment currentTerm, vote for self, reset election timer, send
    /// RequestVote RPCs to all other servers".
    #[test]
    fn an_election_starts_with_a_new_term_and_an_own_vote() {
        let mut server = Server::follower(5, 2, &[1, 2]);
        let done = server.timeout();
        assert_eq!((server.raft.role(), server.raft.current_term()), (Role::Candidate, 3));
        assert_eq!(server.raft.voted_for(), Some(ONE));
        assert_eq!(done.votes_on_disk(), [(3, Some(ONE))], "term and vote in one record");
        assert!(done.ready.election_timer.is_some());
        for peer in (2..=5).map(NodeId) {
            assert_eq!((done.to(peer).term, done.to(peer).body), (3, ask(id(2, 2))));
        }
    }

    /// "If votes received from majority of servers: become leader".
    #[test]
    fn a_majority_of_the_full_cluster_makes_a_leader() {
        let mut server = Server::candidate(5, 1, &[]);
        server.receive(TWO, 1, grant());
        server.receive(TWO, 1, grant());
        assert_eq!(server.raft.role(), Role::Candidate, "a repeated answer is one vote");
        server.receive(THREE, 1, Body::RequestVoteReply { granted: false });
        assert_eq!(server.raft.role(), Role::Candidate, "a refusal is none");
        server.receive(NodeId(4), 1, grant());
        assert_eq!(server.raft.role(), Role::Leader);
    }

    /// A cluster of one is its own majority.
    #[test]
    fn one_server_alone_elects_itself() {
        let mut server = Server::follower(1, 0, &[]);
        let done = server.timeout();
        assert_eq!((server.raft.role(), server.raft.current_term(), done.committed()), (Role::Leader, 1, vec![1]));
    }

    /// Votes of an earlier term are none in this one (§5.1: stale messages are ignored).
    #[test]
    fn votes_of_an_earlier_round_do_not_count() {
        let mut server = Server::candidate(3, 1, &[]);
        server.timeout();
        server.receive(TWO, 1, grant());
        assert_eq!((server.raft.role(), server.raft.current_term()), (Role::Candidate, 2));
    }

    /// "If AppendEntries RPC received from new leader: convert to follower". §5.2: of its own term or a newer one;
    /// "otherwise the candidate rejects the RPC and continues in candidate state".
    #[test]
    fn a_candidate_follows_a_leader_of_its_term() {
        for (term, role) in [(1, Role::Candidate), (2, Role::Follower), (3, Role::Follower)] {
            let mut server = Server::candidate(3, 2, &[]);
            server.receive(TWO, term, append_entries(EntryId::ZERO, vec![], 0));
            assert_eq!((server.raft.role(), server.raft.current_term()), (role, term.max(2)));
            assert_eq!(server.raft.leader(), (role == Role::Follower).then_some(TWO));
        }
    }

    /// Following a leader of its own term, a candidate keeps the vote that it gave itself.
    #[test]
    fn stepping_down_in_the_same_term_keeps_the_vote() {
        let mut server = Server::candidate(3, 2, &[]);
        server.receive(TWO, 2, append_entries(EntryId::ZERO, vec![], 0));
        assert_eq!(server.raft.voted_for(), Some(ONE));
        assert!(!server.receive(THREE, 2, ask(id(9, 2))).granted(THREE));
    }

    /// "If election timeout elapses: start new election".
    #[test]
    fn a_split_vote_ends_with_a_new_election() {
        let mut server = Server::candidate(3, 1, &[]);
        let done = server.timeout();
        assert_eq!((server.raft.role(), server.raft.current_term()), (Role::Candidate, 2));
        assert_eq!(done.to(TWO).body, ask(EntryId::ZERO));
    }
}

mod leaders {
    //! Figure 2, "Rules for Servers: Leaders".
    use super::*;

    /// "Upon election: send initial empty AppendEntries RPCs (heartbeat) to each server; repeat during idle periods to
    /// prevent election timeouts (§5.2)".
    #[test]
    fn a_new_leader_says_so_at_once_and_again_with_each_heartbeat() {
        let mut server = Server::candidate(3, 1, &[]);
        let elected = server.receive(TWO, 1, grant());
        let again = server.heartbeat();
        assert_eq!(elected.ready.heartbeat_timer, Some(HeartbeatTimer::Start));
        for done in [elected, again] {
            for peer in [TWO, THREE] {
                assert!(matches!(done.to(peer).body, Body::AppendEntries { heartbeat: true, .. }));
            }
        }
    }

    /// "If command received from client: append entry to local log, respond after entry applied to state machine
    /// (§5.3)".
    #[test]
    fn a_client_is_answered_once_its_entry_is_committed() {
        let mut server = Server::leader(3, 1, &[]);
        server.receive(TWO, 1, matched(1));
        let done = server.propose(77);
        assert_eq!(server.ids(), [id(1, 1), id(2, 1)]);
        assert!(done.ready.committed.is_empty() && done.ready.refusals.is_empty());
        let done = server.receive(THREE, 1, matched(2));
        assert_eq!((done.ready.committed[0].entry.id, done.ready.committed[0].token), (id(2, 1), Some(77)));
    }

    /// "If last log index ≥ nextIndex for a follower: send AppendEntries RPC with log entries starting at nextIndex".
    #[test]
    fn a_follower_is_sent_what_it_lacks() {
        let mut server = Server::leader(3, 1, &[]);
        server.receive(TWO, 1, matched(1));
        assert_eq!(server.propose(1).append_to(TWO), (id(1, 1), vec![id(2, 1)]));
        assert_eq!(server.propose(2).append_to(TWO), (id(2, 1), vec![id(3, 1)]), "the pipeline does not wait");
    }

    /// "If AppendEntries fails because of log inconsistency: decrement nextIndex and retry (§5.3)", with the paper's
    /// shortcut: "the follower can include the term of the conflicting entry and the first index it stores for that
    /// term": one message a term, not one an entry.
    #[test]
    fn a_rejection_leads_back_to_where_the_logs_part() {
        let mut server = Server::leader(3, 6, &[1, 1, 1, 4, 4, 5]);
        let reject = |prev, conflict| Body::Rejected { prev, conflict, round: 0 };
        let done = server.receive(TWO, 6, reject(id(6, 5), id(4, 0)));
        assert_eq!(done.append_to(TWO).0, id(3, 1), "a log that ends before: from its end");
        let done = server.receive(THREE, 6, reject(id(6, 5), id(4, 4)));
        assert_eq!(done.append_to(THREE).0, id(5, 4), "a term that the leader has: from where it ends here");
        let done = server.receive(THREE, 6, reject(id(5, 4), id(2, 2)));
        assert_eq!(done.append_to(THREE).0, id(1, 1), "one that it lacks: from before it began there");
    }

    /// §5.3: "If followers crash or run slowly, or if network packets are lost, the leader retries AppendEntries RPCs
    /// indefinitely".
    #[test]
    fn an_unanswered_entry_is_sent_again() {
        let mut server = Server::leader(3, 1, &[]);
        for _ in 0..3 {
            assert_eq!(server.heartbeat().append_to(THREE), (EntryId::ZERO, vec![id(1, 1)]));
        }
    }

    /// "If there exists an N such that N > commitIndex, a majority of matchIndex[i] ≥ N, and log[N].term ==
    /// currentTerm: set commitIndex = N (§5.3, §5.4)".
    #[test]
    fn an_entry_on_a_majority_is_committed() {
        let mut server = Server::leader(5, 1, &[]);
        assert_eq!(server.receive(TWO, 1, matched(1)).committed(), []);
        assert_eq!(server.receive(TWO, 1, matched(1)).committed(), [], "one node counts once");
        assert_eq!(server.receive(THREE, 1, matched(1)).committed(), [1]);
    }

    /// §5.4.2: "Only log entries from the leader's current term are committed by counting replicas; once an entry from
    /// the current term has been committed in this way, then all prior entries are committed indirectly".
    #[test]
    fn entries_of_earlier_terms_are_committed_with_one_of_this_term() {
        let mut server = Server::leader(3, 4, &[1, 2]);
        assert_eq!(server.receive(TWO, 4, matched(2)).committed(), [], "Figure 8");
        assert_eq!(server.receive(TWO, 4, matched(3)).committed(), [1, 2, 3]);
    }

    /// Figure 3, "Leader Append-Only: a leader never overwrites or deletes entries in its log" (§5.3).
    #[test]
    fn a_leader_only_appends() {
        let mut server = Server::leader(3, 3, &[1, 2]);
        let before = server.ids();
        server.receive(TWO, 3, append_entries(EntryId::ZERO, vec![entry(1, 3)], 1));
        server.receive(TWO, 2, append_entries(EntryId::ZERO, vec![entry(1, 2)], 1));
        server.receive(TWO, 3, Body::Rejected { prev: id(2, 2), conflict: id(1, 0), round: 0 });
        assert_eq!((server.ids(), server.raft.role()), (before, Role::Leader));
    }

    /// §5.3: the leader "includes that index in future AppendEntries RPCs (including heartbeats) so that the other
    /// servers eventually find out".
    #[test]
    fn followers_are_told_the_commit_index() {
        let mut server = Server::leader(3, 1, &[]);
        let done = server.receive(TWO, 1, matched(1));
        assert!(matches!(done.to(TWO).body, Body::AppendEntries { commit: 1, .. }), "at once where the log matches");
        assert!(matches!(server.heartbeat().to(THREE).body, Body::AppendEntries { commit: 1, .. }));
    }

    /// §5.1: a leader that hears of a newer term "immediately reverts to follower state", and what its clients wait
    /// for is neither done nor failed.
    #[test]
    fn a_deposed_leader_falls_silent() {
        let mut server = Server::leader(3, 1, &[]);
        server.propose(77);
        let done = server.receive(TWO, 2, Body::RequestVoteReply { granted: false });
        assert_eq!(done.ready.refusals, [(77, Refusal::Unknown { id: id(2, 1) })]);
        assert_eq!(done.ready.heartbeat_timer, Some(HeartbeatTimer::Stop));
        assert!(done.sent.is_empty() && server.heartbeat().sent.is_empty());
    }
}

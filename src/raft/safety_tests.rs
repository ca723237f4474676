//! False histories, each made by hand, and the property that each contradicts; and true ones that
//! look strange.

use std::time::Duration;

use super::super::event::{Event, Fact, Source, Span};
use super::super::log::chain;
use super::super::types::{EntryId, Index, NodeId, Role, Term};
use super::*;

const FOLLOWER: Role = Role::Follower;
const CANDIDATE: Role = Role::Candidate;
const LEADER: Role = Role::Leader;

fn line(node: u64, term: Term, role: Role, fact: Fact) -> Event {
    Event { at: Duration::ZERO, node: NodeId(node), term, role, fact }
}

fn id(index: Index, term: Term) -> EntryId {
    EntryId::new(index, term)
}

fn span(index: Index, term: Term, text: &str) -> Span {
    let told = || Told::Text(text.into());
    Span { first: id(index, term), last: id(index, term), opening: told(), closing: told(), sum: None }
}

fn start(node: u64, term: Term, last: EntryId, sum: u32) -> Event {
    line(
        node,
        term,
        FOLLOWER,
        Fact::Start { size: 3, settings: String::new(), new_disk: false, snapshot: EntryId::ZERO, last, sum },
    )
}

fn elected(node: u64, term: Term) -> Event {
    line(node, term, LEADER, Fact::State { from: CANDIDATE, why: String::new() })
}

fn granted(node: u64, term: Term, to: u64) -> Event {
    line(node, term, FOLLOWER, Fact::Granted { pre: false, to: NodeId(to), term })
}

fn from_client(node: u64, index: Index, term: Term, text: &str) -> Event {
    line(node, term, LEADER, Fact::Append { span: span(index, term, text), source: Source::Client })
}

/// The follower `node` in `term` appends an entry that `leader` sent.
fn from_leader(node: u64, term: Term, leader: u64, entry: Span) -> Event {
    line(node, term, FOLLOWER, Fact::Append { span: entry, source: Source::Leader(NodeId(leader)) })
}

fn commit(node: u64, term: Term, role: Role, entry: Span) -> Event {
    line(node, term, role, Fact::Commit { span: entry })
}

fn truncate(node: u64, term: Term, role: Role, first: EntryId, last: EntryId) -> Event {
    line(node, term, role, Fact::Truncate { first, last, why: String::new() })
}

fn fresh(nodes: &[u64]) -> Vec<Event> {
    nodes.iter().map(|node| start(*node, 0, EntryId::ZERO, 0)).collect()
}

/// Node 1 leads term 1 and has "a" committed, on itself and on node 2.
fn committed_a() -> Vec<Event> {
    let mut lines = fresh(&[1, 2, 3]);
    lines.extend([
        granted(2, 1, 1),
        elected(1, 1),
        from_client(1, 1, 1, "a"),
        from_leader(2, 1, 1, span(1, 1, "a")),
        commit(1, 1, LEADER, span(1, 1, "a")),
        commit(2, 1, FOLLOWER, span(1, 1, "a")),
    ]);
    lines
}

fn judge(lines: &[Event]) -> Result<(), Box<Violation>> {
    let mut safety = Safety::new();
    lines.iter().try_for_each(|event| safety.observe(event))
}

/// The last line, and no earlier one, contradicts `property`.
fn contradicts(property: Property, mut lines: Vec<Event>, last: Event) -> Violation {
    assert_eq!(judge(&lines), Ok(()));
    lines.push(last.clone());
    let Err(violation) = judge(&lines) else { panic!("{last} passes") };
    assert_eq!((violation.property, &violation.event), (property, &last), "{violation}");
    *violation
}

#[test]
fn a_true_history_passes() {
    let mut lines = committed_a();
    lines.extend([
        start(1, 1, id(1, 1), chain(0, id(1, 1), Content::Text("a"))),
        granted(3, 2, 2),
        elected(2, 2),
        from_client(2, 2, 2, "b"),
        from_leader(1, 2, 2, span(2, 2, "b")),
        commit(1, 2, FOLLOWER, span(1, 1, "a")),
        commit(1, 2, FOLLOWER, span(2, 2, "b")),
    ]);
    assert_eq!(judge(&lines), Ok(()));
}

#[test]
fn two_leaders_of_a_term() {
    let violation = contradicts(Property::ElectionSafety, committed_a(), elected(3, 1));
    assert_eq!(violation.earlier, Some(elected(1, 1)));
    let heartbeat = line(3, 1, FOLLOWER, Fact::HeartbeatReceived { from: NodeId(2) });
    contradicts(Property::ElectionSafety, committed_a(), heartbeat);
}

#[test]
fn two_votes_in_a_term() {
    let violation = contradicts(Property::OneVote, committed_a(), granted(2, 1, 3));
    assert_eq!(violation.earlier, Some(granted(2, 1, 1)));
    // A restart is no excuse.
    let mut lines = committed_a();
    lines.push(start(2, 1, id(1, 1), chain(0, id(1, 1), Content::Text("a"))));
    contradicts(Property::OneVote, lines, granted(2, 1, 3));
    let itself = line(2, 1, CANDIDATE, Fact::VotedForItself { votes: 1, size: 3 });
    contradicts(Property::OneVote, committed_a(), itself);
    let counted = line(3, 1, CANDIDATE, Fact::Received { pre: false, from: NodeId(2), votes: 2, size: 3 });
    contradicts(Property::OneVote, committed_a(), counted);
}

#[test]
fn a_pre_vote_is_no_vote() {
    let mut lines = committed_a();
    lines.push(line(2, 1, FOLLOWER, Fact::Granted { pre: true, to: NodeId(3), term: 2 }));
    lines.push(granted(2, 2, 1));
    assert_eq!(judge(&lines), Ok(()));
}

#[test]
fn a_leader_removes_or_replaces() {
    let mut lines = committed_a();
    lines.push(from_client(1, 2, 1, "b"));
    contradicts(Property::LeaderAppendOnly, lines.clone(), truncate(1, 1, LEADER, id(2, 1), id(2, 1)));
    contradicts(Property::LeaderAppendOnly, lines.clone(), truncate(1, 1, FOLLOWER, id(2, 1), id(2, 1)));
    contradicts(Property::LeaderAppendOnly, lines, from_client(1, 2, 1, "c"));
}

#[test]
fn the_same_entry_behind_different_logs() {
    contradicts(Property::LogMatching, committed_a(), from_leader(3, 1, 1, span(1, 1, "other")));
    // The entry is the same, but what is before it is not; only the checksum shows it.
    let mut lines = fresh(&[1, 2]);
    lines.extend([elected(1, 1), from_client(1, 1, 1, "a"), from_client(1, 2, 1, "b")]);
    let sum = chain(chain(0, id(1, 1), Content::Text("x")), id(2, 1), Content::Text("b"));
    let both = Span {
        first: id(1, 1),
        last: id(2, 1),
        opening: Told::Long { start: "a".to_owned(), bytes: 1000 },
        closing: Told::Text("b".into()),
        sum: Some(sum),
    };
    contradicts(Property::LogMatching, lines.clone(), from_leader(2, 1, 1, both));
    contradicts(Property::LogMatching, lines, start(3, 1, id(2, 1), sum));
}

#[test]
fn an_entry_is_replaced_without_a_word() {
    let mut lines = committed_a();
    lines.extend([from_leader(2, 1, 1, span(2, 1, "b")), elected(1, 2)]);
    contradicts(Property::LogMatching, lines, from_leader(2, 2, 1, span(2, 2, "c")));
}

#[test]
fn a_leader_without_a_committed_entry() {
    let violation = contradicts(Property::LeaderCompleteness, committed_a(), elected(3, 2));
    assert_eq!(violation.earlier, Some(commit(1, 1, LEADER, span(1, 1, "a"))));
}

#[test]
fn a_commit_is_told_after_the_election_that_it_contradicts() {
    let mut lines = fresh(&[1, 2, 3]);
    lines.extend([elected(1, 1), from_client(1, 1, 1, "a"), elected(3, 2)]);
    contradicts(Property::LeaderCompleteness, lines, commit(1, 1, LEADER, span(1, 1, "a")));
}

/// Figure 8: an entry of an old term is committed by counting, then overwritten.
#[test]
fn figure_8() {
    let mut lines = fresh(&[1, 2, 3, 5]);
    lines.extend([
        elected(1, 2),
        from_client(1, 1, 2, "a"),
        from_leader(2, 2, 1, span(1, 2, "a")),
        elected(5, 3),
        from_client(5, 1, 3, "b"),
        elected(1, 4),
        from_leader(3, 4, 1, span(1, 2, "a")),
        commit(1, 4, LEADER, span(1, 2, "a")),
    ]);
    contradicts(Property::LeaderCompleteness, lines, elected(5, 5));
}

#[test]
fn two_entries_are_committed_at_an_index() {
    let mut lines = committed_a();
    lines.push(from_leader(3, 2, 2, span(1, 2, "z")));
    let violation = contradicts(Property::StateMachineSafety, lines, commit(3, 2, FOLLOWER, span(1, 2, "z")));
    assert_eq!(violation.earlier, Some(commit(1, 1, LEADER, span(1, 1, "a"))));
}

#[test]
fn commits_go_back_or_leave_one_out() {
    let mut lines = committed_a();
    lines.extend([from_client(1, 2, 1, "b"), from_client(1, 3, 1, "c")]);
    contradicts(Property::CommitGrows, lines.clone(), commit(1, 1, LEADER, span(1, 1, "a")));
    contradicts(Property::StateMachineSafety, lines, commit(1, 1, LEADER, span(3, 1, "c")));
}

#[test]
fn a_node_commits_what_it_does_not_hold_or_removes_what_it_has_committed() {
    contradicts(Property::StateMachineSafety, committed_a(), commit(2, 1, FOLLOWER, span(2, 7, "b")));
    let removed = truncate(2, 2, FOLLOWER, id(1, 1), id(1, 1));
    contradicts(Property::StateMachineSafety, committed_a(), removed);
}

#[test]
fn a_term_goes_back() {
    contradicts(Property::TermsGrow, committed_a(), start(2, 0, EntryId::ZERO, 0));
}

#[test]
fn a_restart_loses_what_was_committed() {
    contradicts(Property::KeptOnDisk, committed_a(), start(2, 1, EntryId::ZERO, 0));
}

/// A log that starts late, or has a hole: what was not seen is unknown, and what is told is judged.
#[test]
fn a_log_that_starts_late() {
    let late = vec![
        commit(2, 1, FOLLOWER, span(4, 1, "d")),
        commit(2, 1, FOLLOWER, span(5, 1, "e")),
        granted(3, 2, 1),
        // It may well hold what is committed.
        elected(1, 2),
        from_client(1, 9, 2, "f"),
        from_leader(2, 2, 1, span(9, 2, "f")),
        commit(2, 2, FOLLOWER, span(6, 1, "g")),
    ];
    assert_eq!(judge(&late), Ok(()));
    // From there on its log is known, and what it has committed stays.
    contradicts(Property::StateMachineSafety, late.clone(), commit(2, 2, FOLLOWER, span(8, 1, "x")));
    contradicts(Property::CommitGrows, late.clone(), commit(2, 2, FOLLOWER, span(5, 1, "e")));
    contradicts(Property::StateMachineSafety, late.clone(), truncate(2, 2, FOLLOWER, id(6, 1), id(9, 2)));
    contradicts(Property::LogMatching, late.clone(), from_leader(2, 2, 1, span(9, 2, "g")));
    let mut safety = Safety::new();
    late.iter().for_each(|event| assert_eq!(safety.observe(event), Ok(())));
    safety.missed(NodeId(2));
    for event in [from_leader(2, 2, 1, span(12, 2, "i")), commit(2, 2, FOLLOWER, span(12, 2, "i"))] {
        assert_eq!(safety.observe(&event), Ok(()));
    }
    let back = truncate(2, 2, FOLLOWER, id(6, 1), id(9, 2));
    assert_eq!(safety.observe(&back).map_err(|wrong| wrong.property), Err(Property::StateMachineSafety));
}

/// The line of a candidate that counts a vote tells it too: the voter's own may come later.
#[test]
fn a_vote_is_counted_and_then_told_otherwise() {
    let mut lines = fresh(&[1, 2, 3]);
    lines.push(line(3, 1, CANDIDATE, Fact::Received { pre: false, from: NodeId(2), votes: 2, size: 3 }));
    contradicts(Property::OneVote, lines, granted(2, 1, 1));
}

/// A wiped disk is not a contradiction once it is known; it may vote again (and nobody counts it).
#[test]
fn a_wiped_disk_is_forgiven() {
    let mut safety = Safety::new();
    for event in committed_a() {
        assert_eq!(safety.observe(&event), Ok(()));
    }
    safety.forget(NodeId(2));
    for event in [start(2, 0, EntryId::ZERO, 0), granted(2, 1, 3)] {
        assert_eq!(safety.observe(&event), Ok(()));
    }
}

/// A crash leaves lines out: what the node had when it came back is believed.
#[test]
fn missing_lines_contradict_nothing() {
    let mut lines = committed_a();
    let sum = chain(chain(0, id(1, 1), Content::Text("a")), id(2, 2), Content::Text("b"));
    lines.extend([
        // Appended "b" as the leader of term 2 and was killed before it told.
        start(2, 2, id(2, 2), sum),
        // Held an entry that was replaced just before the crash.
        from_leader(3, 1, 1, span(1, 1, "a")),
        from_leader(3, 1, 1, span(2, 1, "lost")),
        start(3, 2, id(2, 2), sum),
        from_leader(3, 3, 1, span(3, 3, "c")),
    ]);
    assert_eq!(judge(&lines), Ok(()));
}

/// A span holds its ends only, and its checksum the rest.
#[test]
fn spans_and_single_lines_agree() {
    let mut lines = fresh(&[1, 2]);
    lines.extend([elected(1, 1), from_client(1, 1, 1, "a"), from_client(1, 2, 1, "b"), from_client(1, 3, 1, "c")]);
    let sum =
        ["a", "b", "c"].iter().zip(1..).fold(0, |sum, (text, index)| chain(sum, id(index, 1), Content::Text(text)));
    let all = |sum| Span {
        first: id(1, 1),
        last: id(3, 1),
        opening: Told::Text("a".into()),
        closing: Told::Text("c".into()),
        sum: Some(sum),
    };
    let mut good = lines.clone();
    good.extend([from_leader(2, 1, 1, all(sum)), commit(2, 1, FOLLOWER, all(sum)), commit(1, 1, LEADER, all(sum))]);
    assert_eq!(judge(&good), Ok(()));
    contradicts(Property::LogMatching, lines, from_leader(2, 1, 1, all(!sum)));
}

fn sum_a() -> u32 {
    chain(0, id(1, 1), Content::Text("a"))
}

fn sum_ab(term: Term) -> u32 {
    chain(sum_a(), id(2, term), Content::Text("b"))
}

fn start_with(node: u64, term: Term, new_disk: bool, snapshot: EntryId, last: EntryId, sum: u32) -> Event {
    line(node, term, FOLLOWER, Fact::Start { size: 3, settings: String::new(), new_disk, snapshot, last, sum })
}

fn installed(node: u64, term: Term, last: EntryId, sum: u32, from: u64) -> Event {
    line(node, term, FOLLOWER, Fact::Installed { last, sum, bytes: 100, from: NodeId(from) })
}

fn made(node: u64, term: Term, role: Role, last: EntryId, sum: u32) -> Event {
    line(node, term, role, Fact::Compacted { last, sum, bytes: 100, entries: 1 })
}

/// Node 1 has made a snapshot of its two entries, and node 3, which has nothing, has taken it over.
fn snapshots() -> Vec<Event> {
    let mut lines = committed_a();
    lines.extend([
        from_client(1, 2, 1, "b"),
        from_leader(2, 1, 1, span(2, 1, "b")),
        commit(1, 1, LEADER, span(2, 1, "b")),
        made(1, 1, LEADER, id(2, 1), sum_ab(1)),
        installed(3, 1, id(2, 1), sum_ab(1), 1),
    ]);
    lines
}

#[test]
fn snapshots_are_made_installed_and_started_with() {
    let mut lines = snapshots();
    lines.extend([
        from_client(1, 3, 1, "c"),
        from_leader(3, 1, 1, span(3, 1, "c")),
        commit(1, 1, LEADER, span(3, 1, "c")),
        commit(3, 1, FOLLOWER, span(3, 1, "c")),
        // What is in the snapshot is not committed once more, what follows it is.
        start_with(3, 1, false, id(2, 1), id(3, 1), chain(sum_ab(1), id(3, 1), Content::Text("c"))),
        commit(3, 1, FOLLOWER, span(3, 1, "c")),
        start_with(1, 1, false, id(3, 1), id(3, 1), chain(sum_ab(1), id(3, 1), Content::Text("c"))),
    ]);
    assert_eq!(judge(&lines), Ok(()));
}

/// What `installed through` tells is what others have committed …
#[test]
fn an_installed_snapshot_of_something_else() {
    let mut lines = snapshots();
    lines.pop();
    contradicts(Property::LogMatching, lines.clone(), installed(3, 1, id(2, 1), 7, 1));
    let of_a_later_term = [elected(2, 2), installed(3, 2, id(2, 2), sum_ab(2), 2)];
    lines.push(of_a_later_term[0].clone());
    let violation = contradicts(Property::StateMachineSafety, lines.clone(), of_a_later_term[1].clone());
    assert_eq!(violation.earlier, Some(commit(1, 1, LEADER, span(2, 1, "b"))));
    contradicts(Property::ElectionSafety, lines, installed(3, 2, id(2, 1), sum_ab(1), 1));
}

/// … and what comes later has to agree with it.
#[test]
fn a_commit_and_a_leader_that_know_nothing_of_an_installed_snapshot() {
    let lines = [
        fresh(&[1, 2, 3]),
        vec![
            line(3, 1, FOLLOWER, Fact::HeartbeatReceived { from: NodeId(1) }),
            installed(3, 1, id(2, 1), sum_ab(1), 1),
            from_leader(2, 1, 1, span(1, 1, "a")),
        ],
    ]
    .concat();
    contradicts(Property::LeaderCompleteness, lines.clone(), elected(2, 2));
    let mut other = lines;
    other.push(from_leader(2, 2, 3, span(2, 2, "b")));
    other.push(commit(2, 2, FOLLOWER, span(1, 1, "a")));
    contradicts(Property::StateMachineSafety, other, commit(2, 2, FOLLOWER, span(2, 2, "b")));
}

#[test]
fn commits_follow_an_installed_snapshot_without_a_gap() {
    let mut lines = snapshots();
    lines.extend([from_client(1, 3, 1, "c"), from_leader(3, 1, 1, span(3, 1, "c"))]);
    contradicts(Property::CommitGrows, lines.clone(), commit(3, 1, FOLLOWER, span(2, 1, "b")));
    lines.push(from_leader(3, 1, 1, span(4, 1, "d")));
    contradicts(Property::StateMachineSafety, lines, commit(3, 1, FOLLOWER, span(4, 1, "d")));
    contradicts(Property::CommitGrows, snapshots(), installed(3, 1, id(1, 1), sum_a(), 1));
}

#[test]
fn a_snapshot_of_what_is_not_committed() {
    let mut lines = committed_a();
    lines.push(from_client(1, 2, 1, "b"));
    contradicts(Property::StateMachineSafety, lines.clone(), made(1, 1, LEADER, id(2, 1), sum_ab(1)));
    contradicts(Property::LogMatching, lines, made(1, 1, LEADER, id(1, 1), 7));
}

#[test]
fn a_start_with_a_snapshot_of_something_else() {
    let lines = snapshots();
    let other = start_with(2, 2, false, id(2, 2), id(2, 2), sum_ab(2));
    contradicts(Property::StateMachineSafety, lines.clone(), other);
    contradicts(Property::KeptOnDisk, lines, start_with(2, 1, false, id(3, 1), id(2, 1), sum_ab(1)));
}

/// A snapshot through an entry whose term no line told: what followed it may have stayed, or gone.
#[test]
fn what_follows_an_installed_snapshot_may_have_stayed_or_gone() {
    let told = |text: &str| Told::Text(text.into());
    let mixed =
        Span { first: id(1, 1), last: id(4, 2), opening: told("a"), closing: told("d"), sum: Some(0x1234_5678) };
    let lines = [
        fresh(&[1, 2, 3]),
        vec![
            line(3, 2, FOLLOWER, Fact::HeartbeatReceived { from: NodeId(1) }),
            from_leader(3, 2, 1, mixed),
            installed(3, 2, id(3, 2), 0x8765_4321, 1),
        ],
    ]
    .concat();
    let stayed = commit(3, 2, FOLLOWER, span(4, 2, "d"));
    let gone = from_leader(3, 3, 1, span(4, 3, "e"));
    for next in [stayed, gone] {
        assert_eq!(judge(&[lines.clone(), vec![next]].concat()), Ok(()));
    }
}

/// A START line that tells of a new disk is enough to be forgiven; one without that word is not.
#[test]
fn a_new_disk_is_told_by_the_start() {
    contradicts(Property::KeptOnDisk, committed_a(), start(2, 1, EntryId::ZERO, 0));
    contradicts(Property::TermsGrow, committed_a(), start(2, 0, EntryId::ZERO, 0));
    let mut lines = committed_a();
    lines.extend([
        start_with(2, 0, true, EntryId::ZERO, EntryId::ZERO, 0),
        // A vote in a term in which the lost disk has voted: nobody counts it.
        granted(2, 1, 3),
        // An old vote may still arrive.
        line(1, 1, LEADER, Fact::Received { pre: false, from: NodeId(2), votes: 2, size: 3 }),
        from_leader(2, 1, 1, span(1, 1, "a")),
        commit(2, 1, FOLLOWER, span(1, 1, "a")),
    ]);
    assert_eq!(judge(&lines), Ok(()));
    // Of itself the new disk tells no contradictions, and it forgets nothing either.
    contradicts(Property::OneVote, lines.clone(), granted(2, 1, 1));
    contradicts(Property::KeptOnDisk, lines, start(2, 1, EntryId::ZERO, 0));
}

/// The first start of all is on a new disk too, and nothing is forgiven for that.
#[test]
fn a_first_start_forgives_nothing() {
    let lines = vec![
        start_with(2, 0, true, EntryId::ZERO, EntryId::ZERO, 0),
        start_with(3, 0, true, EntryId::ZERO, EntryId::ZERO, 0),
        granted(2, 1, 1),
    ];
    contradicts(Property::OneVote, lines.clone(), granted(2, 1, 3));
    let counted = line(3, 1, CANDIDATE, Fact::Received { pre: false, from: NodeId(2), votes: 2, size: 3 });
    contradicts(Property::OneVote, lines, counted);
}

/// What was committed on the lost disk stays committed.
#[test]
fn a_new_disk_takes_nothing_back() {
    let mut lines = committed_a();
    lines.push(start_with(2, 0, true, EntryId::ZERO, EntryId::ZERO, 0));
    contradicts(Property::LeaderCompleteness, lines.clone(), elected(3, 2));
    lines.push(from_leader(2, 2, 3, span(1, 2, "z")));
    contradicts(Property::StateMachineSafety, lines, commit(2, 2, FOLLOWER, span(1, 2, "z")));
}

#[test]
fn an_entry_readmits_the_same_disk_everywhere() {
    let readmitted = |node, disk| {
        let (peer, by) = (NodeId(3), id(5, 1));
        line(node, 1, FOLLOWER, Fact::Readmitted { peer, by, disk: DiskId(disk) })
    };
    let mut lines = committed_a();
    lines.extend([readmitted(2, 7), readmitted(3, 7)]);
    assert_eq!(judge(&lines), Ok(()));
    contradicts(Property::StateMachineSafety, lines, readmitted(3, 8));
}

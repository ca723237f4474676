//! Log replication (§5.3) and the commit rule (§5.4.2).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::event::{Fact, PeerState, Source, Span};
use super::message::Body;
use super::mutants::mutant;
use super::progress::{Progress, Urgency};
use super::ready::{Committed, Refusal, SendChunk};
use super::types::{Command, Entry, EntryId, Index, NodeId, Token};
use super::{Raft, State};

/// Clients' entries, and bytes of their text, that may wait to be committed before a leader says "busy".
pub const MAX_WAITING_ENTRIES: usize = 16 * 1024;
pub const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// What only a leader has.
#[derive(Debug)]
pub struct Leader {
    pub(super) progress: BTreeMap<NodeId, Progress>,
    /// The requests that wait for their entry to be committed, in the order of the log.
    pub(super) waiting: VecDeque<(Index, Token)>,
    /// Bytes of text in the entries that they wait for.
    waiting_bytes: usize,
    /// The first client's entry of this step, to be told at its end.
    appended_from: Option<Index>,
    /// This step ends with a heartbeat.
    heartbeat_due: bool,
    /// The round of asking whether this node still leads that was begun last; each AppendEntries carries it.
    pub(super) round: u64,
    /// The reads that wait, each for an answer of this round or a later one from a majority.
    pub(super) reads: VecDeque<(u64, Token)>,
}

impl Leader {
    pub(super) fn new(peers: Vec<NodeId>, last: Index, now: Duration) -> Leader {
        Leader {
            progress: peers.into_iter().map(|peer| (peer, Progress::new(last, now))).collect(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            appended_from: None,
            heartbeat_due: false,
            round: 0,
            reads: VecDeque::new(),
        }
    }

    /// `next_index` and `match_index` of each follower.
    pub(super) fn progress(&self) -> Vec<(NodeId, Index, Index)> {
        self.progress.iter().map(|(peer, progress)| (*peer, progress.next_index, progress.match_index)).collect()
    }

    /// When the answer came that makes a majority with the later ones; the leader's own is now.
    pub(super) fn majority_ack(&self, now: Duration, majority: usize) -> Duration {
        let mut acks: Vec<Duration> = self.progress.values().map(|progress| progress.last_ack).collect();
        acks.push(now);
        acks.sort_unstable_by(|a, b| b.cmp(a));
        acks[majority - 1]
    }

    /// The highest index that a majority has on disk, the leader's own disk included.
    fn majority_match(&self, own: Index, majority: usize) -> Index {
        let mut matches: Vec<Index> = self.progress.values().map(|progress| progress.match_index).collect();
        matches.push(own);
        matches.sort_unstable_by(|a, b| b.cmp(a));
        matches[majority - 1]
    }
}

impl Raft {
    /// A client's command: appended by a leader (§5.3), refused with the leader's name by others (§8).
    pub(super) fn propose(&mut self, token: Token, command: Command) {
        let State::Leader(leader) = &mut self.state else {
            let refusal = self.leader().map_or(Refusal::NoLeader, |leader| Refusal::Redirect { leader });
            self.ready.refusals.push((token, refusal));
            return;
        };
        let last = self.log.last().index;
        let bytes = command.bytes();
        if leader.waiting.len() >= MAX_WAITING_ENTRIES || leader.waiting_bytes + bytes > MAX_WAITING_BYTES {
            self.ready.refusals.push((token, Refusal::Busy));
            return;
        }
        leader.waiting_bytes += bytes;
        leader.waiting.push_back((last + 1, token));
        leader.appended_from.get_or_insert(last + 1);
        let id = EntryId::new(last + 1, self.current_term);
        self.ready.records.push(self.log.append(Entry { id, command }));
    }

    /// A new leader appends an entry of its own term, with which all earlier ones can be committed
    /// (§5.4.2, §8).
    pub(super) fn open_term(&mut self) {
        let id = EntryId::new(self.log.last().index + 1, self.current_term);
        self.ready.records.push(self.log.append(Entry { id, command: Command::Noop }));
        let span = self.span(id.index, id.index);
        self.tell(Fact::Append { span, source: Source::OpensTerm });
    }

    pub(super) fn heartbeat_due(&mut self) {
        if let State::Leader(leader) = &mut self.state {
            leader.heartbeat_due = true;
        }
    }

    /// A message that only the leader of this term sends (§5.2). `false` if `from` cannot be it.
    pub(super) fn hears_leader(&mut self, from: NodeId) -> bool {
        match self.state {
            State::Follower { leader: Some(leader) } if leader == from => {}
            State::Follower { leader: None } => self.state = State::Follower { leader: Some(from) },
            State::PreCandidate(_) | State::Candidate(_) => {
                let why = format!("{from} leads t{}", self.current_term);
                self.become_follower(Some(from), why);
            }
            State::Follower { leader: Some(other) } => {
                self.error(format!("{from} claims to lead t{}, which {other} leads", self.current_term));
                return false;
            }
            State::Leader(_) => {
                self.error(format!("{from} claims to lead t{}, which this node leads", self.current_term));
                return false;
            }
        }
        self.last_contact = self.now;
        self.reset_election_timer();
        true
    }

    /// AppendEntries at a follower (Figure 2, "AppendEntries RPC, receiver implementation").
    pub(super) fn on_append_entries(
        &mut self,
        from: NodeId,
        prev: EntryId,
        (commit, heartbeat, round): (Index, bool, u64),
        entries: Vec<Entry>,
    ) {
        if heartbeat {
            self.tell(Fact::HeartbeatReceived { from });
        }
        self.leader_commit = self.leader_commit.max(commit);
        // Everything through here is proven equal to the leader's log; nothing behind it is.
        let matched = prev.index + entries.len() as Index;
        let (prev, entries) = match self.behind_snapshot(prev, entries) {
            Ok(Some(rest)) => rest,
            Ok(None) => return self.send_matched(from, matched, round),
            Err(wrong) => return self.error(format!("append-entries from {from}: {wrong}; ignored")),
        };
        let fits = mutant!(self, PrevNotChecked) && prev.index <= self.log.last().index;
        if let Some(conflict) = self.conflict_at(prev).filter(|_| !fits) {
            if prev.index <= self.commit_index {
                return self.error(format!("{from} leads without the committed entry {}", prev.index));
            }
            return self.send(from, Body::Rejected { prev, conflict, round });
        }
        if let Err(wrong) = self.take_entries(from, prev, entries) {
            return self.error(format!("append-entries from {from}: {wrong}; ignored"));
        }
        self.commit_index = self.commit_index.max(commit.min(matched));
        #[cfg(test)]
        let matched = self.bend_append_entries(matched, commit);
        self.send_matched(from, matched, round);
    }

    /// Where the leader should look next if this log has no entry `prev` (§5.3).
    fn conflict_at(&self, prev: EntryId) -> Option<EntryId> {
        match self.log.id(prev.index) {
            Some(mine) if mine == prev => None,
            Some(mine) => Some(self.log.first_of_term_at(mine.index)),
            None => Some(EntryId::new(self.log.last().index + 1, 0)),
        }
    }

    /// Steps 3 and 4 of the receiver: entries that are here already stay; the first that conflicts
    /// goes, with all behind it; the rest is appended. An old, short message removes nothing.
    fn take_entries(&mut self, from: NodeId, prev: EntryId, entries: Vec<Entry>) -> Result<(), String> {
        let mut before = prev;
        for entry in &entries {
            let id = entry.id;
            if id.index != before.index + 1 || id.term < before.term || id.term > self.current_term {
                return Err(format!("entry {id} after {before} in t{}", self.current_term));
            }
            before = id;
        }
        let held = entries.iter().take_while(|entry| self.log.id(entry.id.index) == Some(entry.id)).count();
        let Some(first) = entries.get(held).map(|entry| entry.id) else { return Ok(()) };
        let last = self.log.last();
        if first.index <= last.index {
            if first.index <= self.commit_index {
                return Err(format!("{first} would replace a committed entry"));
            }
            let old = self.log.id(first.index).unwrap_or_default();
            self.ready.records.push(self.log.truncate(first.index));
            self.tell(Fact::Truncate { first: old, last, why: format!("leader {from} has {first} there") });
        }
        for entry in entries.into_iter().skip(held) {
            self.ready.records.push(self.log.append(entry));
        }
        self.tell_entries(first.index, self.log.last().index, |span| Fact::Append {
            span,
            source: Source::Leader(from),
        });
        Ok(())
    }

    /// Acknowledges, once a step: the highest index says it all.
    pub(super) fn send_matched(&mut self, to: NodeId, matched: Index, asked: u64) {
        if let Some((peer, message)) = self.ready.messages.last_mut()
            && *peer == to
            && message.term == self.current_term
            && let Body::Matched { index, round } = &mut message.body
        {
            *index = matched.max(*index);
            *round = asked.max(*round);
        } else {
            self.send(to, Body::Matched { index: matched, round: asked });
        }
    }

    pub(super) fn on_matched(&mut self, from: NodeId, index: Index, round: u64) {
        let (own, last) = (self.log.durable(), self.log.last().index);
        let State::Leader(leader) = &mut self.state else { return };
        let asked = leader.round;
        let Some(progress) = leader.progress.get_mut(&from) else { return };
        if index > last || round > asked {
            return self.error(format!(
                "{from} acknowledges index {index} and round {round}, but the log ends at {last} and the rounds at {asked}"
            ));
        }
        progress.answered(self.now, round);
        let before = progress.match_index;
        progress.matched(index);
        if index <= before {
            return;
        }
        let copies = leader.progress.values().filter(|progress| progress.match_index >= index).count();
        let copies = copies + usize::from(own >= index);
        let first = before.max(self.log.base().index) + 1;
        let ids = (self.log.id(first), self.log.id(index).filter(|id| id.index >= first));
        if let (Some(first), Some(last)) = ids {
            self.tell_appended();
            self.tell(Fact::Replicated { first, last, on: from, copies, size: self.config.size });
        }
    }

    pub(super) fn on_rejected(&mut self, from: NodeId, prev: EntryId, conflict: EntryId, round: u64) {
        let base = self.log.base().index;
        let State::Leader(leader) = &mut self.state else { return };
        let asked = leader.round;
        let Some(progress) = leader.progress.get_mut(&from) else { return };
        if round > asked {
            return self.error(format!("{from} answers round {round}, but the rounds end at {asked}"));
        }
        progress.answered(self.now, round);
        // Logs part at `prev` or before it. A conflict behind it says that the term of the request was
        // over, which this node may have led too; it says nothing of the follower's log. One at 0 says
        // nothing at all; and who gets a snapshot has been asked nothing since.
        if conflict.index > prev.index
            || conflict.index == 0
            || progress.is_in_transfer()
            || !progress.rejection_is_current(prev.index)
        {
            return;
        }
        // What it has acknowledged it must have. One that has it no longer (its log was damaged at the
        // end, which looks like a torn write) is not counted with it any more, and gets it again.
        let lost = (prev.index <= progress.match_index).then_some(prev);
        if lost.is_some() {
            progress.match_index = 0;
        }
        // If this log has the follower's conflicting term, they agree at most to where it ends here.
        let hint = match conflict.term {
            0 => conflict.index,
            term => self.log.last_of_term(term).map_or(conflict.index, |last| last + 1),
        };
        match prev.index > base {
            true => progress.probe(hint.clamp(progress.match_index.max(base) + 1, prev.index)),
            // It lacks what is in the snapshot alone.
            false => progress.needs_snapshot(),
        }
        if let Some(id) = lost {
            self.error(format!(
                "{from} has acknowledged {id} and has it no longer: its disk has lost what was synced; it gets it \
                 again, but do not trust that disk"
            ));
        }
    }

    /// An entry is committed once a majority has it on disk, if it is of the leader's own term;
    /// with it all before it are (§5.3, §5.4.2: Figure 8 shows why older terms are not counted).
    pub(super) fn advance_commit_index(&mut self) {
        let State::Leader(leader) = &self.state else { return };
        let own = if mutant!(self, UnsyncedSelfAck) { self.log.last().index } else { self.log.durable() };
        let candidate = leader.majority_match(own, self.majority());
        let of_this_term = self.log.id(candidate).is_some_and(|id| id.term == self.current_term);
        if candidate > self.commit_index && (of_this_term || mutant!(self, Figure8)) {
            self.commit_index = candidate;
        }
    }

    /// Hands out what is newly committed, in order, each entry with the request that waits for it.
    pub(super) fn release_committed(&mut self) {
        let (first, last) = (self.released + 1, self.commit_index);
        if first > last {
            return;
        }
        let mut readmissions = Vec::new();
        for entry in self.log.range(first, last) {
            if let Command::Readmit { node, disk } = entry.command {
                readmissions.push((entry.id, node, disk));
            }
            let mut token = None;
            if let State::Leader(leader) = &mut self.state
                && let Some((_, waiting)) = leader.waiting.pop_front_if(|(index, _)| *index == entry.id.index)
            {
                leader.waiting_bytes -= entry.command.bytes();
                token = Some(waiting);
            }
            self.ready.committed.push(Committed { entry: entry.clone(), token });
        }
        self.released = last;
        self.tell_entries(first, last, |span| Fact::Commit { span });
        for (by, node, disk) in readmissions {
            self.readmitted(by, node, disk);
        }
    }

    /// At most one AppendEntries for each follower that can be reached (§5.3), or a piece of the snapshot
    /// for one that needs what the log does not hold any more (§7).
    pub(super) fn replicate(&mut self) {
        let State::Leader(leader) = &mut self.state else { return };
        let heartbeat = std::mem::take(&mut leader.heartbeat_due);
        let asks = leader.begin_round();
        let mut sent_to = Vec::new();
        for (peer, progress) in &mut leader.progress {
            if self.links.get(peer).is_some_and(|link| *link != PeerState::Connected) {
                continue;
            }
            if heartbeat {
                progress.heartbeat();
                sent_to.push(*peer);
            }
            let now = Urgency { heartbeat, asks, round: leader.round };
            let body = if self.refused.contains_key(peer) || progress.is_in_transfer() {
                progress.bare(now)
            } else {
                progress.next_append(&self.log, self.commit_index, now, self.window)
            };
            if let Some(body) = body {
                let message = super::Message { term: self.current_term, body };
                self.ready.overtaking.push((*peer, message));
            }
            if !self.refused.contains_key(peer)
                && let Some(meta) = self.snapshot
                && let Some(offset) = progress.next_chunk(meta)
            {
                let (to, term, bytes) = (*peer, self.current_term, self.window.chunk_bytes);
                self.ready.send_chunks.push(SendChunk { to, term, meta, offset, bytes });
            }
        }
        if !sent_to.is_empty() {
            self.tell(Fact::HeartbeatSent { to: sent_to });
        }
    }

    /// Tells the clients' entries of this step, before anything that follows from them.
    pub(super) fn tell_appended(&mut self) {
        if let State::Leader(leader) = &mut self.state
            && let Some(first) = leader.appended_from.take()
        {
            self.tell_entries(first, self.log.last().index, |span| Fact::Append { span, source: Source::Client });
        }
    }

    /// One line for each entry, or at high speed one for all (see [`super::pace`]).
    fn tell_entries(&mut self, first: Index, last: Index, fact: impl Fn(Span) -> Fact) {
        if self.pace.one_by_one(self.now, last - first + 1) {
            for index in first..=last {
                let span = self.span(index, index);
                self.tell(fact(span));
            }
        } else {
            let span = self.span(first, last);
            self.tell(fact(span));
        }
    }

    /// What a line tells of these entries, which must be in the log.
    fn span(&self, first: Index, last: Index) -> Span {
        let mut entries = self.log.range(first, last);
        let Some(first) = entries.next() else { panic!("a span of no entries") };
        Span::of(first, entries.next_back().unwrap_or(first), self.log.sum(last))
    }
}

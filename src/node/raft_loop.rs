//! The raft loop: the one owner of the algorithm's state, the disk and the state machine.
//!
//! A turn takes all inputs that wait, steps once, and does what the step asks for in the order of
//! [`Ready`]: the messages that may overtake the disk, one write and one sync, then all that depends
//! on it. While the sync runs the next turn's inputs gather, so a slower disk makes larger batches.
//! The loop waits for nothing but its inbox and its disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::connection::error;
use super::election_timer::Alarm;
use super::heartbeat::Metronome;
use super::limits::CLIENT_EVENTS_PER_SECOND;
use super::queue::Queue;
use super::{Shared, end};
use crate::disk::Wal;
use crate::raft::Raft;
use crate::raft::event::{Event, Fact};
use crate::raft::message::Message;
use crate::raft::ready::{Committed, Input, Ready, Refusal};
use crate::raft::types::{ClientId, Command, Index, NodeId, Role, Term, Token};
use crate::store::{Applied, Page, Store};
use crate::text::random::Random;
use crate::text::shorten;
use crate::wire::client::{Answer, ErrorCode, LOG_PAGE, LOG_PAGE_BYTES, NodeStatus, Request};

/// What the other threads bring to the loop.
pub enum Item {
    Input(Input),
    Request {
        request: Request,
        reply: ReplyTo,
    },
    /// Something that a caller did wrong, for the log.
    Note(String),
    /// The election thread has woken up.
    ElectionAlarm,
    /// The heartbeat thread has ticked.
    HeartbeatTick,
}

pub type Inbox = Arc<Queue<Item>>;

/// The way of one answer back to its connection thread.
pub struct ReplyTo {
    /// The request's place in its connection's batch.
    pub place: usize,
    /// Never more in it than the batch has requests.
    pub to: Sender<Placed>,
}

/// An answer and the place of its request.
pub type Placed = (usize, Reply);

impl ReplyTo {
    fn send(self, reply: Reply) {
        // The connection may be gone; then nobody waits.
        let _ = self.to.send((self.place, reply));
    }
}

/// One answer.
pub enum Reply {
    Answer(Answer),
    /// A page of the list, and the commit index.
    Page(Page, Index),
}

impl Reply {
    /// Appends the answer's lines.
    pub fn encode(&self, out: &mut String) {
        match self {
            Reply::Answer(answer) => {
                answer.encode(out);
                out.push('\n');
            }
            Reply::Page(page, commit) => {
                for (id, text) in &page.strings {
                    Answer::Entry { id: *id, text: text.clone() }.encode(out);
                    out.push('\n');
                }
                Answer::End { next: page.next, commit: *commit }.encode(out);
                out.push('\n');
            }
        }
    }
}

/// A client's append that waits for its answer.
struct Waiting {
    reply: ReplyTo,
    text: Arc<str>,
}

pub struct RaftLoop {
    node: Arc<Shared>,
    raft: Raft,
    wal: Wal,
    store: Store,
    alarm: Alarm,
    metronome: Metronome,
    random: Random,
    waiting: BTreeMap<Token, Waiting>,
    last_token: Token,
    told: ClientLines,
    /// Term and role as they were when last everything was on disk.
    on_disk: (Term, Role),
}

impl RaftLoop {
    pub fn new(node: Arc<Shared>, raft: Raft, wal: Wal, alarm: Alarm, metronome: Metronome) -> RaftLoop {
        RaftLoop {
            told: ClientLines { second: node.clock.now(), lines: 0, left_out: 0 },
            on_disk: (raft.current_term(), raft.role()),
            node,
            raft,
            wal,
            store: Store::new(),
            alarm,
            metronome,
            random: Random::from_os(),
            waiting: BTreeMap::new(),
            last_token: 0,
        }
    }

    /// Runs until the inbox is closed, which it never is: a node ends with its process. `first` is
    /// what [`Raft::new`] asked for, `notes` what was mended on the disk.
    pub fn run(mut self, first: Ready, notes: Vec<String>) {
        self.act(first);
        for text in notes {
            self.tell(Fact::Disk { text });
        }
        self.alarm.arm();
        let mut items = Vec::new();
        while self.node.inbox.take_all(&mut items, None) {
            self.turn(&mut items);
        }
    }

    fn turn(&mut self, items: &mut Vec<Item>) {
        let emptied = self.node.clock.now();
        let mut inputs = Vec::new();
        let mut queries = Vec::new();
        for item in items.drain(..) {
            match item {
                Item::Input(input) => inputs.push(input),
                Item::HeartbeatTick => inputs.push(Input::HeartbeatDue),
                Item::ElectionAlarm => self.alarm.fired(),
                Item::Note(text) => self.tell_client(text),
                Item::Request { request: Request::Append { session, text }, reply } => {
                    self.last_token += 1;
                    let token = self.last_token;
                    self.waiting.insert(token, Waiting { reply, text: text.clone() });
                    inputs.push(Input::Propose { token, command: Command::Append { session, text } });
                }
                Item::Request { request, reply } => queries.push((request, reply)),
            }
        }
        // One large burst must not keep its memory for ever.
        items.shrink_to(1024);
        self.step(inputs);
        // Messages first, then the deadline: behind a long sync a heartbeat may have waited with the
        // alarm, and it has moved the deadline. One that passed during the sync of this very turn waits
        // for the next, with what came meanwhile.
        if self.alarm.passed(emptied) {
            self.step(vec![Input::ElectionTimeout]);
        }
        for (request, reply) in queries {
            reply.send(self.answer(request));
        }
        if let Some(text) = self.told.left_out(self.node.clock.now()) {
            self.tell(Fact::Client { text });
        }
        self.alarm.arm();
        self.node.log.check();
    }

    fn step(&mut self, inputs: Vec<Input>) {
        if !inputs.is_empty() {
            let ready = self.raft.step(self.node.clock.now(), inputs);
            self.act(ready);
        }
    }

    /// Does what a step asks for, and steps again with what is then durable, until nothing is left.
    fn act(&mut self, mut ready: Ready) {
        loop {
            self.send(ready.overtaking);
            if !ready.records.is_empty()
                && let Err(error) = self.wal.append(&ready.records)
            {
                self.disk_failed(&error.to_string());
            }
            self.on_disk = (self.raft.current_term(), self.raft.role());
            self.send(ready.messages);
            // Before the answers: one that has a line of its own tells the term to which these lead.
            self.node.log.tell(ready.events);
            for (token, refusal) in ready.refusals {
                self.refuse(token, refusal);
            }
            for committed in ready.committed {
                self.apply(committed);
            }
            if let Some(timer) = ready.election_timer {
                self.alarm.set(timer, self.node.clock.now());
            }
            if let Some(timer) = ready.heartbeat_timer {
                self.metronome.set(timer);
            }
            if ready.batch == 0 {
                return;
            }
            ready = self.raft.step(self.node.clock.now(), vec![Input::Persisted { batch: ready.batch }]);
        }
    }

    fn send(&self, messages: Vec<(NodeId, Message)>) {
        for (to, message) in messages {
            if let Some(link) = self.node.links.get(&to) {
                link.send(message);
            }
        }
    }

    /// A failed write or sync is never retried: nobody knows what is on the disk then.
    fn disk_failed(&mut self, text: &str) -> ! {
        // The core is ahead of the disk; a line tells only what the next start will find.
        let (at, (term, role)) = (self.node.clock.now(), self.on_disk);
        let fact = Fact::Error { text: text.to_string() };
        self.node.log.tell(vec![Event { at, node: self.node.own.node, term, role, fact }]);
        self.node.log.flush(Duration::from_secs(1));
        end(text);
    }

    fn apply(&mut self, committed: Committed) {
        let applied = self.store.apply(&committed.entry);
        let Some(Waiting { reply, text }) = committed.token.and_then(|token| self.waiting.remove(&token)) else {
            return;
        };
        let why = applied.to_string();
        let answer = match applied {
            Applied::Ok(id) => Answer::Appended(id),
            Applied::Repeated(id) => {
                self.tell_client(format!("append {} again: {why}", shorten(&text)));
                return reply.send(Reply::Answer(Answer::Appended(id)));
            }
            Applied::Gap { expected } => {
                let code = ErrorCode::SessionGap { expected };
                error(code, "a session's numbers are applied in order, none left out")
            }
            Applied::Expired => error(ErrorCode::SessionExpired, &why),
            Applied::Forgotten => error(ErrorCode::SessionForgotten, &why),
            Applied::Noop => error(ErrorCode::BadRequest, "a no-op is no request"),
        };
        if !matches!(applied, Applied::Ok(_)) {
            self.tell_client(format!("append {} refused: {why}", shorten(&text)));
        }
        reply.send(Reply::Answer(answer));
    }

    fn refuse(&mut self, token: Token, refusal: Refusal) {
        let Some(Waiting { reply, text }) = self.waiting.remove(&token) else { return };
        let text = shorten(&text);
        let answer = match refusal {
            Refusal::Redirect { leader } => {
                self.tell_client(format!("append {text} redirected to {leader}"));
                self.redirect(leader)
            }
            Refusal::NoLeader => {
                self.tell_client(format!("append {text} refused: no leader is known"));
                no_leader()
            }
            Refusal::Busy => {
                self.tell_client(format!("append {text} refused: too much waits to be committed"));
                error(ErrorCode::Busy, "too much waits to be committed already; it was not appended: try again later")
            }
            Refusal::NotRefused { node } => error(ErrorCode::NotRefused, &format!("{node} is counted already")),
            Refusal::Unknown { id } => {
                self.tell_client(format!(
                    "append {text} answered unknown: leadership was lost before {id} was committed"
                ));
                let why = "leadership was lost before it was committed: it may still be committed, or never";
                Answer::Unknown { id, why: why.to_string() }
            }
        };
        reply.send(Reply::Answer(answer));
    }

    fn redirect(&self, leader: NodeId) -> Answer {
        let address = self.node.cluster.address(leader).unwrap_or_default().to_string();
        Answer::Redirect { leader, address }
    }

    /// A question about the state as it is after this turn.
    fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Session => {
                let client = ClientId { born: self.store.last_applied(), nonce: self.random.next_u64() };
                Reply::Answer(Answer::Session(client))
            }
            Request::Status => Reply::Answer(Answer::Status(self.status())),
            Request::Log { from, local } => {
                if !local && self.raft.role() != Role::Leader {
                    return Reply::Answer(self.raft.leader().map_or_else(no_leader, |leader| self.redirect(leader)));
                }
                if !local && !self.raft.knows_committed() {
                    let text = "the leader is new and does not know yet what is committed; try again in a moment";
                    return Reply::Answer(error(ErrorCode::Busy, text));
                }
                let page = self.store.strings_from(from, LOG_PAGE, LOG_PAGE_BYTES);
                Reply::Page(page, self.raft.commit_index())
            }
            // The connection threads keep these two for themselves, or bring them another way.
            _ => Reply::Answer(error(ErrorCode::BadRequest, "not a question")),
        }
    }

    fn status(&self) -> NodeStatus {
        let status = self.raft.status();
        NodeStatus {
            node: status.id,
            role: status.role,
            term: status.current_term,
            leader: status.leader,
            last: status.last,
            commit: status.commit_index,
            applied: self.store.last_applied(),
            leader_commit: status.leader_commit,
            snapshot: status.snapshot,
            log_len: status.log_len as u64,
            log_bytes: self.wal.log_bytes(),
            snapshot_bytes: 0,
            keys: 0,
            peers: status.peers,
            progress: status.progress,
            heard: status.heard,
            size: self.node.cluster.size(),
            uptime: self.node.clock.uptime(),
            syncs: self.wal.syncs(),
            sent: self.node.links.values().map(|link| link.sent()).sum(),
        }
    }

    fn tell(&self, fact: Fact) {
        let (at, term, role) = (self.node.clock.now(), self.raft.current_term(), self.raft.role());
        self.node.log.tell(vec![Event { at, node: self.node.own.node, term, role, fact }]);
    }

    /// At a person's pace each has its line.
    fn tell_client(&mut self, text: String) {
        if self.told.one_more(self.node.clock.now()) {
            self.tell(Fact::Client { text });
        }
    }
}

fn no_leader() -> Answer {
    error(ErrorCode::NoLeader, "no leader is known, an election may be under way; try again in a moment")
}

/// How many CLIENT lines the present second has had.
struct ClientLines {
    second: Duration,
    lines: u32,
    left_out: u64,
}

impl ClientLines {
    /// May one more line be told now? If not, it is counted.
    fn one_more(&mut self, now: Duration) -> bool {
        if self.left_out == 0 && now.saturating_sub(self.second) >= Duration::from_secs(1) {
            (self.second, self.lines) = (now, 0);
        }
        let told = self.left_out == 0 && self.lines < CLIENT_EVENTS_PER_SECOND;
        if told {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        told
    }

    /// What was left out, in words, once its second is over.
    fn left_out(&mut self, now: Duration) -> Option<String> {
        if self.left_out == 0 || now.saturating_sub(self.second) < Duration::from_secs(1) {
            return None;
        }
        let text = format!("{} more answers like these, not told one by one", self.left_out);
        (self.second, self.lines, self.left_out) = (now, 0, 0);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_lines_come_at_a_persons_pace() {
        let mut told = ClientLines { second: Duration::ZERO, lines: 0, left_out: 0 };
        for _ in 0..CLIENT_EVENTS_PER_SECOND {
            assert!(told.one_more(Duration::from_millis(10)));
        }
        assert!(!told.one_more(Duration::from_millis(20)) && !told.one_more(Duration::from_millis(1020)));
        assert_eq!(told.left_out(Duration::from_millis(900)), None);
        let text = told.left_out(Duration::from_millis(1020));
        assert_eq!(text.as_deref(), Some("2 more answers like these, not told one by one"));
        assert_eq!(told.left_out(Duration::from_secs(5)), None);
        assert!(told.one_more(Duration::from_secs(5)));
    }
}

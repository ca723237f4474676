//! The clients: sessions that pipeline and retry, and requests without a session; appends to the lab's
//! log, lists of other keys, and reads.
//!
//! Every string is unique. Each client keeps what a user would know: what it asked, what it was
//! answered, and when, and checks that the answers fit. `reads` says how.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::raft::ready::Refusal;
use crate::raft::types::{ClientId, Command, EntryId, Index, KeyWrite, LOG_KEY, NodeId, Session, Token, WriteKind};
use crate::store::Applied;
use crate::text::random::Random;

use super::history::List;
use super::judge::{Checked, Judge, fail};
use super::network::delay;
use super::profile::{Micros, Profile, chance, pick};
use super::reads::{Answered, Reading, Reads};

/// What a node answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Applied(Applied),
    Read(Answered),
    Refused(Refusal),
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub enum Ask {
    Change(Command),
    Read,
    /// An operator's: count the node with its new disk.
    Readmit(NodeId),
}

/// A request on its way to a node.
pub struct Request {
    pub after: Micros,
    pub node: usize,
    pub token: Token,
    pub ask: Ask,
}

/// A change that is not answered yet.
struct Op {
    number: u64,
    command: Command,
    /// The highest index that any client knew of when this was asked first: whatever was answered
    /// before comes before it in the log (linearizability).
    floor: Index,
    /// To be sent, again or for the first time.
    due: bool,
}

impl Op {
    fn seq(&self) -> Option<u64> {
        match &self.command {
            Command::Append { session, .. } | Command::Write { session, .. } => session.map(|session| session.seq),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Client {
    /// Asks one by one, without a session: what is not answered is not tried again.
    plain: bool,
    session: Option<ClientId>,
    next_seq: u64,
    target: usize,
    ops: VecDeque<Op>,
    /// Since when it waits for an answer to its oldest request.
    waits_since: Micros,
    /// Requests of a client arrive in the order in which they were sent, as on one connection.
    pipe_free_at: Micros,
}

enum Asked {
    /// The change with this number.
    Op(u64),
    Read(Reading),
    Readmit,
}

pub struct Clients {
    clients: Vec<Client>,
    nodes: usize,
    window: usize,
    /// Nothing new is asked.
    pub stopped: bool,
    /// A read that must be answered before the run may end, and when it was sent; 0 if it was refused.
    last_read: Option<Micros>,
    tokens: BTreeMap<Token, (usize, Asked)>,
    next_token: Token,
    numbers: u64,
    /// The changes that were answered with "ok".
    acknowledged: BTreeMap<u64, EntryId>,
    pub reads: Reads,
    now: Micros,
}

impl Clients {
    pub fn new(profile: &Profile) -> Clients {
        // The last one has no session.
        let client = |n| Client { plain: n == profile.clients, next_seq: 1, ..Client::default() };
        Clients {
            clients: (0..=profile.clients).map(client).collect(),
            nodes: profile.size as usize,
            window: profile.pipeline,
            stopped: false,
            last_read: None,
            tokens: BTreeMap::new(),
            next_token: 1,
            numbers: 0,
            acknowledged: BTreeMap::new(),
            reads: Reads::default(),
            now: 0,
        }
    }

    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// Does nobody wait for an answer?
    pub fn are_answered(&self) -> bool {
        self.last_read.is_none() && self.clients.iter().all(|client| client.ops.is_empty())
    }

    /// One more append and one more read by the first client, although they have stopped.
    pub fn last_requests(&mut self, random: &mut Random) {
        let session = self.clients[0].session.get_or_insert(ClientId { born: 0, nonce: 0 });
        let session = Session { client: *session, seq: self.clients[0].next_seq };
        self.clients[0].next_seq += 1;
        self.invoke(0, Some(session), random);
        self.last_read = Some(0);
    }

    fn invoke(&mut self, client: usize, session: Option<Session>, random: &mut Random) {
        self.numbers += 1;
        let number = self.numbers;
        let command = self.command(format!("{client}-{number}"), session, random);
        self.reads.calls(number, &command);
        if self.clients[client].ops.is_empty() {
            self.clients[client].waits_since = self.now;
        }
        let floor = self.reads.floor;
        self.clients[client].ops.push_back(Op { number, command, floor, due: true });
    }

    /// A change that brings this string, which nothing else has.
    fn command(&mut self, text: String, session: Option<Session>, random: &mut Random) -> Command {
        let more: Arc<str> = format!("{text} too").into();
        let text: Arc<str> = text.into();
        let (kind, key, values): (_, Arc<str>, List) = match random.below(20) {
            0..10 => return Command::Append { session, text },
            10 => (WriteKind::Append, LOG_KEY.into(), vec![text, more]),
            11 => (WriteKind::Put, self.reads.key(random), Vec::new()),
            12..15 => (WriteKind::Put, self.reads.key(random), vec![text]),
            15 => (WriteKind::Append, self.reads.key(random), vec![text, more]),
            _ => (WriteKind::Append, self.reads.key(random), vec![text]),
        };
        Command::Write { session, write: Arc::new(KeyWrite { kind, key, values }) }
    }

    /// A client's turn: give up waiting, ask something new, send what is due. `applied` is what a
    /// node would give a new session as its birth.
    pub fn wakes(
        &mut self,
        at: usize,
        now: Micros,
        applied: Index,
        profile: &Profile,
        random: &mut Random,
    ) -> Vec<Request> {
        self.now = now;
        let nodes = self.nodes as u64;
        let client = &mut self.clients[at];
        // What was refused is sent again anyway, and the refusal may have named the leader.
        let waits = client.ops.front().is_some_and(|op| !op.due);
        if waits && now > client.waits_since + profile.patience {
            client.waits_since = now;
            client.target = random.below(nodes) as usize;
            if client.plain {
                client.ops.clear();
            }
            client.ops.iter_mut().for_each(|op| op.due = true);
        }
        if !self.stopped {
            self.asks(at, applied, random);
        }
        let mut requests = self.sends(at, now, profile, random);
        let last_due = at == 0 && self.last_read.is_some_and(|sent| now > sent + profile.patience);
        if last_due && self.last_read.replace(now) > Some(0) {
            self.clients[at].target = random.below(nodes) as usize;
        }
        if last_due || (!self.stopped && chance(random, profile.reads)) {
            requests.extend(self.reads_something(at, profile, random));
        }
        requests
    }

    fn asks(&mut self, at: usize, applied: Index, random: &mut Random) {
        let client = &mut self.clients[at];
        if client.plain {
            if client.ops.is_empty() {
                self.invoke(at, None, random);
            }
            return;
        }
        if client.session.is_none() || (client.ops.is_empty() && chance(random, 20)) {
            client.session = Some(ClientId { born: applied, nonce: random.next_u64() });
            client.next_seq = 1;
        }
        for _ in 0..=random.below(self.window as u64) {
            let client = &mut self.clients[at];
            // The store keeps a session's last answers only, so it must not run far ahead.
            let oldest = client.ops.front().and_then(Op::seq).unwrap_or(client.next_seq);
            if let Some(id) = client.session
                && client.next_seq < oldest + self.window as u64
            {
                let session = Session { client: id, seq: client.next_seq };
                client.next_seq += 1;
                self.invoke(at, Some(session), random);
            }
        }
    }

    fn sends(&mut self, at: usize, now: Micros, profile: &Profile, random: &mut Random) -> Vec<Request> {
        let client = &mut self.clients[at];
        let mut requests = Vec::new();
        for op in client.ops.iter_mut().filter(|op| op.due) {
            op.due = false;
            let token = self.next_token;
            self.next_token += 1;
            self.tokens.insert(token, (at, Asked::Op(op.number)));
            client.pipe_free_at = client.pipe_free_at.max(now + delay(profile, random));
            if !chance(random, profile.loss) {
                let (after, node) = (client.pipe_free_at - now, client.target);
                requests.push(Request { after, node, token, ask: Ask::Change(op.command.clone()) });
            }
        }
        requests
    }

    /// A read of its own: what is lost or refused is not tried again. Now and then it asks somebody
    /// else than the leader that it knows, who may have led once.
    fn reads_something(&mut self, at: usize, profile: &Profile, random: &mut Random) -> Option<Request> {
        let reading = self.reads.begins(random);
        let token = self.next_token;
        self.next_token += 1;
        self.tokens.insert(token, (at, Asked::Read(reading)));
        let anybody = random.below(self.nodes as u64) as usize;
        let node = pick(random, &[self.clients[at].target, anybody]);
        let request = Request { after: delay(profile, random), node, token, ask: Ask::Read };
        (!chance(random, profile.loss)).then_some(request)
    }

    /// An operator's request, which somebody else sends.
    pub fn readmits(&mut self) -> Token {
        let token = self.next_token;
        self.next_token += 1;
        self.tokens.insert(token, (0, Asked::Readmit));
        token
    }

    /// What the read with this token is about.
    pub fn reading(&self, token: Token) -> Option<&Reading> {
        match self.tokens.get(&token) {
            Some((_, Asked::Read(reading))) => Some(reading),
            _ => None,
        }
    }

    /// An answer arrives.
    pub fn heard(&mut self, token: Token, answer: Answer, judge: &Judge) -> Checked {
        let Some((at, asked)) = self.tokens.remove(&token) else {
            return fail("one answer", format!("request {token} is answered twice: {answer:?}"));
        };
        match (asked, answer) {
            (Asked::Op(number), Answer::Applied(applied)) => self.applied(at, number, applied, judge),
            (Asked::Op(number), Answer::Refused(refusal)) => {
                self.refused(at, number, refusal);
                Ok(())
            }
            (Asked::Read(reading), Answer::Read(answered)) => {
                self.last_read = None;
                self.reads.returns(reading, answered, judge)
            }
            (Asked::Read(_), Answer::Refused(refusal)) => {
                let client = &mut self.clients[at];
                self.last_read = self.last_read.map(|_| 0);
                match refusal {
                    // Where the changes go is their own affair.
                    _ if !client.ops.is_empty() => {}
                    Refusal::Redirect { leader } => client.target = leader.0 as usize - 1,
                    _ => client.target = (client.target + 1) % self.nodes,
                }
                Ok(())
            }
            (Asked::Readmit, Answer::Refused(_) | Answer::Applied(Applied::Readmitted(_))) => Ok(()),
            (_, other) => fail("one answer", format!("request {token} is answered {other:?}")),
        }
    }

    fn applied(&mut self, at: usize, number: u64, applied: Applied, judge: &Judge) -> Checked {
        match applied {
            Applied::Ok(id) | Applied::Repeated(id) => self.acknowledge(at, number, id, judge),
            Applied::Gap { .. } => {
                self.retry(at, None);
                Ok(())
            }
            // A copy of a request that was answered long ago.
            Applied::Forgotten if self.acknowledged.contains_key(&number) => Ok(()),
            other => fail("session answers", format!("change {number} is answered {other:?}")),
        }
    }

    fn refused(&mut self, at: usize, number: u64, refusal: Refusal) {
        let nodes = self.nodes;
        let client = &mut self.clients[at];
        if client.plain && matches!(refusal, Refusal::Unknown { .. }) {
            // It may still be committed, so it must not be asked again.
            client.ops.retain(|op| op.number != number);
            return;
        }
        let target = match refusal {
            Refusal::Redirect { leader } => leader.0 as usize - 1,
            // Once for all that were refused together.
            _ if client.ops.front().is_some_and(|op| op.number == number) => (client.target + 1) % nodes,
            _ => client.target,
        };
        if client.ops.iter().any(|op| op.number == number) {
            self.retry(at, Some(target));
        }
    }

    /// Everything that is not answered is sent again, in order: the store takes each number once. A
    /// plain client has one request at a time, and this is the refusal of that one.
    fn retry(&mut self, at: usize, target: Option<usize>) {
        let client = &mut self.clients[at];
        client.target = target.unwrap_or(client.target);
        client.ops.iter_mut().for_each(|op| op.due = true);
    }

    fn acknowledge(&mut self, at: usize, number: u64, id: EntryId, judge: &Judge) -> Checked {
        let first = *self.acknowledged.entry(number).or_insert(id);
        if first != id {
            return fail("acknowledged", format!("change {number} is answered ok {first}, and then {id}"));
        }
        self.reads.acknowledged(number, id);
        let client = &mut self.clients[at];
        // Else it was given up, or this is a copy of an answer.
        let Some(place) = client.ops.iter().position(|op| op.number == number) else { return Ok(()) };
        let Some(op) = client.ops.remove(place) else { return Ok(()) };
        judge.was_done(id, &op.command)?;
        if id.index <= op.floor {
            let why = format!("{} was asked after {} was known, and stands at {id}", op.command.words(), op.floor);
            return fail("linearizable", why);
        }
        if place == 0 {
            client.waits_since = self.now;
        }
        Ok(())
    }
}

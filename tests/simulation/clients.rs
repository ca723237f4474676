//! The clients: sessions that pipeline and retry, and appends without a session.
//!
//! Every string is unique. Each client keeps what a user would know: what it asked, what it was
//! answered, and when, and checks that the answers fit.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::raft::ready::Refusal;
use crate::raft::types::{ClientId, Command, EntryId, Index, Session, Token};
use crate::store::Applied;
use crate::text::random::Random;

use super::judge::{Checked, Judge, fail};
use super::network::delay;
use super::profile::{Micros, Profile, chance};

/// What a node answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Applied(Applied),
    Refused(Refusal),
}

/// A request on its way to a node.
pub struct Request {
    pub after: Micros,
    pub node: usize,
    pub token: Token,
    pub command: Command,
}

/// An append that is not answered yet.
struct Op {
    /// With a session, its number in it.
    session: Option<Session>,
    text: Arc<str>,
    /// The highest index that any client had been answered when this was asked first: whatever was
    /// answered before comes before it in the list (linearizability).
    floor: Index,
    /// To be sent, again or for the first time.
    due: bool,
}

#[derive(Default)]
struct Client {
    /// Appends one by one, without a session: what is not answered is not tried again.
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

pub struct Clients {
    clients: Vec<Client>,
    nodes: usize,
    window: usize,
    /// No new appends.
    pub stopped: bool,
    tokens: BTreeMap<Token, (usize, Arc<str>)>,
    next_token: Token,
    strings: u64,
    /// What was answered with "ok".
    pub acknowledged: HashMap<Arc<str>, EntryId>,
    highest: Index,
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
            tokens: BTreeMap::new(),
            next_token: 1,
            strings: 0,
            acknowledged: HashMap::new(),
            highest: 0,
            now: 0,
        }
    }

    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// Does nobody wait for an answer?
    pub fn are_answered(&self) -> bool {
        self.clients.iter().all(|client| client.ops.is_empty())
    }

    /// One more append by the first client, although they have stopped.
    pub fn last_append(&mut self) {
        let session = self.clients[0].session.get_or_insert(ClientId { born: 0, nonce: 0 });
        let session = Session { client: *session, seq: self.clients[0].next_seq };
        self.clients[0].next_seq += 1;
        self.invoke(0, Some(session));
    }

    fn invoke(&mut self, client: usize, session: Option<Session>) {
        self.strings += 1;
        let text = format!("{client}-{}", self.strings).into();
        if self.clients[client].ops.is_empty() {
            self.clients[client].waits_since = self.now;
        }
        self.clients[client].ops.push_back(Op { session, text, floor: self.highest, due: true });
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
        self.sends(at, now, profile, random)
    }

    fn asks(&mut self, at: usize, applied: Index, random: &mut Random) {
        let client = &mut self.clients[at];
        if client.plain {
            if client.ops.is_empty() {
                self.invoke(at, None);
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
            let oldest = client.ops.front().and_then(|op| op.session).map_or(client.next_seq, |oldest| oldest.seq);
            if let Some(id) = client.session
                && client.next_seq < oldest + self.window as u64
            {
                let session = Session { client: id, seq: client.next_seq };
                client.next_seq += 1;
                self.invoke(at, Some(session));
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
            self.tokens.insert(token, (at, op.text.clone()));
            client.pipe_free_at = client.pipe_free_at.max(now + delay(profile, random));
            if !chance(random, profile.loss) {
                requests.push(Request {
                    after: client.pipe_free_at - now,
                    node: client.target,
                    token,
                    command: Command::Append { session: op.session, text: op.text.clone() },
                });
            }
        }
        requests
    }

    /// An answer arrives.
    pub fn heard(&mut self, token: Token, answer: Answer, judge: &Judge) -> Checked {
        let Some((at, text)) = self.tokens.remove(&token) else {
            return fail("one answer", format!("request {token} is answered twice: {answer:?}"));
        };
        match answer {
            Answer::Applied(Applied::Ok(id) | Applied::Repeated(id)) => self.acknowledge(at, &text, id, judge),
            Answer::Applied(Applied::Gap { .. }) => {
                self.retry(at, None);
                Ok(())
            }
            // A copy of a request that was answered long ago.
            Answer::Applied(Applied::Forgotten) if self.acknowledged.contains_key(&text) => Ok(()),
            Answer::Applied(other) => fail("session answers", format!("{text:?} is answered {other:?}")),
            Answer::Refused(refusal) => {
                self.refused(at, &text, refusal);
                Ok(())
            }
        }
    }

    fn refused(&mut self, at: usize, text: &Arc<str>, refusal: Refusal) {
        let nodes = self.nodes;
        let client = &mut self.clients[at];
        if client.plain && matches!(refusal, Refusal::Unknown { .. }) {
            // It may still be committed, so it must not be asked again.
            client.ops.retain(|op| op.text != *text);
            return;
        }
        let target = match refusal {
            Refusal::Redirect { leader } => leader.0 as usize - 1,
            // Once for all that were refused together.
            _ if client.ops.front().is_some_and(|op| op.text == *text) => (client.target + 1) % nodes,
            _ => client.target,
        };
        if client.ops.iter().any(|op| op.text == *text) {
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

    fn acknowledge(&mut self, at: usize, text: &Arc<str>, id: EntryId, judge: &Judge) -> Checked {
        match judge.applied.get(text) {
            Some(known) if *known == id => {}
            known => return fail("acknowledged", format!("{text:?} is answered ok {id}, but stands at {known:?}")),
        }
        self.acknowledged.insert(text.clone(), id);
        let client = &mut self.clients[at];
        let Some(place) = client.ops.iter().position(|op| op.text == *text) else { return Ok(()) };
        let Some(op) = client.ops.remove(place) else { return Ok(()) };
        if id.index <= op.floor {
            let why = format!("{text:?} was asked after {} was answered, and stands at {id}", op.floor);
            return fail("linearizable", why);
        }
        if place == 0 {
            client.waits_since = self.now;
        }
        self.highest = self.highest.max(id.index);
        Ok(())
    }
}

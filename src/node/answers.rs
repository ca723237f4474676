//! What clients are told. What changes the store waits until it is committed and applied; what reads it waits
//! until a majority has confirmed that this node leads (thesis §6.4), unless it is `local`.

use super::connection::error;
use super::inbox::{Reply, ReplyTo};
use super::raft_loop::RaftLoop;
use crate::raft::event::Fact;
use crate::raft::ready::{Input, Refusal};
use crate::raft::types::{ClientId, Command, NodeId, Token};
use crate::store::Applied;
use crate::text::shorten;
use crate::wire::client::{
    Answer, ErrorCode, GET_PAGE, GET_PAGE_BYTES, KEYS_PAGE, LOG_PAGE, LOG_PAGE_BYTES, NodeStatus, Request, Seen,
};

/// A request that waits for its answer.
pub struct Waiting {
    reply: ReplyTo,
    request: Request,
}

impl RaftLoop {
    /// What the algorithm must be asked before this request can be answered; nothing if it need not be.
    pub(super) fn ask(&mut self, request: &Request) -> Option<Input> {
        let token = self.last_token + 1;
        let input = match request {
            Request::Append { session, text } => {
                Input::Propose { token, command: Command::Append { session: *session, text: text.clone() } }
            }
            Request::Write { session, write } => {
                Input::Propose { token, command: Command::Write { session: *session, write: write.clone() } }
            }
            Request::Readmit { node } => Input::Readmit { token, node: *node },
            _ if is_read(request) => Input::Read { token },
            _ => return None,
        };
        self.last_token = token;
        Some(input)
    }

    /// The request that was asked about last waits for its answer.
    pub(super) fn wait(&mut self, request: Request, reply: ReplyTo) {
        self.waiting.insert(self.last_token, Waiting { reply, request });
    }

    /// The entry of a request was applied.
    pub(super) fn applied(&mut self, token: Option<Token>, applied: Applied) {
        let Some(Waiting { reply, request }) = token.and_then(|token| self.waiting.remove(&token)) else { return };
        let why = applied.to_string();
        let answer = match applied {
            Applied::Ok(id) | Applied::Readmitted(id) => Answer::Appended(id),
            Applied::Repeated(id) => {
                self.tell_client(format!("{} again: {why}", named(&request)));
                return reply.send(Reply::Answer(Answer::Appended(id)));
            }
            Applied::Full { .. } => error(ErrorCode::Full, &why),
            Applied::Gap { expected } => {
                let code = ErrorCode::SessionGap { expected };
                error(code, "a session's numbers are applied in order, none left out")
            }
            Applied::Expired => error(ErrorCode::SessionExpired, &why),
            Applied::Forgotten => error(ErrorCode::SessionForgotten, &why),
            Applied::Noop => error(ErrorCode::BadRequest, "a no-op is no request"),
        };
        if !matches!(answer, Answer::Appended(_)) {
            self.tell_client(format!("{} refused: {why}", named(&request)));
        }
        reply.send(Reply::Answer(answer));
    }

    /// A read was confirmed, and all that was committed before it is applied.
    pub(super) fn confirmed(&mut self, token: Token) {
        if let Some(Waiting { reply, request }) = self.waiting.remove(&token) {
            reply.send(self.answer(&request));
        }
    }

    /// The algorithm has refused a request.
    pub(super) fn refuse(&mut self, token: Token, refusal: Refusal) {
        let Some(Waiting { reply, request }) = self.waiting.remove(&token) else { return };
        let what = named(&request);
        let answer = match refusal {
            Refusal::Redirect { leader } => {
                self.tell_client(format!("{what} redirected to {leader}"));
                let address = self.node.cluster.address(leader).unwrap_or_default().to_string();
                Answer::Redirect { leader, address }
            }
            Refusal::NoLeader => {
                self.tell_client(format!("{what} refused: no leader is known"));
                let text = "no leader is known, an election may be under way; try again in a moment";
                error(ErrorCode::NoLeader, text)
            }
            Refusal::Busy => {
                let waits =
                    if is_read(&request) { "too many reads wait already" } else { "too much waits to be committed" };
                self.tell_client(format!("{what} refused: {waits}"));
                error(ErrorCode::Busy, &format!("{waits}; nothing was done: try again later"))
            }
            Refusal::NotRefused { node } => {
                let why = self.not_refused(node);
                self.tell_client(format!("{what} refused: {why}"));
                error(ErrorCode::NotRefused, &why)
            }
            Refusal::Unknown { id } => {
                self.tell_client(format!("{what} answered unknown: leadership was lost before {id} was committed"));
                let why = "leadership was lost before it was committed: it may still be committed, or never";
                Answer::Unknown { id, why: why.to_string() }
            }
        };
        reply.send(Reply::Answer(answer));
    }

    fn not_refused(&self, node: NodeId) -> String {
        let size = self.node.cluster.size();
        if node.0 > size {
            return format!("{node} is no member: they are node_1 to node_{size}");
        }
        format!("{node} is counted with the disk that it has, or has not come back yet: start it first")
    }

    /// The answer from the store and the state as they are now.
    pub(super) fn answer(&mut self, request: &Request) -> Reply {
        match request {
            Request::Session => {
                let client = ClientId { born: self.store.last_applied(), nonce: self.random.next_u64() };
                Reply::Answer(Answer::Session(client))
            }
            Request::Status => Reply::Answer(Answer::Status(self.status())),
            Request::Log { from, .. } => {
                let page = self.store.strings_from(*from, LOG_PAGE, LOG_PAGE_BYTES);
                Reply::Log(page, self.store.last_applied())
            }
            Request::Get { key, from, .. } => match self.store.get(key, *from, GET_PAGE, GET_PAGE_BYTES) {
                Some(page) => Reply::Values(page, self.seen()),
                None => Reply::Answer(Answer::NoKey { key: key.clone(), seen: self.seen() }),
            },
            Request::Keys { from, .. } => Reply::Keys(self.store.keys(from.as_deref(), KEYS_PAGE), self.seen()),
            // These go another way, or stay in the connection's thread.
            Request::Append { .. }
            | Request::Write { .. }
            | Request::Readmit { .. }
            | Request::Watch
            | Request::Fault(_) => Reply::Answer(error(ErrorCode::BadRequest, "not a question")),
        }
    }

    fn seen(&self) -> Seen {
        Seen { applied: self.store.last_applied(), heard: self.status().heard }
    }

    fn status(&self) -> NodeStatus {
        let status = self.raft.status();
        let size = self.node.cluster.size();
        // The core tells how it was at its last step. Who is alone is its own majority at any time.
        let since = if size > 1 { self.node.clock.now().saturating_sub(self.stepped_at) } else { Default::default() };
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
            snapshot_bytes: self.raft.snapshot().map_or(0, |meta| meta.bytes),
            keys: self.store.keys_len() as u64,
            peers: status.peers,
            progress: status.progress,
            heard: status.heard.map(|heard| heard + since),
            size,
            uptime: self.node.clock.uptime(),
            syncs: self.wal.syncs(),
            sent: self.node.links.values().map(|link| link.sent()).sum(),
        }
    }

    /// At a person's pace each has its line.
    pub(super) fn tell_client(&mut self, text: String) {
        if self.told.one_more(self.node.clock.now()) {
            self.tell(Fact::Client { text });
        }
    }
}

/// A question that the leader alone can answer: nothing that was committed before it may be missing.
pub fn is_read(request: &Request) -> bool {
    matches!(
        request,
        Request::Get { local: false, .. } | Request::Keys { local: false, .. } | Request::Log { local: false, .. }
    )
}

/// A request as a line of the log names it: `append "SET 5"`, `put "a" "cat" …`, `get "a"`.
fn named(request: &Request) -> String {
    match request {
        Request::Append { text, .. } => format!("append {}", shorten(text)),
        Request::Write { write, .. } => {
            let first = write.values.first().map_or(String::new(), |value| format!(" {}", shorten(value)));
            let more = if write.values.len() > 1 { " …" } else { "" };
            format!("{} {}{first}{more}", write.kind.name(), shorten(&write.key))
        }
        Request::Get { key, .. } => format!("get {}", shorten(key)),
        Request::Keys { .. } => "keys".to_string(),
        Request::Log { .. } => "log".to_string(),
        Request::Readmit { node } => format!("readmit {node}"),
        Request::Session => "session".to_string(),
        Request::Status => "status".to_string(),
        Request::Watch => "watch".to_string(),
        Request::Fault(fault) => format!("fault {fault}"),
    }
}

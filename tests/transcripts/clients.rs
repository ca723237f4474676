//! What clients ask of the nodes, and what they are answered.

use raft_lab::raft::ready::{Committed, Input, Refusal};
use raft_lab::raft::types::{ClientId, Command, LOG_KEY, NodeId, Token};
use raft_lab::store::{Applied, Store};

use super::World;

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Request {
    /// What it is called in its answer.
    name: String,
    /// The key that is read.
    key: Option<String>,
}

impl World {
    pub fn propose(&mut self, id: NodeId, requests: Vec<(String, Command)>) {
        let inputs = requests.into_iter().map(|(name, command)| {
            let token = self.wait_for(Request { name, key: None });
            Input::Propose { token, command }
        });
        let inputs = inputs.collect();
        self.input(id, inputs);
    }

    /// All of them come at once.
    pub fn read(&mut self, id: NodeId, reads: Vec<(String, String)>) {
        let inputs = reads.into_iter().map(|(name, key)| {
            let token = self.wait_for(Request { name, key: Some(key) });
            Input::Read { token }
        });
        let inputs = inputs.collect();
        self.input(id, inputs);
    }

    pub fn readmit(&mut self, id: NodeId, node: NodeId) {
        let token = self.wait_for(Request { name: format!("readmit {node}"), key: None });
        self.input(id, vec![Input::Readmit { token, node }]);
    }

    /// A session as a node makes it: born at what it has applied.
    pub fn session(&mut self, id: NodeId, nonce: u64) -> ClientId {
        ClientId { born: self.node(id).store.last_applied(), nonce }
    }

    fn wait_for(&mut self, request: Request) -> Token {
        let token = self.next_number;
        self.next_number += 1;
        self.requests.insert(token, request);
        token
    }

    pub fn refuse(&mut self, id: NodeId, token: Token, refusal: Refusal) {
        let words = match refusal {
            Refusal::Redirect { leader } => format!("redirect {leader}"),
            Refusal::NoLeader => "no leader".to_string(),
            Refusal::Busy => "busy".to_string(),
            Refusal::NotRefused { node } => format!("{node} is counted: there is nothing to do"),
            Refusal::Unknown { id } => format!("unknown, {id} may still be committed"),
        };
        self.answer(id, token, &words);
    }

    pub fn apply(&mut self, id: NodeId, Committed { entry, token }: Committed) {
        let words = match self.node(id).store.apply(&entry) {
            Applied::Ok(place) => format!("ok {place}"),
            Applied::Repeated(place) => format!("ok {place} (its first place; not appended again)"),
            Applied::Readmitted(place) => format!("readmitted by {place}"),
            Applied::Noop => "no-op".to_string(),
            Applied::Full { id } => format!("full, refused by {id}"),
            Applied::Gap { expected } => format!("session-gap, expected {expected}"),
            Applied::Expired => "session-expired".to_string(),
            Applied::Forgotten => "session-forgotten".to_string(),
        };
        if let Some(token) = token {
            self.answer(id, token, &words);
        }
    }

    /// A read is answered from the store as it is now.
    pub fn serve(&mut self, id: NodeId, token: Token) {
        let key = self.requests.get(&token).and_then(|request| request.key.clone()).unwrap_or_default();
        let words = list_text(&self.node(id).store, &key);
        self.answer(id, token, &words);
    }

    fn answer(&mut self, id: NodeId, token: Token, words: &str) {
        if let Some(request) = self.requests.remove(&token)
            && self.showing.is_none()
        {
            self.say(format!("{id} answers {}: {words}", request.name));
        }
    }

    // ---- what the state machines hold ----------------------------------------------------------

    /// The strings of the lab's log.
    pub fn show_list(&mut self, id: NodeId) {
        let list = list_text(&self.node(id).store, LOG_KEY);
        self.say(format!("{id} lists: {list}"));
    }

    /// The other keys.
    pub fn show_keys(&mut self, id: NodeId) {
        let store = &self.node(id).store;
        let keys: Vec<String> =
            store.lists().keys().map(|key| format!("{key:?} = {}", list_text(store, key))).collect();
        let keys = if keys.is_empty() { "no keys".to_string() } else { keys.join(", ") };
        self.say(format!("{id} has: {keys}"));
    }
}

/// The list of a key in words. The strings of the lab's log have their places, too.
fn list_text(store: &Store, key: &str) -> String {
    let strings: Vec<String> = match store.lists().get(key) {
        _ if key == LOG_KEY => store.strings().iter().map(|(id, text)| format!("{id} {text:?}")).collect(),
        Some(list) => list.values().iter().map(|text| format!("{text:?}")).collect(),
        None => Vec::new(),
    };
    match strings.len() {
        0 => "nothing".to_string(),
        1..=12 => strings.join(", "),
        all => format!("{all} strings"),
    }
}

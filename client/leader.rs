//! Finding the leader and staying with it.
//!
//! Any node may be asked first; a follower names the leader it knows. The list that the user gave wins over
//! the address in a redirect, since the nodes' own names often mean nothing outside their network.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use raft_lab::raft::types::NodeId;
use raft_lab::wire::client::{Answer, ErrorCode, NodeStatus, Request};

use crate::connection::{ATTEMPT, Connection};
use crate::options::Options;
use crate::output::Failure;

/// The pause after a round in which no node could help: an election takes seconds, a full queue less.
const PAUSE: Duration = Duration::from_millis(150);
/// While there is no leader, the nodes are only asked for their status, which leaves no trace in their logs. Once
/// in so many rounds the request itself is sent, so that a redirect can lead to a leader that the list does not name.
const PROBING_ROUNDS: usize = 16;

/// The way to a node that can do what is asked: the leader, or for a node's own copy the node that the user named.
pub struct Leader {
    members: Vec<(NodeId, String)>,
    /// It need not be the leader: each of the members can do it.
    any: bool,
    timeout: Duration,
    cure: String,
    /// When to give up if nothing succeeds until then.
    deadline: Instant,
    place: Place,
    connection: Option<Connection>,
    /// Attempts that failed in a row.
    failed: usize,
    /// What the last attempt at each address came to, for the message at the end.
    tried: BTreeMap<(NodeId, String), String>,
}

/// Whom to ask next.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    node: NodeId,
    address: String,
}

impl Leader {
    /// Any member may be the leader.
    pub fn new(options: &Options) -> Leader {
        let members = options.cluster.members().map(|(node, address)| (node, address.to_string())).collect();
        Leader::among(members, false, options.timeout, options.cure())
    }

    /// Whoever answers first, whatever its role.
    pub fn any(options: &Options) -> Leader {
        Leader {
            any: true,
            cure: "Cure: start one, or say with --cluster where they are".to_string(),
            ..Leader::new(options)
        }
    }

    /// Only this member, whatever its role.
    pub fn only(options: &Options, node: NodeId) -> Leader {
        let address = options.cluster.address(node).unwrap_or_default().to_string();
        let cure = "Cure: start it, or say with --cluster where it is".to_string();
        Leader::among(vec![(node, address)], true, options.timeout, cure)
    }

    /// From here on only the node that answered last.
    pub fn stay(&mut self) {
        if self.any {
            self.members = vec![(self.place.node, self.place.address.clone())];
        }
    }

    fn among(members: Vec<(NodeId, String)>, any: bool, timeout: Duration, cure: String) -> Leader {
        let place = Place { node: members[0].0, address: members[0].1.clone() };
        let deadline = Instant::now() + timeout;
        Leader { members, any, timeout, cure, deadline, place, connection: None, failed: 0, tried: BTreeMap::new() }
    }

    /// Who is asked at the moment.
    pub fn node(&self) -> NodeId {
        self.place.node
    }

    /// Something was done: the time-out begins anew.
    pub fn succeeded(&mut self) {
        self.restart_timeout();
        self.failed = 0;
    }

    /// What comes now is a new task. A connection that was closed since the last one is of no use for it: what is
    /// sent on that would count as perhaps taken.
    pub fn begin(&mut self) {
        if self.connection.as_mut().is_some_and(|connection| !connection.is_idle()) {
            self.connection = None;
        }
        self.restart_timeout();
    }

    /// The time for it begins now.
    pub fn restart_timeout(&mut self) {
        self.deadline = Instant::now() + self.timeout;
        self.tried.clear();
    }

    /// How long one attempt may take.
    pub fn attempt(&self) -> Duration {
        ATTEMPT.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// The connection in use, or a new one to whoever is to be asked next. Fails only when the time is up.
    pub fn connection(&mut self) -> Result<&mut Connection, Failure> {
        loop {
            if Instant::now() >= self.deadline {
                return Err(Failure::NotDone(self.gave_up()));
            }
            let connection = match self.connection.take() {
                Some(connection) => Ok(connection),
                None => self.open(),
            };
            match connection {
                Ok(connection) => return Ok(self.connection.insert(connection)),
                Err(why) => self.failed(&why),
            }
        }
    }

    fn open(&self) -> Result<Connection, String> {
        let mut connection = Connection::open(&self.place.address, self.attempt())?;
        if self.any || (self.failed / self.round()).is_multiple_of(PROBING_ROUNDS) {
            return Ok(connection);
        }
        match connection.ask(&Request::Status, self.attempt())? {
            Answer::Status(status) if status.leader == Some(status.node) => Ok(connection),
            Answer::Status(NodeStatus { leader: Some(leader), .. }) => Err(format!("says that {leader} is the leader")),
            Answer::Status(status) => Err(format!("knows no leader, is {} in term {}", status.role, status.term)),
            other => Err(in_words(&other)),
        }
    }

    /// How many attempts make a round.
    fn round(&self) -> usize {
        self.members.len().max(2)
    }

    /// The attempt came to nothing: hangs up, and goes on with the next member.
    pub fn failed(&mut self, why: &str) {
        self.leave(why);
        let at = self.members.iter().position(|(node, _)| *node == self.place.node).unwrap_or(0);
        let (node, address) = &self.members[(at + 1) % self.members.len()];
        self.place = Place { node: *node, address: address.clone() };
    }

    /// Goes where an answer that is no success points to. The error: nothing else would be answered elsewhere.
    pub fn turned_away(&mut self, answer: &Answer) -> Result<(), String> {
        match answer {
            Answer::Redirect { leader, address } if !self.any => {
                let next = self.place_of(*leader, address);
                self.leave(&format!("says that {leader} is the leader"));
                self.place = next;
            }
            // A leader with a full queue is still the leader.
            Answer::Error { code: ErrorCode::Busy, .. } => self.leave(&in_words(answer)),
            Answer::Error {
                code: ErrorCode::NoLeader | ErrorCode::TooManyConnections | ErrorCode::Unconfirmed,
                ..
            }
            | Answer::Unknown { .. } => {
                self.failed(&in_words(answer));
            }
            Answer::Error { .. } => return Err(format!("{} answered: {}", self.place.node, in_words(answer))),
            other => self.failed(&format!("answered something else than was asked: {}", in_words(other))),
        }
        Ok(())
    }

    /// Where the list of the user has that node, unless that is where the redirect came from (a list need not
    /// name all nodes, nor in their order).
    fn place_of(&self, leader: NodeId, told: &str) -> Place {
        let listed = self.members.iter().find(|(node, address)| *node == leader && *address != self.place.address);
        let address = listed.map_or(told, |(_, address)| address);
        Place { node: leader, address: address.to_string() }
    }

    /// Hangs up and notes why; the same node is next. After each round without success there is a pause.
    pub fn leave(&mut self, why: &str) {
        self.connection = None;
        self.tried.insert((self.place.node, self.place.address.clone()), why.to_string());
        self.failed += 1;
        if self.failed.is_multiple_of(self.round()) {
            thread::sleep(PAUSE.min(self.deadline.saturating_duration_since(Instant::now())));
        }
    }

    /// What was tried, and the cure.
    fn gave_up(&self) -> String {
        let tried: Vec<_> = self.tried.iter().map(|((node, at), why)| format!("{node} ({at}): {why}")).collect();
        let outcome = match &self.members[..] {
            _ if !self.any => "no leader was found".to_string(),
            [(node, _)] => format!("{node} gave no answer"),
            _ => "no node gave an answer".to_string(),
        };
        format!("{outcome} within {} s. Tried {}. {}", self.timeout.as_secs_f64(), tried.join("; "), self.cure)
    }
}

/// An answer as it came.
fn in_words(answer: &Answer) -> String {
    let mut line = String::new();
    answer.encode(&mut line);
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_lab::cluster::Cluster;

    fn leader(list: &str) -> Leader {
        let cluster = Cluster::parse(list).unwrap_or_else(|why| panic!("{why}"));
        Leader::new(&Options { cluster, timeout: Duration::from_secs(1) })
    }

    fn redirect(leader: &mut Leader, node: u64) -> String {
        let address = format!("node_{node}:1234");
        assert_eq!(leader.turned_away(&Answer::Redirect { leader: NodeId(node), address }), Ok(()));
        leader.place.address.clone()
    }

    #[test]
    fn the_list_of_the_user_wins_over_the_address_in_a_redirect() {
        let mut leader = leader("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
        assert_eq!(redirect(&mut leader, 3), "127.0.0.1:3");
        assert_eq!(redirect(&mut leader, 2), "127.0.0.1:2");
    }

    #[test]
    fn a_list_that_names_only_some_nodes_or_in_another_order_does_not_lead_in_circles() {
        let mut only_node_3 = leader("127.0.0.1:3");
        assert_eq!(redirect(&mut only_node_3, 1), "node_1:1234");
        let mut leader = leader("127.0.0.1:3,127.0.0.1:1");
        assert_eq!(redirect(&mut leader, 2), "127.0.0.1:1");
        assert_eq!(redirect(&mut leader, 2), "node_2:1234");
    }

    #[test]
    fn the_next_member_is_asked_when_one_cannot_help() {
        let mut leader = leader("a:1,b:2");
        leader.failed("connection refused");
        assert_eq!(leader.place.address, "b:2");
        let no_leader = Answer::Error { code: ErrorCode::NoLeader, text: "an election is on".into() };
        assert_eq!(leader.turned_away(&no_leader), Ok(()));
        assert_eq!(leader.place.address, "a:1");
        let why = leader.gave_up();
        assert!(
            why.contains("node_1 (a:1): connection refused; node_2 (b:2): error no-leader an election is on"),
            "{why}"
        );
    }
}

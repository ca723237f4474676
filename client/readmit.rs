//! `client readmit`: a node that has lost its disk is counted again, with its new one.

use std::thread;
use std::time::Duration;

use raft_lab::raft::types::NodeId;
use raft_lab::wire::client::{Answer, ErrorCode, Request};

use crate::leader::Leader;
use crate::options::{Arguments, Command, Options, whole_number};
use crate::output::{Failure, print_line, tell};

pub const COMMAND: Command = Command {
    name: "readmit",
    usage: "readmit N",
    summary: "count node N again, which has lost its disk",
    help: "A node whose data directory was lost has forgotten its votes and its entries, so the others do not count it
when it comes back with a new one: their logs, and its own, say so in an ERROR line. This commits an entry, by a
majority without that node, from which on it is counted with its new disk. It gets everything anew, and it
votes in later terms only:
  ok 12@4 node_3 is counted again, with its new disk

N is 3 or node_3. Start the node first. If nobody refuses it, it is counted already and there is nothing to do.
It does no harm to ask twice.
",
    flags: &[],
    run,
};

/// A node that has just come back may have said to the leader that it is there, and not yet with which disk.
const SETTLE: Duration = Duration::from_millis(500);

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    let [given] = &arguments.words[..] else {
        let words = arguments.words.len();
        return Err(Failure::Usage(format!("readmit expects one node, like 3 or node_3, got {words} words")));
    };
    let number = given.strip_prefix("node_").unwrap_or(given);
    let node = NodeId(whole_number("readmit", number, 1, options.cluster.size())?);
    let mut task = Task { node, leader: Leader::new(options), may_be_done: false, missing: None, looked: false };
    loop {
        if let Some(told) = task.attempt()? {
            return print_line(told);
        }
    }
}

struct Task {
    node: NodeId,
    leader: Leader,
    /// An attempt was not answered, or not clearly.
    may_be_done: bool,
    /// Which leader has no connection to the node.
    missing: Option<NodeId>,
    /// The node was connected to the leader a moment ago.
    looked: bool,
}

impl Task {
    /// What to say when it is done.
    fn attempt(&mut self) -> Result<Option<String>, Failure> {
        let node = self.node;
        // Each request leaves a line in the leader's log, a look at its status does not.
        if self.missing.is_some() && !self.look()? {
            return Ok(None);
        }
        let limit = self.leader.attempt();
        let connection = match self.leader.connection() {
            Ok(connection) => connection,
            Err(failure) => return Err(self.gave_up(failure)),
        };
        match connection.ask(&Request::Readmit { node }, limit) {
            Ok(Answer::Appended(id)) => return Ok(Some(format!("ok {id} {node} is counted again, with its new disk"))),
            Ok(Answer::Error { code: ErrorCode::NotRefused, .. }) if self.may_be_done => {
                return Ok(Some(format!("ok {node} is counted again, with its new disk, or was before")));
            }
            Ok(Answer::Error { code: ErrorCode::NotRefused, .. }) => {
                // It is counted already; or the leader has not met it yet, so it does not know its disk.
                if self.looked && self.missing.is_none() {
                    return Ok(Some(format!("ok {node} is counted already: there is nothing to do")));
                }
                self.look()?;
            }
            Ok(answer) => {
                let unclear = ErrorCode::Unconfirmed;
                self.may_be_done |= matches!(&answer, Answer::Unknown { .. })
                    || matches!(&answer, Answer::Error { code, .. } if *code == unclear);
                self.leader.turned_away(&answer).map_err(Failure::NotDone)?;
            }
            Err(why) => {
                self.may_be_done = true;
                self.leader.failed(&why);
            }
        }
        Ok(None)
    }

    /// Whether the node is connected to the leader, after a pause.
    fn look(&mut self) -> Result<bool, Failure> {
        let (node, limit) = (self.node, self.leader.attempt());
        let connection = match self.leader.connection() {
            Ok(connection) => connection,
            Err(failure) => return Err(self.gave_up(failure)),
        };
        let status = match connection.ask(&Request::Status, limit) {
            Ok(Answer::Status(status)) if status.leader == Some(status.node) => status,
            // The next attempt finds the leader.
            Ok(_) => {
                self.missing = None;
                return Ok(false);
            }
            Err(why) => {
                self.missing = None;
                self.leader.failed(&why);
                return Ok(false);
            }
        };
        let up = status.node == node || status.peers.contains(&(node, true));
        if !up && self.missing != Some(status.node) {
            tell(format_args!("-- {node} is not connected to {}, the leader: waiting for it\n", status.node));
        }
        self.looked = up;
        self.missing = (!up).then_some(status.node);
        thread::sleep(SETTLE.min(limit));
        Ok(up)
    }

    fn gave_up(&self, failure: Failure) -> Failure {
        let Failure::NotDone(why) = failure else { return failure };
        let node = self.node;
        Failure::NotDone(match self.missing {
            Some(leader) => format!(
                "{node} is not readmitted: it is not connected to {leader}, the leader, which so does not know its disk. \
                 Cure: start {node}, and ask again"
            ),
            None if self.may_be_done => {
                format!("{node} may be readmitted still; it does no harm to ask again: {why}")
            }
            None => format!("{node} is not readmitted: {why}"),
        })
    }
}

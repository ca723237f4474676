//! `client fault`, `partition` and `heal`: breaking nodes on purpose, and mending them.
//!
//! The words of a fault are `wire::fault`'s; here is what they mean, and what to look for in the logs.

use std::fmt;
use std::thread;

use raft_lab::raft::types::NodeId;
use raft_lab::text::Tokens;
use raft_lab::wire::client::{Answer, Request};
use raft_lab::wire::fault::{Fault, Way, read_fault};

use crate::connection::{ATTEMPT, Connection};
use crate::options::{Arguments, Command, Options, whole_number};
use crate::output::{Failure, print, tell};

pub const FAULT: Command = Command {
    name: "fault",
    usage: "fault NODE WORDS…",
    summary: "break a node on purpose: cut, delay, loss, timeout, pause, crash; heal",
    help: "Only on nodes that were started with FAULTS=on or --faults on (docker-compose and client cluster do that).
Each fault is a FAULT line in the node's log. Of node 1, for example:

  fault 1 cut 2 3            nothing passes between node 1 and the nodes 2 and 3, in either direction
  fault 1 cut --from 2       what node 2 says does not arrive at node 1; the other direction works
  fault 1 cut --to 2         what node 1 says does not arrive at node 2
                             (of a one-way cut the connections are made anew again and again, since nobody answers)
  fault 1 delay 2 500ms      what node 1 says arrives at node 2 so much later, up to 60s
  fault 1 loss 2 30%         of what node 1 says to node 2 so much is lost
  fault 1 heal               none of the above any more; client heal does that for all nodes
  fault 1 timeout            its election timer fires now
  fault 1 pause 5s           it does nothing for so long, up to 3600s, as if stopped by SIGSTOP
  fault 1 crash              it dies as by kill -9; docker container start node_1, or start 1 in client cluster, revives it
  fault 1 crash --for 15s    it dies, its port is closed, and after that time it starts again from its disk

Cuts add up. Delay and loss concern what the node sends; order the other direction at the other node. Whatever was
ordered, a node that starts again has none of it. No fault touches what a node has on its disk.
",
    flags: &[("--from", None), ("--to", None), ("--for", Some("TIME"))],
    run: run_fault,
};

pub const PARTITION: Command = Command {
    name: "partition",
    usage: "partition 1,2 3,4,5",
    summary: "cut the network in parts that do not hear each other",
    help: "Each word is a part; the nodes that are not named are one more part, so partition 1 cuts node 1 off from
all others. It takes the place of all cuts, delays and losses before it. client heal ends it.

Only a part with a majority can elect a leader and commit. Watch in the logs how the others fare:
  PEER   node_2 lost, offline                 at the ends of each cut, after the lower bound of the election timeout
  STATE  leader -> follower: no majority …    a leader in a small part stops leading (with PRE_VOTE=on)
  STATE  … -> leader                          the large part elects another, in a newer term
  TERM, TRUNCATE                              after the heal: the small part learns the newer term, and gives up entries
                                              that were never committed
",
    flags: &[],
    run: run_partition,
};

pub const HEAL: Command = Command {
    name: "heal",
    usage: "heal",
    summary: "end all cuts, delays and losses, at all nodes",
    help: "What a pause or a crash does to a node is not healed by this: a paused node hears nothing, and goes on by itself;
a crashed node must be started. Exit code 1 if a node did not answer.
",
    flags: &[],
    run: run_heal,
};

fn run_fault(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    let [node, words @ ..] = &arguments.words[..] else {
        return Err(Failure::Usage("fault expects a node and what shall happen to it, like 1 pause 5s".to_string()));
    };
    let node = member(options, "fault", node)?;
    let fault = understand(arguments, words)?;
    order(options, node, std::slice::from_ref(&fault)).map_err(|why| not_done(node, &fault, &why))?;
    print(&told(node, &fault))
}

/// The options of a fault stand anywhere on a command line, but in one place of its words.
fn understand(arguments: &Arguments, words: &[String]) -> Result<Fault, Failure> {
    let mut line: Vec<String> = words.first().cloned().into_iter().collect();
    for flag in ["--from", "--to", "--for"] {
        if arguments.has(flag) {
            line.push(flag.to_string());
            line.extend(arguments.value(flag).filter(|value| !value.is_empty()).map(str::to_string));
        }
    }
    line.extend(words.iter().skip(1).cloned());
    read_fault(&mut Tokens::new(&line.join(" "))).map_err(|wrong| Failure::Usage(format!("fault: {wrong}")))
}

/// The member that a word means: `2` or `node_2`.
pub fn member(options: &Options, command: &str, word: &str) -> Result<NodeId, Failure> {
    let number = word.strip_prefix("node_").unwrap_or(word);
    whole_number(command, number, 1, options.cluster.size()).map(NodeId)
}

/// Why a node did not do as it was told.
#[derive(Debug)]
pub enum Undone {
    /// It may have done it, but it is more likely that it is dead or paused.
    NoAnswer(String),
    Refused(String),
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undone::NoAnswer(why) => f.write_str(why),
            Undone::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// What became of an order at each node.
pub type Done = Vec<(NodeId, Result<(), Undone>)>;

/// Orders faults at one node, in this order.
fn order(options: &Options, node: NodeId, faults: &[Fault]) -> Result<(), Undone> {
    let limit = ATTEMPT.min(options.timeout);
    let address = options.cluster.address(node).unwrap_or_default();
    let mut connection = Connection::open(address, limit).map_err(Undone::NoAnswer)?;
    faults.iter().try_for_each(|fault| {
        match connection.ask(&Request::Fault(fault.clone()), limit).map_err(Undone::NoAnswer)? {
            Answer::Faulted => Ok(()),
            Answer::Error { text, .. } => Err(Undone::Refused(text)),
            _ => Err(Undone::NoAnswer("it answered something else".to_string())),
        }
    })
}

/// Orders faults at several nodes at the same time.
pub fn order_all(options: &Options, orders: &[(NodeId, Vec<Fault>)]) -> Done {
    thread::scope(|scope| {
        let started: Vec<_> =
            orders.iter().map(|(node, faults)| (*node, scope.spawn(|| order(options, *node, faults)))).collect();
        let panicked = |_| Err(Undone::NoAnswer("bug: the thread that asked it has panicked".to_string()));
        started.into_iter().map(|(node, asked)| (node, asked.join().unwrap_or_else(panicked))).collect()
    })
}

fn not_done(node: NodeId, fault: &Fault, why: &Undone) -> Failure {
    Failure::NotDone(format!("{node}: {fault} was not done: {why}"))
}

/// What the fault does at this node, and what to look for.
fn told(node: NodeId, fault: &Fault) -> String {
    let (what, look) = match fault {
        Fault::Cut { way, peers } => {
            let peers = listed(peers);
            let what = match way {
                Way::Both => format!("nothing passes between it and {peers}, until client heal"),
                Way::From => format!("what {peers} says does not arrive there, until client heal"),
                Way::To => format!("what it says does not arrive at {peers}, until client heal"),
            };
            let look = "PEER … lost: no answer, after the lower bound of the election timeout; then STATE lines where a \
                        leader is missed, or misses its majority";
            (what, look)
        }
        Fault::Delay { peer, by } => {
            let what = format!("what it says arrives at {peer} {} ms later, until client heal", by.as_millis());
            (what, "the times of an APPEND line there and of the REPLICATED line that answers it")
        }
        Fault::Loss { peer, percent } => {
            let what = format!("of what it says to {peer}, {percent}% is lost, until client heal");
            (what, "HEARTBEAT lines that the other node lacks; entries come late, but come")
        }
        Fault::Heal => {
            ("everything passes again".to_string(), "PEER … connected; TERM lines where one had been left behind")
        }
        Fault::Timeout => (
            "its election timer has fired".to_string(),
            "STATE follower -> pre-candidate there, and VOTE lines everywhere (the others refuse a pre-vote while they \
             hear a leader; a leader counts its majority and leads on)",
        ),
        Fault::Pause { lasts } => (
            format!("it does nothing for {} s", lasts.as_secs_f64()),
            "the gap in its log up to FAULT the pause is over; if it led and that is longer than the others wait: STATE \
             … -> leader at another node, and then TERM here",
        ),
        Fault::Crash { back_after: None } => (
            "it is dead until somebody starts it: docker container start, or start in client cluster".to_string(),
            "PEER … lost at the others; a new leader if it led",
        ),
        Fault::Crash { back_after: Some(time) } => (
            format!("it is dead, and starts again from its disk in {} s", time.as_secs_f64()),
            "PEER … lost at the others, and its START line, whose log is the one that it had",
        ),
    };
    format!("{node}: {fault}: {what}\n  its log says FAULT {fault}; look for {look}\n")
}

/// `node_1, node_2`
pub fn listed(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn run_partition(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    let parts = read_parts(options, &arguments.words)?;
    let orders: Vec<_> = options.cluster.members().map(|(node, _)| (node, cuts(&parts, node))).collect();
    let done = order_all(options, &orders);
    let mut text = String::new();
    for part in &parts {
        let majority = options.cluster.size() as usize / 2 + 1;
        let fate = match part.len() >= majority {
            true => "a majority: it can elect a leader and commit",
            false => "no majority: nothing is committed there",
        };
        text.push_str(&format!("{}: {fate}\n", listed(part)));
    }
    for ((node, faults), _) in orders.iter().zip(&done).filter(|(_, (_, done))| done.is_ok()) {
        let words: Vec<_> = faults.iter().map(ToString::to_string).collect();
        text.push_str(&format!("{node} hears its own part only: {}\n", words.join(", ")));
    }
    text.push_str("look in the logs for FAULT cut, then PEER … lost, STATE and TERM lines; client heal ends it\n");
    finish(&done, &text, "the others do not hear it, but it may hear them: give the order again when it is back")
}

/// The parts as given, and those that are not named as one more.
fn read_parts(options: &Options, words: &[String]) -> Result<Vec<Vec<NodeId>>, Failure> {
    let mut parts: Vec<Vec<NodeId>> = Vec::new();
    for word in words {
        let mut part = Vec::new();
        for name in word.split(',') {
            let node = member(options, "partition", name)?;
            if part.contains(&node) || parts.iter().any(|other| other.contains(&node)) {
                return Err(Failure::Usage(format!("partition: {node} is named twice; it can be in one part only")));
            }
            part.push(node);
        }
        parts.push(part);
    }
    let named = |node: &NodeId| parts.iter().any(|part| part.contains(node));
    let rest: Vec<NodeId> = options.cluster.members().map(|(node, _)| node).filter(|node| !named(node)).collect();
    parts.extend(Some(rest).filter(|rest| !rest.is_empty()));
    if words.is_empty() || parts.len() < 2 {
        let wanted = "partition expects at least two parts, like 1,2 3,4,5; the nodes not named are one more part";
        return Err(Failure::Usage(wanted.to_string()));
    }
    Ok(parts)
}

/// What is to be ordered at a node so that it hears its own part only.
fn cuts(parts: &[Vec<NodeId>], node: NodeId) -> Vec<Fault> {
    let others = parts.iter().filter(|part| !part.contains(&node));
    let mut peers: Vec<NodeId> = others.flatten().copied().collect();
    peers.sort();
    vec![Fault::Heal, Fault::Cut { way: Way::Both, peers }]
}

fn run_heal(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    arguments.no_words("heal")?;
    let done = heal(options);
    let mut text = String::new();
    for (node, _) in done.iter().filter(|(_, done)| done.is_ok()) {
        text.push_str(&format!("{node}: healed, as far as it is concerned everything passes again\n"));
    }
    text.push_str(
        "look in the logs for FAULT heal, then PEER … connected; a node that was left behind adopts the newer term\n",
    );
    finish(&done, &text, "a node that is dead has no faults when it starts again; if it is paused, ask again")
}

/// Ends all cuts, delays and losses.
pub fn heal(options: &Options) -> Done {
    let orders: Vec<_> = options.cluster.members().map(|(node, _)| (node, vec![Fault::Heal])).collect();
    order_all(options, &orders)
}

/// Says what was done, if anything was, and then which nodes did nothing.
fn finish(done: &Done, text: &str, if_absent: &str) -> Result<(), Failure> {
    if done.iter().any(|(_, done)| done.is_ok()) {
        print(text)?;
    }
    let failed: Vec<_> = done.iter().filter_map(|(node, done)| Some((node, done.as_ref().err()?))).collect();
    let Some(((node, last), more)) = failed.split_last() else { return Ok(()) };
    for (node, why) in more {
        tell(format_args!("client: {node} did nothing: {why}\n"));
    }
    let hint = if matches!(last, Undone::NoAnswer(_)) { format!(" ({if_absent})") } else { String::new() };
    Err(Failure::NotDone(format!("{node} did nothing: {last}{hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_lab::cluster::Cluster;
    use std::time::Duration;

    fn options(size: u64) -> Options {
        let cluster = Cluster::of_size(size).unwrap_or_else(|why| panic!("{why}"));
        Options { cluster, timeout: Duration::from_secs(1) }
    }

    fn parts(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        match read_parts(&options(5), &words) {
            Ok(parts) => Ok(parts.iter().map(|part| listed(part)).collect::<Vec<_>>().join(" | ")),
            Err(Failure::Usage(why)) => Err(why),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn each_node_is_in_one_part() {
        assert_eq!(parts(&["1,2", "3,4,5"]).as_deref(), Ok("node_1, node_2 | node_3, node_4, node_5"));
        assert_eq!(parts(&["node_2"]).as_deref(), Ok("node_2 | node_1, node_3, node_4, node_5"));
        assert_eq!(parts(&["1", "2"]).as_deref(), Ok("node_1 | node_2 | node_3, node_4, node_5"));
        for (words, why) in [
            (&["1,2", "2"][..], "node_2 is named twice"),
            (&["1,1"], "node_1 is named twice"),
            (&["6"], "a number from 1 to 5, got \"6\""),
            (&["1,"], "a number from 1 to 5, got \"\""),
            (&[], "at least two parts"),
            (&["1,2,3,4,5"], "at least two parts"),
        ] {
            assert!(parts(words).is_err_and(|error| error.contains(why)), "{words:?}: {:?}", parts(words));
        }
    }

    #[test]
    fn a_part_is_cut_off_from_all_others() {
        let parts: Vec<Vec<NodeId>> =
            [&[4, 1][..], &[5, 2], &[3]].map(|p| p.iter().copied().map(NodeId).collect()).into();
        assert_eq!(cuts(&parts, NodeId(1)).iter().map(ToString::to_string).collect::<Vec<_>>(), ["heal", "cut 2 3 5"]);
        assert_eq!(cuts(&parts, NodeId(3))[1].to_string(), "cut 1 2 4 5");
    }
}

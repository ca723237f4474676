//! Faults that a person orders: the same words on the command line, on the wire and in the log.
//!
//! ```text
//! cut 2 3 · cut --from 2 · cut --to 2     drop all messages with these nodes, or of one direction
//! delay 2 500ms                           what this node sends to node 2 arrives so much later
//! loss 2 30%                              what this node sends to node 2 is lost so often
//! heal                                    none of the above any more
//! timeout                                 the election timer fires now
//! pause 5s                                the node does nothing, as if stopped by SIGSTOP
//! crash · crash --for 15s                 the process dies as by kill -9; and starts again
//! ```

use std::fmt;
use std::time::Duration;

use super::WireError;
use crate::raft::types::{MAX_CLUSTER_SIZE, NodeId};
use crate::text::{Tokens, number};

/// The longest delay of a message.
pub const MAX_DELAY: Duration = Duration::from_secs(60);
/// The longest pause, and the longest time until a crashed node starts again.
pub const MAX_ABSENCE: Duration = Duration::from_secs(60 * 60);

/// Which direction a cut concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Both,
    /// What the other nodes send to this one.
    From,
    /// What this node sends to the others.
    To,
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes between this node and these.
    Cut { way: Way, peers: Vec<NodeId> },
    /// Each message that this node sends to the peer arrives so much later.
    Delay { peer: NodeId, by: Duration },
    /// Each message that this node sends to the peer is lost with this chance, in percent.
    Loss { peer: NodeId, percent: u8 },
    /// Ends all cuts, delays and losses of this node.
    Heal,
    /// The election timer fires now (§5.2).
    Timeout,
    /// The node does nothing for so long.
    Pause { lasts: Duration },
    /// The process dies; with `back_after` it starts again after that time.
    Crash { back_after: Option<Duration> },
}

const FAULTS: &str = "cut, delay, loss, heal, timeout, pause or crash";

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Cut { way, peers } => {
                f.write_str(match way {
                    Way::Both => "cut",
                    Way::From => "cut --from",
                    Way::To => "cut --to",
                })?;
                peers.iter().try_for_each(|peer| write!(f, " {}", peer.0))
            }
            Fault::Delay { peer, by } => write!(f, "delay {} {}", peer.0, Time(*by)),
            Fault::Loss { peer, percent } => write!(f, "loss {} {percent}%", peer.0),
            Fault::Heal => f.write_str("heal"),
            Fault::Timeout => f.write_str("timeout"),
            Fault::Pause { lasts } => write!(f, "pause {}", Time(*lasts)),
            Fault::Crash { back_after: None } => f.write_str("crash"),
            Fault::Crash { back_after: Some(time) } => write!(f, "crash --for {}", Time(*time)),
        }
    }
}

/// Whole seconds as `5s`, everything else as `1500ms`.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 if self.0 > Duration::ZERO => write!(f, "{}s", self.0.as_secs()),
            _ => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

/// Reads `500ms` or `5s`, from 1 ms to `most`.
fn time(text: &str, most: Duration) -> Option<Duration> {
    let time = match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(number(millis)?),
        None => Duration::from_secs(number(text.strip_suffix('s')?)?),
    };
    (Duration::from_millis(1)..=most).contains(&time).then_some(time)
}

/// Reads the words of a fault. A node may be named `2` or `node_2`.
pub fn read_fault(tokens: &mut Tokens) -> Result<Fault, WireError> {
    let kind = tokens.word(FAULTS)?;
    let fault = match kind {
        "cut" => {
            let way = match tokens.peek() {
                "--from" => Way::From,
                "--to" => Way::To,
                _ => Way::Both,
            };
            if way != Way::Both {
                tokens.word("a direction")?;
            }
            let mut peers = vec![peer(tokens)?];
            while !tokens.is_empty() {
                let peer = peer(tokens)?;
                if peers.contains(&peer) {
                    return Err(tokens.error(format_args!("{peer} is named twice")));
                }
                peers.push(peer);
            }
            Fault::Cut { way, peers }
        }
        "delay" => Fault::Delay { peer: peer(tokens)?, by: read_time(tokens, MAX_DELAY)? },
        "loss" => {
            let peer = peer(tokens)?;
            let word = tokens.word("a chance like 30%")?;
            let percent = word.strip_suffix('%').and_then(number).filter(|percent| *percent <= 100);
            let percent = percent.ok_or_else(|| tokens.expected("loss", "a chance from 0% to 100%", word))?;
            Fault::Loss { peer, percent: percent as u8 }
        }
        "heal" => Fault::Heal,
        "timeout" => Fault::Timeout,
        "pause" => Fault::Pause { lasts: read_time(tokens, MAX_ABSENCE)? },
        "crash" if tokens.is_empty() => Fault::Crash { back_after: None },
        "crash" => {
            tokens.literal("--for")?;
            Fault::Crash { back_after: Some(read_time(tokens, MAX_ABSENCE)?) }
        }
        found => return Err(tokens.expected("fault", FAULTS, found)),
    };
    tokens.end()?;
    Ok(fault)
}

fn peer(tokens: &mut Tokens) -> Result<NodeId, WireError> {
    let word = tokens.word("a node like 2")?;
    let id = number(word.strip_prefix("node_").unwrap_or(word)).filter(|id| (1..=MAX_CLUSTER_SIZE).contains(id));
    id.map(NodeId).ok_or_else(|| tokens.expected("the node", format_args!("1 … {MAX_CLUSTER_SIZE}"), word))
}

fn read_time(tokens: &mut Tokens, most: Duration) -> Result<Duration, WireError> {
    let word = tokens.word("a time like 500ms or 5s")?;
    let most_seconds = most.as_secs();
    time(word, most)
        .ok_or_else(|| tokens.expected("the time", format_args!("500ms or 5s, 1ms to {most_seconds}s"), word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fault, String> {
        read_fault(&mut Tokens::new(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_words_of_a_fault_come_back() {
        for text in [
            "cut 2 3",
            "cut --from 2",
            "cut --to 2 5",
            "delay 2 500ms",
            "delay 9 60s",
            "loss 2 30%",
            "loss 2 0%",
            "loss 2 100%",
            "heal",
            "timeout",
            "pause 5s",
            "pause 1500ms",
            "pause 3600s",
            "crash",
            "crash --for 15s",
        ] {
            assert_eq!(read(text).map(|fault| fault.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(read("cut node_2"), Ok(Fault::Cut { way: Way::Both, peers: vec![NodeId(2)] }));
        assert_eq!(read("delay 2 2000ms").map(|fault| fault.to_string()).as_deref(), Ok("delay 2 2s"));
    }

    #[test]
    fn what_is_wrong_names_what_was_expected() {
        for (text, why) in [
            ("", "expected cut, delay, loss, heal, timeout, pause or crash"),
            ("explode", "expected cut, delay, loss, heal, timeout, pause or crash"),
            ("cut", "expected a node like 2"),
            ("cut 0", "1 … 9"),
            ("cut 10", "1 … 9"),
            ("cut 2 2", "named twice"),
            ("cut --over 2", "1 … 9"),
            ("delay 2", "expected a time"),
            ("delay 2 0ms", "500ms or 5s, 1ms to 60s"),
            ("delay 2 61s", "1ms to 60s"),
            ("delay 2 5", "500ms or 5s"),
            ("loss 2 101%", "from 0% to 100%"),
            ("loss 2 30", "from 0% to 100%"),
            ("heal now", "expected the end of the line"),
            ("pause 3601s", "1ms to 3600s"),
            ("crash 5s", "--for"),
            ("crash --for 18446744073709551615s", "500ms or 5s"),
        ] {
            let error = read(text).err().unwrap_or_default();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}

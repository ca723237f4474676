//! Faults that a client orders (`wire::fault`), and where they bite.
//!
//! The loop alone changes them: a FAULT line first, then the fault. The others look at them as they pass: a
//! sender and an accepted connection before each message ([`Troubles`]), and everybody who could be noticed
//! from outside while the node is paused ([`Gate`]). A fault never touches the disk: what the node has
//! promised there holds, so no fault can break the protocol, and a node that starts again has none.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::connection::error;
use super::end;
use super::inbox::{Reply, ReplyTo};
use super::limits::{LAST_WORDS, OUTBOX_BYTES, OUTBOX_MESSAGES};
use super::peers::Link;
use super::raft_loop::RaftLoop;
use crate::raft::event::Fact;
use crate::raft::ready::Input;
use crate::raft::types::NodeId;
use crate::wire::client::{Answer, ErrorCode};
use crate::wire::fault::{Fault, MAX_ABSENCE, Way};

/// The exit code of what `kill -9` has ended, as shells and Docker tell it.
const KILLED: i32 = 137;
/// The variable that tells a process which has taken a crashed one's place how long to stay away, in milliseconds.
const BACK_AFTER_MS: &str = "RAFT_LAB_BACK_AFTER_MS";

/// Whether and how this node can be broken.
pub struct Faults {
    /// It was started with leave for it.
    pub allowed: bool,
    /// What to run to start again. Asked for at the start: later the file may have been replaced.
    program: Option<PathBuf>,
}

impl Faults {
    pub fn new(allowed: bool) -> Faults {
        Faults { allowed, program: std::env::current_exe().ok() }
    }
}

/// What happens to the messages between this node and one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// What this node sends to the peer is dropped.
    pub cut_to: bool,
    /// What the peer sends to this node is dropped.
    pub cut_from: bool,
    /// Of what this node sends to the peer so many are dropped, in percent.
    pub loss: u8,
    /// What this node sends to the peer arrives so much later, in milliseconds.
    pub delay_ms: u32,
}

impl Trouble {
    /// Nothing passes at all, not even a hello.
    pub fn is_cut(&self) -> bool {
        self.cut_to && self.cut_from
    }

    pub fn delay(&self) -> Duration {
        Duration::from_millis(u64::from(self.delay_ms))
    }

    fn pack(self) -> u64 {
        u64::from(self.cut_to)
            | u64::from(self.cut_from) << 1
            | u64::from(self.loss) << 8
            | u64::from(self.delay_ms) << 32
    }

    fn unpack(word: u64) -> Trouble {
        Trouble { cut_to: word & 1 > 0, cut_from: word & 2 > 0, loss: (word >> 8) as u8, delay_ms: (word >> 32) as u32 }
    }
}

/// The trouble of one link, in one word: a message costs one load of it.
#[derive(Default)]
pub struct Troubles(AtomicU64);

impl Troubles {
    pub fn now(&self) -> Trouble {
        Trouble::unpack(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, trouble: Trouble) {
        self.0.store(trouble.pack(), Ordering::Relaxed);
    }
}

/// Messages on their slow way to a peer, in their order. What is due is what has waited for the present delay,
/// so that the end of a delay lets all of them arrive.
pub struct Delayed<T> {
    /// When each was sent, and its weight.
    items: VecDeque<(Instant, usize, T)>,
    weight: usize,
}

impl<T> Delayed<T> {
    pub fn new() -> Delayed<T> {
        Delayed { items: VecDeque::new(), weight: 0 }
    }

    /// Puts a message on its way. Too many or too heavy together: it is lost, as in a full outbox.
    pub fn push(&mut self, now: Instant, item: T, weight: usize) {
        let room = self.items.len() < OUTBOX_MESSAGES && self.weight + weight <= OUTBOX_BYTES;
        if room || self.items.is_empty() {
            self.items.push_back((now, weight, item));
            self.weight += weight;
        }
    }

    /// The next one that has arrived.
    pub fn arrived(&mut self, now: Instant, delay: Duration) -> Option<T> {
        let (_, weight, item) = self.items.pop_front_if(|(sent, ..)| *sent + delay <= now)?;
        self.weight -= weight;
        Some(item)
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// When the next one arrives.
    pub fn due(&self, delay: Duration) -> Option<Instant> {
        self.items.front().map(|(sent, ..)| *sent + delay)
    }
}

/// Closed while the node is paused: whoever could be noticed from outside waits here, as all would after SIGSTOP.
#[derive(Clone)]
pub struct Gate {
    clock: Clock,
    /// Closed until this uptime, in milliseconds; 0: open.
    until_ms: Arc<AtomicU64>,
}

impl Gate {
    pub fn new(clock: Clock) -> Gate {
        Gate { clock, until_ms: Arc::default() }
    }

    /// Goes on at once, or when the pause is over.
    pub fn pass(&self) {
        loop {
            let until = Duration::from_millis(self.until_ms.load(Ordering::Relaxed));
            let left = until.saturating_sub(self.clock.uptime());
            if until.is_zero() || left.is_zero() {
                return;
            }
            thread::sleep(left);
        }
    }

    /// Stops everybody for so long, the caller too.
    fn pause(&self, lasts: Duration) {
        let until = self.clock.uptime() + lasts;
        self.until_ms.store(until.as_millis() as u64 + 1, Ordering::Relaxed);
        self.pass();
        self.until_ms.store(0, Ordering::Relaxed);
    }
}

impl RaftLoop {
    /// Does what was ordered, or says why not. Everything is on disk when this is called.
    pub(super) fn fault(&mut self, fault: &Fault, reply: ReplyTo) {
        if let Some((code, why)) = self.fault_refused(fault) {
            self.tell_client(format!("fault {fault} refused: {why}"));
            return reply.send(Reply::Answer(error(code, &why)));
        }
        self.tell_fault(format!("{fault}: {}", self.meaning(fault)));
        match fault {
            Fault::Cut { way, peers } => peers.iter().for_each(|peer| {
                self.trouble(*peer, |trouble| {
                    trouble.cut_to |= *way != Way::From;
                    trouble.cut_from |= *way != Way::To;
                });
            }),
            Fault::Delay { peer, by } => self.trouble(*peer, |trouble| trouble.delay_ms = by.as_millis() as u32),
            Fault::Loss { peer, percent } => self.trouble(*peer, |trouble| trouble.loss = *percent),
            Fault::Heal => {
                let peers: Vec<NodeId> = self.node.links.keys().copied().collect();
                peers.iter().for_each(|peer| self.trouble(*peer, |trouble| *trouble = Trouble::default()));
            }
            Fault::Timeout => self.step(vec![Input::ElectionTimeout]),
            Fault::Pause { lasts } => {
                self.last_word(reply);
                let since = self.node.clock.uptime();
                self.node.gate.pause(*lasts);
                let lasted = self.node.clock.uptime() - since;
                return self.tell_fault(format!("the pause is over after {:.3} s", lasted.as_secs_f64()));
            }
            Fault::Crash { back_after } => {
                self.last_word(reply);
                match back_after {
                    None => exit(KILLED),
                    Some(time) => end(&start_again(self.node.faults.program.clone(), *time)),
                }
            }
        }
        reply.send(Reply::Answer(Answer::Faulted));
    }

    fn fault_refused(&self, fault: &Fault) -> Option<(ErrorCode, String)> {
        if !self.node.faults.allowed {
            let why = "this node was started without leave to be broken; start it with FAULTS=on or --faults on";
            return Some((ErrorCode::FaultsOff, why.to_string()));
        }
        let peers = match fault {
            Fault::Cut { peers, .. } => &peers[..],
            Fault::Delay { peer, .. } | Fault::Loss { peer, .. } => std::slice::from_ref(peer),
            _ => &[],
        };
        let (own, size) = (self.node.own.node, self.node.own.size);
        let wrong = peers.iter().find(|peer| !self.node.links.contains_key(peer))?;
        let why = match *wrong == own {
            true => format!("{own} is this node itself: name one of the others"),
            false => format!("{wrong} is no member: they are node_1 to node_{size}"),
        };
        Some((ErrorCode::NotThisCluster, why))
    }

    /// What a fault does, for the log.
    fn meaning(&self, fault: &Fault) -> String {
        match fault {
            Fault::Cut { way, peers } => {
                let peers: Vec<_> = peers.iter().map(|peer| peer.to_string()).collect();
                let peers = peers.join(", ");
                match way {
                    Way::Both => format!("nothing passes between this node and {peers}"),
                    Way::From => format!("what {peers} says does not arrive here"),
                    Way::To => format!("what this node says does not arrive at {peers}"),
                }
            }
            Fault::Delay { peer, .. } => format!("what this node says arrives at {peer} so much later"),
            Fault::Loss { peer, percent } => format!("of what this node says to {peer}, {percent}% is lost"),
            Fault::Heal => {
                let troubled = |(_, link): &(&NodeId, &Arc<Link>)| link.troubles.now() != Trouble::default();
                let healed: Vec<_> =
                    self.node.links.iter().filter(troubled).map(|(peer, _)| peer.to_string()).collect();
                match healed.is_empty() {
                    true => "there is nothing to heal".to_string(),
                    false => format!("everything passes again between this node and {}", healed.join(", ")),
                }
            }
            Fault::Timeout => "the election timer fires now".to_string(),
            Fault::Pause { .. } => "the node does nothing for so long, as if stopped by SIGSTOP".to_string(),
            Fault::Crash { back_after: None } => "the process dies, as by kill -9".to_string(),
            Fault::Crash { .. } => "the process dies, as by kill -9, and starts again after that time".to_string(),
        }
    }

    fn trouble(&self, peer: NodeId, change: impl Fn(&mut Trouble)) {
        if let Some(link) = self.node.links.get(&peer) {
            let mut trouble = link.troubles.now();
            change(&mut trouble);
            link.troubles.set(trouble);
            link.troubles_changed();
        }
    }

    fn tell_fault(&self, text: String) {
        self.tell(Fact::Fault { text });
    }

    /// Lets the log and the answer out before nothing goes out any more. Each gets a moment, not more.
    fn last_word(&self, reply: ReplyTo) {
        self.node.log.flush(LAST_WORDS);
        let (written, done) = channel();
        reply.send(Reply::LastWord(written));
        let _ = done.recv_timeout(LAST_WORDS);
    }
}

/// Puts a new process of the same program, arguments and number in this one's place, which stays away for a while.
/// All files and sockets of this one are closed by that; only the standard streams stay. Returns why it could not.
#[cfg(unix)]
fn start_again(program: Option<PathBuf>, after: Duration) -> String {
    use std::os::unix::process::CommandExt;

    let Some(program) = program else { return "it cannot start again: it does not know its program".to_string() };
    let mut command = std::process::Command::new(&program);
    command.args(std::env::args_os().skip(1)).env(BACK_AFTER_MS, after.as_millis().to_string());
    format!("it cannot start again: {}: {}", program.display(), command.exec())
}

#[cfg(not(unix))]
fn start_again(_: Option<PathBuf>, _: Duration) -> String {
    "it cannot start again by itself on this system".to_string()
}

/// Stays away if this process has taken a crashed one's place. How long it was.
pub fn stay_away() -> Option<Duration> {
    let millis = std::env::var(BACK_AFTER_MS).ok()?.parse().ok()?;
    let time = Duration::from_millis(millis).min(MAX_ABSENCE);
    thread::sleep(time);
    Some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_fits_in_a_word() {
        let bits = [false, true];
        for (cut_to, cut_from) in bits.iter().flat_map(|to| bits.map(|from| (*to, from))) {
            for (loss, delay_ms) in [(0, 0), (100, 60_000), (1, u32::MAX), (255, 1)] {
                let trouble = Trouble { cut_to, cut_from, loss, delay_ms };
                assert_eq!(Trouble::unpack(trouble.pack()), trouble);
            }
        }
        assert_eq!(Trouble::default().pack(), 0);
    }

    #[test]
    fn delayed_messages_arrive_in_order_and_all_at_once_when_the_delay_ends() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let delay = Duration::from_millis(100);
        let mut delayed = Delayed::new();
        (0..3).for_each(|n| delayed.push(at(n * 10), n, 1));
        assert_eq!((delayed.due(delay), delayed.arrived(at(99), delay)), (Some(at(100)), None));
        assert_eq!(delayed.arrived(at(115), delay), Some(0));
        assert_eq!(delayed.arrived(at(115), delay), Some(1));
        assert_eq!(delayed.arrived(at(115), delay), None);
        assert_eq!(delayed.arrived(at(115), Duration::ZERO), Some(2));
        assert_eq!((delayed.due(delay), delayed.weight), (None, 0));
    }

    #[test]
    fn delayed_messages_have_limits() {
        let now = Instant::now();
        let mut delayed = Delayed::new();
        (0..OUTBOX_MESSAGES + 5).for_each(|n| delayed.push(now, n, 1));
        assert_eq!(delayed.items.len(), OUTBOX_MESSAGES);
        let mut delayed = Delayed::new();
        delayed.push(now, 1, OUTBOX_BYTES + 1);
        delayed.push(now, 2, 1);
        assert_eq!((delayed.items.len(), delayed.weight), (1, OUTBOX_BYTES + 1));
    }

    #[test]
    fn a_gate_is_open_until_a_pause_and_behind_it() {
        let gate = Gate::new(Clock::start());
        gate.pass();
        let (other, since) = (gate.clone(), Instant::now());
        let paused = thread::spawn(move || other.pause(Duration::from_millis(50)));
        while gate.until_ms.load(Ordering::Relaxed) == 0 && !paused.is_finished() {
            thread::yield_now();
        }
        gate.pass();
        assert!(since.elapsed() >= Duration::from_millis(50));
        assert!(paused.join().is_ok());
        assert_eq!(gate.until_ms.load(Ordering::Relaxed), 0);
    }
}

//! `client split-vote`: an election that nobody can win (§5.2).
//!
//! The leader is cut off, and what the candidates say is late. Their timers fire in the same moment, so each has
//! voted for itself before it hears that another one stands. A node that only votes hears one of them first,
//! and they are shared out evenly: without the leader's vote no candidate reaches a majority.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use raft_lab::cluster::Cluster;
use raft_lab::raft::event::{Event, Fact};
use raft_lab::raft::types::{NodeId, Role, Term};
use raft_lab::wire::client::{Answer, NodeStatus, Request};
use raft_lab::wire::fault::{Fault, Way};

use crate::connection::{ATTEMPT, Connection};
use crate::fault::{heal, listed, member, order_all};
use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print, print_line};
use crate::status::ask_all;

pub const COMMAND: Command = Command {
    name: "split-vote",
    usage: "split-vote [NODES]",
    summary: "make the timers of several nodes fire together: nobody wins",
    help:
        "Cuts the leader off, delays what the candidates say, and makes their election timers fire in the same moment.
Each votes for itself before it hears of the others, so nobody gets a majority (§5.2). It prints the lines of
the logs that show it, heals everything, and waits for the election that then has a winner.

NODES: who stands, like 2,3: at least two of the nodes that do not lead; all of them where nothing is said.
The nodes must have been started with FAULTS=on or --faults on.

  --delay MS   how late their messages are, in milliseconds; 100 where nothing is said. Twice that must
               be less than the lower bound of the election timeout.

Exit code 0 if the vote was split.
",
    flags: &[("--delay", Some("MS"))],
    run,
};

/// How long what comes of it may take beyond the delays.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at the nodes.
const PAUSE: Duration = Duration::from_millis(100);

/// Who does what.
struct Plan {
    leader: Option<NodeId>,
    standing: Vec<NodeId>,
    /// They only vote.
    voters: Vec<NodeId>,
    delay: Duration,
}

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    let plan = Plan::make(options, arguments)?;
    let outcome = split(options, &plan);
    // Whatever came of it.
    let healed = heal(options);
    let lines = outcome?;
    let Some((term, lines)) = lines else {
        return Err(Failure::NotDone(
            "the vote was not split: one of them was quicker. Ask again, perhaps with a longer --delay".to_string(),
        ));
    };
    let mut text = String::new();
    lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    text.push_str(&format!(
        "t{term} has no leader: {} have voted for themselves, nobody has a majority\n",
        listed(&plan.standing)
    ));
    let deaf: Vec<NodeId> = healed.iter().filter(|(_, done)| done.is_err()).map(|(node, _)| *node).collect();
    text.push_str(match deaf.is_empty() {
        true => "healed everything; the timers are drawn anew, so one of them is the first next time\n",
        false => "healed what answers\n",
    });
    print(&text)?;
    wait_for_winner(options, term)
}

impl Plan {
    fn make(options: &Options, arguments: &Arguments) -> Result<Plan, Failure> {
        let delay = Duration::from_millis(arguments.number("--delay", 10, 60_000)?.unwrap_or(100));
        let mut named = Vec::new();
        for word in arguments.words.iter().flat_map(|words| words.split(',')) {
            let node = member(options, "split-vote", word)?;
            if named.contains(&node) {
                return Err(Failure::Usage(format!("split-vote: {node} is named twice")));
            }
            named.push(node);
        }
        if let [lonely] = &named[..] {
            let why = "one node alone splits no vote; name two at least, like 2,3";
            return Err(Failure::Usage(format!("split-vote: got {lonely} only: {why}")));
        }
        let up: Vec<NodeStatus> = statuses(options);
        let leader = leader(&up);
        if let Some(leader) = leader.filter(|leader| named.contains(leader)) {
            let why = format!("{leader} leads: name two of the others, or nobody");
            return Err(Failure::Usage(format!("split-vote: {why}")));
        }
        let others: Vec<NodeId> = up.iter().map(|status| status.node).filter(|node| Some(*node) != leader).collect();
        let (standing, voters): (Vec<NodeId>, Vec<NodeId>) =
            others.into_iter().partition(|node| named.is_empty() || named.contains(node));
        if standing.len() < named.len().max(2) {
            let why = format!("only {} of those who should stand for election answer", standing.len());
            return Err(Failure::NotDone(format!("split-vote: {why}; two at least must. {}", options.cure())));
        }
        Ok(Plan { leader, standing, voters, delay })
    }

    /// Late enough that each candidate has voted for itself before it hears of another; and each voter hears first of
    /// the candidate that it is given to.
    fn orders(&self) -> Vec<(NodeId, Vec<Fault>)> {
        let mut orders = Vec::new();
        for (place, node) in self.standing.iter().enumerate() {
            let rivals = self.standing.iter().filter(|rival| *rival != node).map(|rival| (*rival, 1));
            let voters = self.voters.iter().enumerate().map(|(voter, id)| {
                let own = voter % self.standing.len() == place;
                (*id, if own { 1 } else { 2 })
            });
            let delay = |(peer, times)| Fault::Delay { peer, by: self.delay * times };
            orders.push((*node, rivals.chain(voters).map(delay).collect()));
        }
        if let Some(leader) = self.leader {
            let peers: Vec<NodeId> = self.standing.iter().chain(&self.voters).copied().collect();
            orders.push((leader, vec![Fault::Cut { way: Way::Both, peers }]));
        }
        orders
    }
}

fn statuses(options: &Options) -> Vec<NodeStatus> {
    ask_all(options, ATTEMPT.min(options.timeout)).into_iter().filter_map(|row| row.status.ok()).collect()
}

/// The leader of the newest term.
fn leader(statuses: &[NodeStatus]) -> Option<NodeId> {
    let newest = statuses.iter().map(|status| status.term).max()?;
    let leads = |status: &&NodeStatus| status.term == newest && status.role == Role::Leader;
    statuses.iter().find(leads).map(|status| status.node)
}

/// Splits a vote: the term, and the lines that show it; nothing if somebody won.
fn split(options: &Options, plan: &Plan) -> Result<Option<(Term, Vec<Event>)>, Failure> {
    let (sender, events) = channel();
    for node in &plan.standing {
        watch(options, *node, &sender).map_err(|why| Failure::NotDone(format!("split-vote: {node}: {why}")))?;
    }
    if !plan.voters.is_empty() {
        print_line("waiting for heartbeats, to know how often they come")?;
    }
    let lease = match plan.voters.is_empty() {
        // Whose own timer has fired grants a pre-vote.
        true => Duration::ZERO,
        false => 2 * heartbeat_interval(&events)?,
    };
    let orders = plan.orders();
    for (node, done) in order_all(options, &orders) {
        done.map_err(|why| Failure::NotDone(format!("split-vote: {node} does not do as it is told: {why}")))?;
    }
    for (node, faults) in &orders {
        let words: Vec<_> = faults.iter().map(ToString::to_string).collect();
        print_line(format_args!("{node}: {}", words.join(", ")))?;
    }
    // Voters refuse a pre-vote for two heartbeats after they have heard the leader.
    thread::sleep(lease + lease / 20);
    print_line(format_args!("{}: timeout, in the same moment", listed(&plan.standing)))?;
    fire(&options.cluster, &plan.standing, ATTEMPT.min(options.timeout))?;
    Ok(watch_for_split(plan, &events))
}

/// Sends on what a node tells, until nobody listens any more.
fn watch(options: &Options, node: NodeId, events: &Sender<Event>) -> Result<(), String> {
    let limit = ATTEMPT.min(options.timeout);
    let mut connection = Connection::open(options.cluster.address(node).unwrap_or_default(), limit)?;
    match connection.ask(&Request::Watch, limit)? {
        Answer::Watching(_) => {}
        _ => return Err("it does not tell its events".to_string()),
    }
    let events = events.clone();
    thread::spawn(move || {
        while let Ok(line) = connection.receive_line(None) {
            let Ok(event) = line.parse() else { continue };
            if events.send(event).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The time between two heartbeats at one of those who are watched.
fn heartbeat_interval(events: &Receiver<Event>) -> Result<Duration, Failure> {
    const LONGEST: Duration = Duration::from_secs(20);
    let deadline = Instant::now() + LONGEST;
    let (mut last, mut intervals): (BTreeMap<NodeId, Duration>, Vec<Duration>) = Default::default();
    while let Ok(event) = events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if matches!(event.fact, Fact::HeartbeatReceived { .. })
            && let Some(before) = last.insert(event.node, event.at)
        {
            intervals.push(event.at.saturating_sub(before));
            // An interval that an entry has shortened is not the longest of three.
            if let (3.., Some(longest)) = (intervals.len(), intervals.iter().max()) {
                return Ok(*longest);
            }
        }
    }
    Err(Failure::NotDone(format!("split-vote: no heartbeats within {} s: no leader?", LONGEST.as_secs())))
}

/// Orders `timeout` at all of them in the same moment, on connections that stand already.
pub fn fire(cluster: &Cluster, nodes: &[NodeId], limit: Duration) -> Result<(), Failure> {
    let connect = |node: &NodeId| Connection::open(cluster.address(*node).unwrap_or_default(), limit);
    let mut connections = Vec::new();
    for node in nodes {
        connections
            .push(connect(node).map_err(|why| Failure::NotDone(format!("{node} cannot be told to time out: {why}")))?);
    }
    let together = Barrier::new(nodes.len());
    thread::scope(|scope| {
        for connection in &mut connections {
            scope.spawn(|| {
                together.wait();
                // What comes of it shows in the events.
                let _ = connection.ask(&Request::Fault(Fault::Timeout), limit);
            });
        }
    });
    Ok(())
}

/// The first term in which all stand, once each of them has heard a refusal and nobody has won.
fn watch_for_split(plan: &Plan, events: &Receiver<Event>) -> Option<(Term, Vec<Event>)> {
    let deadline = Instant::now() + 6 * plan.delay + PATIENCE;
    let mut lines: Vec<Event> = Vec::new();
    let mut settled: Option<(Term, Instant)> = None;
    loop {
        let until = settled.map_or(deadline, |(_, until)| until);
        match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(event) => lines.extend(Some(event).filter(tells)),
            Err(_) => break,
        }
        if settled.is_none()
            && let Some(term) = split_term(plan, &lines)
        {
            // Every vote is cast; the last of them may still be on its way.
            settled = Some((term, Instant::now() + 2 * plan.delay + PAUSE));
        }
    }
    let (term, _) = settled?;
    lines.retain(|event| event.term == term);
    lines.sort_by_key(|event| event.at);
    let won = lines.iter().any(|event| event.role == Role::Leader);
    (!won).then_some((term, lines))
}

/// Is it a line of the story? Pre-votes are not.
fn tells(event: &Event) -> bool {
    match &event.fact {
        Fact::VotedForItself { .. } | Fact::State { .. } => true,
        Fact::Granted { pre, .. }
        | Fact::Denied { pre, .. }
        | Fact::Received { pre, .. }
        | Fact::Refused { pre, .. } => !pre,
        _ => false,
    }
}

/// The term in which all of them have voted for themselves, and been refused by another.
fn split_term(plan: &Plan, lines: &[Event]) -> Option<Term> {
    let in_term = |node: &NodeId, term: Term, is: fn(&Fact) -> bool| {
        lines.iter().any(|event| event.node == *node && event.term == term && is(&event.fact))
    };
    let mut terms = lines.iter().map(|event| event.term);
    terms.find(|term| {
        plan.standing.iter().all(|node| {
            in_term(node, *term, |fact| matches!(fact, Fact::VotedForItself { .. }))
                && in_term(node, *term, |fact| matches!(fact, Fact::Refused { pre: false, .. }))
        })
    })
}

fn wait_for_winner(options: &Options, split: Term) -> Result<(), Failure> {
    let (began, deadline) = (Instant::now(), Instant::now() + options.timeout);
    loop {
        let up = statuses(options);
        let newest = up.iter().map(|status| status.term).max().unwrap_or_default();
        if let Some(winner) = leader(&up).filter(|_| newest > split) {
            let took = began.elapsed().as_secs_f64();
            return print_line(format_args!(
                "{winner} leads t{newest}, {took:.1} s later: look for STATE candidate -> leader"
            ));
        }
        if Instant::now() >= deadline {
            let waited = options.timeout.as_secs_f64();
            return Err(Failure::NotDone(format!(
                "the vote was split; but no leader within {waited} s since. {}",
                options.cure()
            )));
        }
        thread::sleep(PAUSE);
    }
}

//! What can be played.

use std::time::Duration;

use super::stage::{Played, Stage};
use super::timers::Timers;
use super::{figure8, lab, report, service};

/// Pre-vote (thesis §9.6), as a scenario needs it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PreVote {
    On,
    Off,
    /// It can be told with it and without; own nodes are without.
    Either,
}

/// One scenario.
pub struct Scenario {
    pub name: &'static str,
    pub sentence: &'static str,
    pub size: u64,
    pub pre_vote: PreVote,
    pub pace: Pace,
    /// Why it can be played on nodes of its own alone.
    pub own_alone: Option<&'static str>,
    pub play: fn(&mut Stage) -> Played,
}

/// The timers of own nodes, where none are given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Elections come soon.
    Quick,
    /// A leader stays, even if the machine is busy for most of a second.
    Calm,
    /// Elections come by order alone, whatever timers are wished for.
    Still,
}

impl Pace {
    pub fn timers(self) -> Timers {
        match self {
            Pace::Quick => Timers::from_millis(500, 900, 100),
            Pace::Calm => Timers::from_millis(1200, 2000, 150),
            Pace::Still => Timers { patience: STILL_PATIENCE, ..Timers::from_millis(20_000, 30_000, 1000) },
        }
    }
}

/// Where no election is waited for, nothing takes long.
const STILL_PATIENCE: Duration = Duration::from_secs(30);

/// What can be played, in the order of the list.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "typical-run",
        sentence: "a leader is elected, a string is replicated and committed, heartbeats keep the peace",
        size: 3,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: Some("it begins with the start of the cluster"),
        play: lab::typical_run,
    },
    Scenario {
        name: "split-vote",
        sentence: "two candidates in one term, a vote each: nobody wins, and random timeouts end it",
        size: 3,
        pre_vote: PreVote::Either,
        pace: Pace::Calm,
        own_alone: None,
        play: lab::split_vote,
    },
    Scenario {
        name: "dead-leader",
        sentence: "the leader dies, another is elected, and the old one comes back as a follower",
        size: 3,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: None,
        play: lab::dead_leader,
    },
    Scenario {
        name: "dead-follower",
        sentence: "a follower dies and comes back; the leader does not change",
        size: 3,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: None,
        play: lab::dead_follower,
    },
    Scenario {
        name: "leader-election",
        sentence: "the leader dies three times, and each time another is elected in a later term",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: service::leader_election,
    },
    Scenario {
        name: "log-consistency",
        sentence: "ten strings through one leader: five equal logs",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: service::log_consistency,
    },
    Scenario {
        name: "crash-and-recovery",
        sentence: "all nodes die at once and come back: nothing that was committed is lost",
        size: 3,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: service::crash_and_recovery,
    },
    Scenario {
        name: "network-partition",
        sentence: "the leader is cut off: another one commits, and the old one must give up its entry",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: None,
        play: service::network_partition,
    },
    Scenario {
        name: "end-to-end",
        sentence: "a key with a list through a crash, a cut and the return of all",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: service::end_to_end,
    },
    Scenario {
        name: "overwritten-entry",
        sentence: "an entry that a stopped leader alone had is overwritten, and nobody was promised it",
        size: 3,
        pre_vote: PreVote::Either,
        pace: Pace::Calm,
        own_alone: None,
        play: report::overwritten_entry,
    },
    Scenario {
        name: "two-of-five",
        sentence: "without a majority terms grow and nothing is committed, then all return",
        size: 5,
        pre_vote: PreVote::Off,
        pace: Pace::Quick,
        own_alone: None,
        play: report::two_of_five,
    },
    Scenario {
        name: "two-of-five-pre-vote",
        sentence: "the same with pre-vote: the terms stay",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: report::two_of_five,
    },
    Scenario {
        name: "minority-holds-leader",
        sentence: "partition 2 | 3, the old leader on the smaller side: the report's first",
        size: 5,
        pre_vote: PreVote::Off,
        pace: Pace::Quick,
        own_alone: None,
        play: report::minority_holds_leader,
    },
    Scenario {
        name: "minority-holds-leader-pre-vote",
        sentence: "the same with pre-vote: the terms stay, and so does the new leader",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: None,
        play: report::minority_holds_leader,
    },
    Scenario {
        name: "majority-holds-leader",
        sentence: "partition 3 | 2: the smaller side's terms grow and depose the leader: the report's second",
        size: 5,
        pre_vote: PreVote::Off,
        pace: Pace::Quick,
        own_alone: None,
        play: report::majority_holds_leader,
    },
    Scenario {
        name: "majority-holds-leader-pre-vote",
        sentence: "the same with pre-vote: the terms stay, and so does the leader",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: None,
        play: report::majority_holds_leader,
    },
    Scenario {
        name: "one-of-three",
        sentence: "one node alone: its term grows, and it elects nobody",
        size: 3,
        pre_vote: PreVote::Off,
        pace: Pace::Quick,
        own_alone: None,
        play: report::one_of_three,
    },
    Scenario {
        name: "one-of-three-pre-vote",
        sentence: "the same with pre-vote: its term stays",
        size: 3,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: report::one_of_three,
    },
    Scenario {
        name: "figure8",
        sentence: "Figure 8 of the paper: an entry of an old term on a majority is not committed by counting",
        size: 5,
        pre_vote: PreVote::Off,
        pace: Pace::Still,
        own_alone: Some("each moment of it must be met"),
        play: figure8::figure8,
    },
];

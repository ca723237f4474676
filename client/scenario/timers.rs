//! The timers of the nodes that play.

use std::time::Duration;

use raft_lab::settings::{self, Wanted};

use crate::output::Failure;

/// How long a claim may take to come true, in upper bounds of the election timeout.
const PATIENCE: u32 = 20;
/// Whatever the timers: a machine may be busy for so long.
const LEAST_PATIENCE: Duration = Duration::from_secs(20);

/// The timers of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// The bounds of the election timeout.
    pub low: Duration,
    pub high: Duration,
    pub heartbeat: Duration,
    /// How long a claim may take to come true.
    pub patience: Duration,
}

impl Timers {
    pub fn from_millis(low: u64, high: u64, heartbeat: u64) -> Timers {
        let [low, high, heartbeat] = [low, high, heartbeat].map(Duration::from_millis);
        Timers { low, high, heartbeat, patience: (high * PATIENCE).max(LEAST_PATIENCE) }
    }

    /// Checked as a node does it.
    pub fn read(range: &str, beat: &str) -> Result<Timers, Failure> {
        let arguments =
            ["--id=1".to_string(), format!("--election-timeout-ms={range}"), format!("--heartbeat-interval-ms={beat}")];
        match settings::read(&arguments, |_| None).map_err(Failure::Usage)? {
            Wanted::Run(settings) => {
                let (low, high) = settings.election_timeout;
                let [low, high, beat] = [low, high, settings.heartbeat_interval].map(|time| time.as_millis() as u64);
                Ok(Timers::from_millis(low, high, beat))
            }
            Wanted::Print(_) => Err(Failure::Usage("scenario: a setting of the nodes has no value".to_string())),
        }
    }

    /// 6-10 s, and 2 s.
    pub fn of_the_lab() -> Timers {
        Timers::from_millis(6000, 10_000, 2000)
    }

    pub fn told(&self, pre_vote: bool) -> String {
        let (low, high, beat) = (self.low.as_millis(), self.high.as_millis(), self.heartbeat.as_millis());
        let plain = if pre_vote { "" } else { ", pre-vote off" };
        format!("election timeout {low}-{high} ms, heartbeat every {beat} ms{plain}.")
    }

    pub fn settings(&self, pre_vote: bool) -> Vec<String> {
        vec![
            format!("--election-timeout-ms={}-{}", self.low.as_millis(), self.high.as_millis()),
            format!("--heartbeat-interval-ms={}", self.heartbeat.as_millis()),
            format!("--pre-vote={}", if pre_vote { "on" } else { "off" }),
            "--faults=on".to_string(),
        ]
    }
}

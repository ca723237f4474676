//! Deterministic simulation: whole clusters in one thread, under a scheduler that a seed drives.
//!
//! The nodes run the real algorithm, the real codecs, the real recovery of the log and the real
//! store; time, network, disks and clients are simulated, and as hostile as [`profile`] says. After
//! every step [`judge`] and `raft::audit` look for a contradiction, and at the end [`finale`]
//! demands progress. A failure prints its seed, and the seed alone replays it.
//!
//! Environment: `SIM_SEEDS` (how many, 1000), `SIM_STEPS` (of each, 5000), `SIM_THREADS`; and
//! `SIM_SEED` (this one alone, or `SIM_SEEDS` from it on), with `SIM_LOG=1` for its whole log:
//!
//! ```sh
//! SIM_SEEDS=100000 SIM_STEPS=20000 cargo test --release simulation
//! SIM_SEED=17 SIM_LOG=1 cargo test simulation::run::seeds -- --nocapture
//! ```
//!
//! Reading order: `profile` (what a seed means), `world` (time and the queue), `node` (the raft loop
//! in pieces), `disk`, `snapshots`, `network`, `clients`, `reads`, `history`, `faults`, `judge`, `ledger`, `finale`, `run`, `mutants`, `verify`.

mod chronicle;
mod clients;
mod disk;
mod faults;
mod finale;
mod history;
mod judge;
mod ledger;
mod mutants;
mod network;
mod node;
mod profile;
mod reads;
mod run;
mod snapshots;
mod verify;
mod world;

//! raft-lab: three nodes keep one replicated log of strings.

pub mod cluster;
pub mod disk;
pub mod node;
pub mod paint;
pub mod raft;
pub mod settings;
pub mod store;
pub mod text;
pub mod wire;

#[cfg(test)]
#[path = "../tests/simulation/mod.rs"]
mod simulation;

//! The Raft algorithm, pure: data in, data out.

pub mod event;
pub mod message;
pub mod ready;
pub mod types;

//! raft-lab: three nodes keep one replicated log of strings.

pub mod raft;

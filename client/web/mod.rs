//! `client web`.
#![allow(dead_code)]
mod date;
pub mod http;

//! `client put`: the list of a key, exactly once.

use std::sync::Arc;

use raft_lab::raft::types::{KeyWrite, WriteKind};

use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print};
use crate::session::{Change, Done, Writer, told};

pub const COMMAND: Command = Command {
    name: "put",
    usage: "put KEY VALUE…",
    summary: "the list of KEY is these strings; without any it is empty",
    help: "Puts these strings in the place of the list of KEY, and prints a line once a majority has that on disk:
  ok 4@1 put \"a\" \"cat\" \"dog\"

Without a VALUE the list is empty, and the key is there all the same. KEY has 1 to 256 bytes; key and values
have at most 65536 together, at most 1024 values. What starts with -- goes behind a lone --.
The key \"log\" is the lab's log of strings, which only grows: append to it.

However often it has to retry, it is done once: never again after somebody else's later change. Where it
gives up, it says whether it may still be committed, and ends with exit code 1.

  client put a cat dog
",
    flags: &[],
    run,
};

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    let Some((key, values)) = arguments.words.split_first() else {
        return Err(Failure::Usage("put expects KEY VALUE…, or KEY alone for an empty list".to_string()));
    };
    let values = values.iter().map(|value| Arc::from(value.as_str())).collect();
    let change = Change::Write(Arc::new(KeyWrite { kind: WriteKind::Put, key: key.as_str().into(), values }));
    change.check().map_err(Failure::Usage)?;
    let id = Writer::new(options).write(change.clone())?;
    print(&told(&[Done { id, change }]))
}

//! Where the program of a node is.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::output::Failure;

/// The binary `node` beside this one. `cargo run --bin client` builds only the client, so where that is how this
/// was started, Cargo is asked for the node first.
pub fn find() -> Result<PathBuf, Failure> {
    let own =
        env::current_exe().map_err(|error| Failure::NotDone(format!("cannot tell where this program is: {error}")))?;
    let program = own.with_file_name(format!("node{}", env::consts::EXE_SUFFIX));
    if let (Some(cargo), Some(package)) = (env::var_os("CARGO"), env::var_os("CARGO_MANIFEST_DIR")) {
        build(Path::new(&cargo), Path::new(&package), &own)?;
    }
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::NotDone(format!(
        "the program of the nodes is missing: {}. Cure: cargo build --release (it builds both), or put node beside client",
        program.display()
    )))
}

/// Into the folder where this program is: `TARGET/release` or `TARGET/debug`.
fn build(cargo: &Path, package: &Path, own: &Path) -> Result<(), Failure> {
    let profile = match own.parent().and_then(Path::file_name).and_then(|name| name.to_str()) {
        Some("release") => "--profile=release",
        Some("debug") => "--profile=dev",
        _ => return Ok(()),
    };
    let Some(target) = own.parent().and_then(Path::parent) else { return Ok(()) };
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--offline", "--bin", "node", profile]);
    command.arg("--manifest-path").arg(package.join("Cargo.toml")).arg("--target-dir").arg(target);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(Failure::NotDone(format!("cargo could not build node ({status}). Cure: cargo build --release")))
        }
        Err(error) => {
            Err(Failure::NotDone(format!("cannot run {}: {error}. Cure: cargo build --release", cargo.display())))
        }
    }
}

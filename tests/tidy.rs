//! The house rules that a machine can check (`src/lib.rs` tells why they are there). Each failure names the file, the
//! line and what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file of Rust, in lines.
const MAX_LINES: usize = 600;

/// What each module of the library may import. A new module gets its line here, and its place in `src/lib.rs`.
const FLOORS: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("raft", &["text"]),
    ("cluster", &["text", "raft"]),
    ("wire", &["text", "raft", "cluster"]),
    ("store", &["text", "raft"]),
    ("snapshot", &["text", "raft", "wire", "store"]),
    ("disk", &["text", "raft", "wire", "store", "snapshot"]),
    ("paint", &["text", "raft"]),
    ("logs", &["text", "raft"]),
    ("settings", &["text", "raft", "cluster"]),
    ("node", &["text", "raft", "wire", "disk", "store", "snapshot", "paint", "cluster", "settings"]),
];

/// What the client may import of the library: never the node, nor its disk.
const CLIENT_IMPORTS: &[&str] = &["text", "raft", "wire", "paint", "logs", "cluster", "settings"];

/// What the core may not touch: it is data in, data out.
const IMPURE_STD: &[&str] = &["net", "fs", "thread", "io", "env", "process", "os", "random", "hash"];
const IMPURE_WORDS: &[&str] = &[
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "Condvar",
    "OnceLock",
    "LazyLock",
    "mpsc",
    "atomic",
    "thread_local",
    "HashMap",
    "HashSet",
    "RandomState",
    "Random",
    "print",
    "println",
    "eprint",
    "eprintln",
    "dbg",
];

/// Where `unsafe` is allowed: at present nowhere.
const UNSAFE_ALLOWED_IN: &[&str] = &[];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of Rust: its path from the root of the project, and its code without comments and string contents.
struct Source {
    path: String,
    text: String,
    code: String,
}

fn sources(under: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for directory in under {
        collect(&root().join(directory), &mut files);
    }
    files.sort();
    assert!(!files.is_empty(), "no Rust under {under:?}: the guard looks at the wrong place");
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let path = file.strip_prefix(root()).unwrap_or(&file).display().to_string();
            Source { path, code: code_of(&text), text }
        })
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code alone: comments and what is inside strings become spaces, newlines stay.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let raw_hashes = rest.strip_prefix('r').map(|behind| behind.len() - behind.trim_start_matches('#').len());
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_hashes.filter(|hashes| rest[1 + hashes..].starts_with('"')) {
            let end = format!("\"{}", "#".repeat(hashes));
            rest[hashes + 2..].find(&end).map_or(rest.len(), |at| hashes + 2 + at + end.len())
        } else if next == '"' {
            quoted_len(rest, '"')
        } else if rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'') && next == '\'' {
            quoted_len(rest, '\'')
        } else {
            0
        };
        let len = if skipped == 0 { next.len_utf8() } else { skipped };
        for c in rest[..len].chars() {
            code.push(if skipped == 0 || c == '\n' { c } else { ' ' });
        }
        rest = &rest[len..];
    }
    code
}

fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// What follows `head` (for example `std::`) in paths: the first segment, or each first segment of a `{…}` group.
fn segments_after<'a>(code: &'a str, head: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(head) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let behind = &code[at + head.len()..];
        let line = code[..at].matches('\n').count() + 1;
        let Some(group) = behind.strip_prefix('{') else {
            found.extend(words(behind).next().map(|word| (line, word)));
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (at, c) in group.char_indices() {
            let ends = c == '}' && depth == 0;
            if ends || (c == ',' && depth == 0) {
                found.extend(words(&group[start..at]).next().map(|word| (line, word)));
                start = at + 1;
            }
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                _ => {}
            }
            if ends {
                break;
            }
        }
    }
    found
}

/// Without its tests: a `#[cfg(test)]` module at the end of the file, or the whole of a `…_tests.rs`.
fn without_tests(source: &Source) -> &str {
    if source.path.ends_with("_tests.rs") || source.path.ends_with("/tests.rs") {
        return "";
    }
    let end = source.code.find("#[cfg(test)]\nmod tests {");
    &source.code[..end.unwrap_or(source.code.len())]
}

fn fail_if_any(wrong: Vec<String>, what_to_do: &str) {
    assert!(wrong.is_empty(), "\n  {}\n\n{what_to_do}\n", wrong.join("\n  "));
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for source in sources(&["src/raft"]) {
        let (path, code) = (&source.path, without_tests(&source));
        for (line, module) in segments_after(code, "std::") {
            if IMPURE_STD.contains(&module) {
                wrong.push(format!("{path}:{line}: std::{module}"));
            }
        }
        for (number, line) in code.lines().enumerate() {
            let impure = words(line).find(|word| IMPURE_WORDS.contains(word) || word.starts_with("Atomic"));
            wrong.extend(impure.map(|word| format!("{path}:{}: {word}", number + 1)));
        }
    }
    fail_if_any(
        wrong,
        "src/raft knows no clock, socket, disk, thread, dice, lock or output, and no unordered collection: a seed must \
         replay it exactly. Make what it needs an Input or a field of Ready, and do the rest in src/node.",
    );
}

#[test]
fn each_floor_imports_only_what_is_below() {
    let floors: BTreeMap<&str, &[&str]> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for Source { path, code, .. } in sources(&["src"]) {
        let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
        let module = inside.split('/').next().unwrap_or("").trim_end_matches("_tests");
        if module == "lib" || module == "main" {
            continue;
        }
        let Some(below) = floors.get(module) else {
            wrong.push(format!("{path}: the module {module} has no place in FLOORS of tests/tidy.rs"));
            continue;
        };
        let others = segments_after(&code, "super::").into_iter().filter(|(_, name)| floors.contains_key(name));
        for (line, import) in segments_after(&code, "crate::").into_iter().chain(others) {
            if import != module && !below.contains(&import) {
                wrong.push(format!("{path}:{line}: {module} uses {import}, and may use only {below:?}"));
            }
        }
    }
    fail_if_any(
        wrong,
        "The floors of the house (src/lib.rs): text; raft; wire, disk, store; node. Each imports only what is below it, \
         without circles. Move the thing down, hand it in as data, or give a new module its line in FLOORS.",
    );
}

#[test]
fn the_client_uses_the_wire_and_not_the_node() {
    let mut wrong = Vec::new();
    for Source { path, code, .. } in sources(&["client"]) {
        for (line, import) in segments_after(&code, "raft_lab::") {
            if !CLIENT_IMPORTS.contains(&import) {
                wrong.push(format!("{path}:{line}: the client uses {import}"));
            }
        }
    }
    fail_if_any(wrong, "A client knows what a stranger could know: the wire format and the members of the cluster.");
}

#[test]
fn there_is_no_dependency() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml can be read");
    let wrong = manifest
        .lines()
        .enumerate()
        .filter(|(_, line)| {
            let table = line.trim().trim_start_matches('[').split([']', '.']).next().unwrap_or("");
            line.trim().starts_with('[') && (line.contains("dependencies") || ["patch", "replace"].contains(&table))
        })
        .map(|(number, line)| format!("Cargo.toml:{}: {line}", number + 1))
        .collect();
    fail_if_any(wrong, "The lab is std alone, its tests and its build too (LAB.md, the design card).");

    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is part of the project");
    assert_eq!(lock.matches("[[package]]").count(), 1, "Cargo.lock names another package than this one: remove it");
    assert!(!root().join("build.rs").exists(), "no build script: `cargo build` must do nothing but compile");
}

#[test]
fn the_top_level_is_the_card() {
    let card = BTreeSet::from([
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "client",
        "tests",
        "docker-compose.yml",
        "Dockerfile",
        "README.md",
    ]);
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    let ignored: BTreeSet<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let entries = fs::read_dir(root()).expect("the project can be listed");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let wrong = names
        .filter(|name| !name.starts_with('.') && !ignored.contains(name.as_str()) && !card.contains(name.as_str()))
        .collect();
    fail_if_any(
        wrong,
        "The top level holds what the design card names (LAB.md) and what Cargo and git look for. Put code under src, \
         client or tests; notes belong in README.md or in the comments of the code.",
    );
}

#[test]
fn files_are_short() {
    let wrong = sources(&["src", "client", "tests"])
        .iter()
        .map(|source| (source.text.lines().count(), &source.path))
        .filter(|(lines, _)| *lines >= MAX_LINES)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    fail_if_any(wrong, "A file holds one thing and is named for it: split it where its comment says \"and\".");
}

#[test]
fn nothing_is_unsafe() {
    let mut wrong = Vec::new();
    for Source { path, code, .. } in sources(&["src", "client", "tests"]) {
        let lines = code.lines().enumerate().filter(|(_, line)| words(line).any(|word| word == "unsafe"));
        if !UNSAFE_ALLOWED_IN.contains(&path.as_str()) {
            wrong.extend(lines.map(|(number, _)| format!("{path}:{}: unsafe", number + 1)));
        }
    }
    fail_if_any(
        wrong,
        "std has a safe way for all that the lab does. If there is none, name the one file in tests/tidy.rs.",
    );
}

#[test]
fn every_thread_has_a_name() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let (path, code) = (&source.path, without_tests(&source));
        for (number, line) in code.lines().enumerate() {
            if line.contains("thread::spawn") || line.contains("scope.spawn(") {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
        for (at, _) in code.match_indices("Builder::new()") {
            let call: String = code[at..].chars().take_while(|c| *c != ';').filter(|c| !c.is_whitespace()).collect();
            if !call.contains(".name(") {
                let line = code[..at].matches('\n').count() + 1;
                wrong.push(format!("{path}:{line}: a thread without a name"));
            }
        }
    }
    fail_if_any(
        wrong,
        "`top -H` shows the house: start threads with std::thread::Builder::new().name(…), which also hands a failed \
         start back as an error instead of a panic.",
    );
}

/// The guards look at code: not at comments, and not into strings.
#[test]
fn the_guards_see_code_alone() {
    let text = "use std::{net, sync::{Arc, mpsc}, fs as files}; // std::io\nlet a = \"std::env \\\" x\"; let q = '\"'; /* \
                std::os */ r#\"std::process \"quoted\"\"#; fn f<'a>(x: &'a str) { std::thread::yield_now() }";
    let code = code_of(text);
    let found: Vec<&str> = segments_after(&code, "std::").into_iter().map(|(_, word)| word).collect();
    assert_eq!(found, ["net", "sync", "fs", "thread"]);
    assert_eq!(code.lines().count(), text.lines().count());
}

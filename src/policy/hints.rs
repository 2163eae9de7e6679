//! What a failed build script may have wanted, read from what it printed.
//!
//! The sandbox answers a refused request with an error number, and crates put that into words of their own. So these
//! are guesses from text: they only ever add a hint to an error that is shown in full, and decide nothing.

use std::collections::BTreeSet;

use super::decide::Policy;
use super::explain::{Advice, Denied};
use crate::package::PackageId;

/// Phrases by which programs say that another one is not there.
const ABSENCE: [&str; 10] = [
    "not found",
    "no such file",
    "notfound",
    "not installed",
    "could not find",
    "couldn't find",
    "unable to find",
    "cannot find",
    "failed to find",
    "failed to execute",
];

/// Phrases by which programs say that they may not write.
const READ_ONLY: [&str; 3] = ["read-only file system", "readonlyfilesystem", "os error 30"];

/// Phrases by which programs say that there is no network.
const NO_NETWORK: [&str; 7] = [
    "could not resolve host",
    "dns error",
    "failed to lookup address",
    "temporary failure in name resolution",
    "name or service not known",
    "error trying to connect",
    "network is unreachable",
];

/// More hints than these say nothing.
const MOST_HINTS: usize = 3;
/// No more of what was printed is looked at: its end, where errors are.
const MOST_BYTES: usize = 64 << 10;

impl Policy {
    /// What the build script of `package` may have wanted in vain, as far as `printed` tells, and how to grant it.
    pub fn hints(&self, package: &PackageId, printed: &str) -> Vec<Advice> {
        let mut from = printed.len().saturating_sub(MOST_BYTES);
        while !printed.is_char_boundary(from) {
            from += 1;
        }
        let text = &printed[from..];
        let lower = text.to_lowercase();
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
        let libraries = wanted_libraries(text);
        let mut wanted: Vec<Denied<'_>> =
            libraries.iter().map(|name| Denied::Library(name)).collect();
        if lower.contains("libclang") && says(&ABSENCE) {
            wanted.push(Denied::Bundle("libclang"));
        }
        if libraries.is_empty() && says(&ABSENCE) {
            let programs = self.known_programs();
            wanted.extend(
                quoted(text)
                    .filter(|word| programs.contains(word))
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .map(Denied::Exec),
            );
        }
        if says(&READ_ONLY) {
            wanted.push(Denied::WriteSource(""));
        }
        if says(&NO_NETWORK) {
            wanted.push(Denied::Network);
        }
        wanted
            .into_iter()
            .take(MOST_HINTS)
            .map(|denied| self.explain(package, denied))
            .collect()
    }

    /// Every program that some bundle or shipped policy names.
    fn known_programs(&self) -> BTreeSet<&str> {
        let lists = std::iter::once(&self.workspace)
            .chain(&self.shipped)
            .flat_map(|file| {
                let crates = file.crates.values().flatten().map(|one| &one.lists);
                file.bundles.values().chain(crates)
            });
        lists
            .flat_map(|lists| lists.exec.iter().chain(&lists.exec_if_present))
            .map(|program| program.rsplit('/').next().unwrap_or(program))
            .chain([
                "git", "python3", "python", "go", "node", "npm", "curl", "rustfmt", "xcrun",
            ])
            .collect()
    }
}

/// The libraries that were looked for by `pkg-config … --cflags NAME`.
fn wanted_libraries(text: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| line.contains("pkg-config")) {
        let Some((_, after)) = line.split_once("--cflags") else {
            continue;
        };
        let name: String = after
            .trim_start_matches([' ', '"', '\''])
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "+-_.".contains(*c))
            .collect();
        if !name.is_empty() && !name.starts_with('-') {
            found.insert(name);
        }
    }
    found.into_iter().collect()
}

/// The words of `text` that stand in quotes of any kind, or begin a command in them.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split(['`', '"', '\'', '\n'])
        .flat_map(|part| part.split_whitespace().next())
        .map(|word| word.rsplit('/').next().unwrap_or(word))
        .map(|word| word.trim_end_matches([':', ',', '.']))
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::package;
    use super::*;

    #[test]
    fn what_crates_print_leads_to_the_line_that_grants_it() {
        let policy = Policy::parse("").unwrap();
        let id = package("app-sys", "1.0.0", true);
        for (printed, expected) in [
            (
                "failed to execute command: No such file or directory (os error 2)\nis `cmake` not installed?",
                "[crate.app-sys]\nuse = [\"cmake\"]\n",
            ),
            (
                "Could not find `protoc`. If `protoc` is installed, try setting the `PROTOC` environment variable",
                "[crate.app-sys]\nuse = [\"protoc\"]\n",
            ),
            (
                "Could not run `PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 pkg-config --libs --cflags foo-2.0 foo-2.0 >= 2.1`\nThe pkg-config command could not be found.",
                "[crate.app-sys]\npkg-config = [\"foo-2.0\"]\n",
            ),
            (
                "Unable to find libclang: \"couldn't find any valid shared libraries matching: ['libclang.so']\"",
                "[crate.app-sys]\nuse = [\"libclang\"]\n",
            ),
            (
                "Error: Os { code: 30, kind: ReadOnlyFilesystem, message: \"Read-only file system\" }",
                "[crate.app-sys]\nwrite = [\".\"]\n",
            ),
        ] {
            let hints = policy.hints(&id, printed);
            let grants: Vec<_> = hints
                .iter()
                .filter_map(|hint| hint.grant.as_deref())
                .collect();
            assert_eq!(grants, [expected], "{printed}");
            Policy::parse(expected).unwrap();
        }
        assert_eq!(
            policy.hints(&id, "thread 'main' panicked at build.rs:3: `make` it so"),
            []
        );
        let network = policy.hints(&id, "curl: (6) Could not resolve host: example.com");
        assert!(network[0].grant.is_none() && network[0].note.is_some());
    }
}

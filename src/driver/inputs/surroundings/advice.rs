//! What a failed action may have wanted of the workspace, read from what it printed.

use std::collections::BTreeSet;

use super::{is_hidden, place};
use crate::driver::planned::Planned;
use crate::package::PackageId;
use crate::policy::{Advice, Denied};

/// No more of what was printed is looked at: its end, where errors are.
const MOST_BYTES: usize = 64 << 10;
/// More paths than these say nothing.
const MOST: usize = 3;

impl Planned {
    /// What `package` may have wanted of the workspace in vain, as far as `printed` tells, and how to grant it. Paths are
    /// told where there is something: a guess that costs no more than a look.
    pub fn missing_surroundings(&self, package: &PackageId, printed: &str) -> Vec<Advice> {
        let workspace = self.workspace();
        let Some(own) = self
            .packages
            .get(package)
            .and_then(|package| place(workspace, package))
        else {
            return Vec::new();
        };
        let mut from = printed.len().saturating_sub(MOST_BYTES);
        while !printed.is_char_boundary(from) {
            from += 1;
        }
        let root = format!("{}/", self.layout.workspace());
        let own_parts: Vec<&str> = own.split('/').collect();
        let mut wanted = BTreeSet::new();
        for line in printed[from..]
            .lines()
            .filter(|line| tells_of_absence(line))
        {
            let words = line.split(|c: char| c.is_whitespace() || "`\"'():,".contains(c));
            for word in words.filter(|word| word.contains('/')) {
                let found = match word.strip_prefix(&root) {
                    Some(rest) => vec![resolve(&[], rest)],
                    None if word.starts_with('/') => continue,
                    None => vec![resolve(&own_parts, word), resolve(&[], word)],
                };
                // Where it really is: a link in the package may lead out of it.
                let real = |path: String| {
                    let real = workspace.root.join(&path).canonicalize().ok()?;
                    let real = real.strip_prefix(&workspace.root).ok()?.to_str()?;
                    Some(real.to_owned())
                };
                let found = found.into_iter().flatten().filter_map(real);
                wanted.extend(found.filter(|path| {
                    let inside = path.starts_with(&format!("{own}/"));
                    let around = own == *path || own.starts_with(&format!("{path}/"));
                    !inside && !around
                }));
            }
        }
        wanted
            .iter()
            .filter(|path| !is_hidden(path))
            .take(MOST)
            .map(|path| self.policy.explain(package, Denied::Workspace(path)))
            .collect()
    }
}

fn tells_of_absence(line: &str) -> bool {
    let line = line.to_lowercase();
    [
        "no such file",
        "not found",
        "notfound",
        "couldn't read",
        "could not",
        "cannot",
        "does not exist",
    ]
    .iter()
    .any(|phrase| line.contains(phrase))
}

fn resolve(base: &[&str], path: &str) -> Option<String> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    super::references::resolve(base, &parts)
}

//! A line of a registry's index never panics the parser, and a version is found by the quick search exactly if it is
//! found by reading everything.

#![no_main]

use kiln::package::SourceId;
use kiln::registry::entry::{Entry, find, lines, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let source = SourceId::default_registry();
    let entries: Vec<Entry> = lines(file)
        .filter_map(|line| parse(line, &source).ok())
        .collect();
    for entry in &entries {
        if let Entry::Usable { summary, .. } = entry {
            let (name, version) = (summary.id.name(), summary.id.version());
            let found = find(file, name, version, &source);
            assert!(found.is_some(), "{name} {version} is not found");
        }
    }
});

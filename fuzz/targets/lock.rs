//! A `Cargo.lock` never panics the parser, and what it was read as is written so that it is read as the same again.

#![no_main]

use std::path::Path;

use kiln::manifest::lock::{Lock, LockVersion};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Path::new("Cargo.lock");
    let Ok(lock) = Lock::parse(path, text) else {
        return;
    };
    let written = lock.encode();
    let again = match Lock::parse(path, &written) {
        Ok(again) => again,
        Err(error) => panic!("{error}\n{written}"),
    };
    assert_eq!(again.packages, lock.packages, "{written}");
    assert_eq!(again.unused_patches, lock.unused_patches, "{written}");
    // Formats 1 and 2 do not state which of them they are: without a dependency or a checksum to tell by, one may be
    // taken for the other, as in cargo.
    if lock.version >= LockVersion::V3 {
        assert_eq!(again.encode(), written);
    }
});

//! A `Cargo.lock` never panics the parser, and what it was read as is written so that it is read as the same again.

#![no_main]

use std::path::Path;

use kiln::manifest::lock::Lock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Path::new("Cargo.lock");
    if let Ok(lock) = Lock::parse(path, text) {
        let written = lock.encode();
        match Lock::parse(path, &written) {
            Ok(again) => assert_eq!(again.encode(), written),
            Err(error) => panic!("{error}\n{written}"),
        }
    }
});

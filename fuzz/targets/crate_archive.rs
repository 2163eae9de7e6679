//! An archive never panics what unpacks it and never writes outside of its directory; what was unpacked holds only
//! directories, files without special modes, and links that stay inside.

#![no_main]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use kiln::source::unpack::{Limits, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses between an archive as it is and one that still has to be compressed: nothing interesting
    // gets through gzip's checksum by chance.
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let archive = if choice & 1 == 0 {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(bytes).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    } else {
        bytes.to_vec()
    };
    let limits = Limits {
        total_bytes: 1 << 20,
        entries: 100,
        depth: 8,
    };
    let outer = tempfile::tempdir().expect("a directory");
    let inner = outer.path().join("inner");
    fs::create_dir(&inner).expect("a directory");
    let unpacked = unpack(&*archive, "demo-1.0.0", &inner, &limits);

    let beside: Vec<_> = fs::read_dir(outer.path())
        .expect("the directory is there")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(beside, ["inner"]);
    let (mut files, mut size) = (0, 0);
    for entry in walkdir::WalkDir::new(&inner).min_depth(1) {
        let entry = entry.expect("what was unpacked can be walked");
        let metadata = entry.metadata().expect("an entry has metadata");
        let kind = metadata.file_type();
        assert!(entry.depth() <= limits.depth + 1);
        if kind.is_symlink() {
            // It may lead nowhere, but nowhere outside.
            if let Ok(real) = fs::canonicalize(entry.path()) {
                let inner = fs::canonicalize(&inner).expect("the directory is there");
                assert!(real.starts_with(inner), "{:?}", entry.path());
            }
            continue;
        }
        assert!(kind.is_file() || kind.is_dir());
        assert_eq!(metadata.permissions().mode() & 0o7022, 0);
        if kind.is_file() {
            files += 1;
            size += metadata.len();
        }
    }
    assert!(size <= limits.total_bytes);
    if let Ok(unpacked) = unpacked {
        assert_eq!((unpacked.files, unpacked.bytes), (files, size));
    }
});

//! What a build script prints never panics the parser, and what was parsed is stored and read back as it is.

#![no_main]

use std::collections::BTreeSet;

use kiln::directive::{Bootstrap, BuildScriptOutput, Subject, log_messages, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stdout: &[u8]| {
    // The first byte chooses the package that prints.
    let (choice, stdout) = match stdout.split_first() {
        Some((choice, rest)) => (*choice, rest),
        None => (0, stdout),
    };
    let full = choice & 1 != 0;
    let subject = Subject {
        package: "fuzzed v1.0.0".to_owned(),
        library: (choice & 2 != 0).then(|| "fuzzed".to_owned()),
        rust_version: (choice & 4 != 0).then(|| "1.76".parse().expect("a version")),
        bins: if full {
            BTreeSet::from(["one".to_owned()])
        } else {
            BTreeSet::new()
        },
        has_cdylib: full,
        has_tests: full,
        has_benches: full,
        has_examples: full,
    };
    let bootstrap = Bootstrap {
        nightly: choice & 8 != 0,
        variable: (choice & 16 != 0).then(|| "fuzzed".to_owned()),
    };
    match parse(stdout, &subject, &bootstrap) {
        Ok(output) => {
            let json = output.to_json();
            let again = BuildScriptOutput::from_json(&json).expect("what was written is read");
            assert_eq!(again, output);
            for (name, value) in &output.env {
                assert!(!name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'));
            }
            for text in output
                .link_args
                .iter()
                .map(|arg| &arg.argument)
                .chain(&output.library_links)
                .chain(&output.library_paths)
                .chain(&output.cfgs)
                .chain(&output.check_cfgs)
            {
                assert!(!text.contains(['\0', '\n']));
            }
        }
        Err(error) => {
            let message = format!("{error}{:?}", error.help());
            assert!(message.chars().all(|c| !c.is_control()), "{message:?}");
        }
    }
    log_messages(stdout);
});

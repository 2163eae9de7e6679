//! Runs the program.

use std::process::Command;

fn greet(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_greet"))
        .args(arguments)
        .output()
        .expect("the program was built for this test");
    let stdout = String::from_utf8(output.stdout).expect("the program prints UTF-8");
    (output.status.success(), stdout)
}

#[test]
fn it_greets() {
    for (arguments, expected) in [
        (&[][..], "Hello, World!\n"),
        (&["--language", "german", "Ada"], "Guten Tag, Ada!\n"),
        (
            &["--occasion", "release"],
            "Hello, World! May it build the same everywhere!\n",
        ),
        (&["--list"], "english\nfrench\ngerman\nlow-german\n"),
        (
            &["--check"],
            "fnv1a-32: C says 5de6c228, Rust says 5de6c228\n",
        ),
    ] {
        assert_eq!(greet(arguments), (true, expected.to_owned()));
    }
    assert!(!greet(&["--language", "klingon"]).0);
}

#[cfg(feature = "json")]
#[test]
fn it_prints_json() {
    assert_eq!(
        greet(&["--json", "--language", "french"]).1,
        "{\"language\":\"french\",\"name\":\"World\",\"wish\":null}\n"
    );
}

//! Compiles `c/checksum.c`.

fn main() {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::metadata=algorithm=fnv1a-32");
    cc::Build::new()
        .file("c/checksum.c")
        .include("c")
        .warnings_into_errors(true)
        .compile("example_checksum");
}

//! Turns `data/occasions.txt` into a table in `OUT_DIR`, and hands on what the C library's build script said of itself.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let file = "data/occasions.txt";
    println!("cargo::rerun-if-changed={file}");
    let text = fs::read_to_string(file).expect("the list of occasions is part of the package");
    let mut table = String::from("pub const OCCASIONS: &[(&str, &str)] = &[\n");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, wish) = line
            .split_once(": ")
            .expect("each line of the list is `name: wish`");
        writeln!(table, "    ({name:?}, {wish:?}),").expect("a string can be written to");
    }
    table.push_str("];\n");
    let out_dir = env::var_os("OUT_DIR").expect("a build script has an OUT_DIR");
    fs::write(Path::new(&out_dir).join("occasions.rs"), table).expect("OUT_DIR can be written to");

    let algorithm = env::var("DEP_EXAMPLE_CHECKSUM_ALGORITHM")
        .expect("the build script of `checksum-sys` names its algorithm");
    println!("cargo::rustc-env=CHECKSUM_ALGORITHM={algorithm}");
}

//! Greets somebody. `greet --check` tells whether the program was put together right.

use std::process::ExitCode;

use clap::Parser;
use phrases::{Greeting, Language};

include!(concat!(env!("OUT_DIR"), "/occasions.rs"));

/// Greets somebody.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Who is greeted.
    #[arg(default_value = "World")]
    name: String,
    /// In which language: one of those that `--list` names.
    #[arg(long, default_value = "english")]
    language: String,
    /// Adds a wish: `birthday`, `journey`, `release`.
    #[arg(long)]
    occasion: Option<String>,
    /// Prints the greeting as JSON.
    #[cfg(feature = "json")]
    #[arg(long)]
    json: bool,
    /// Lists the languages.
    #[arg(long)]
    list: bool,
    /// Compares the checksum that C computes with the one that Rust computes.
    #[arg(long)]
    check: bool,
}

/// FNV-1a, 32 bits: what `checksum.c` computes.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

fn check() -> ExitCode {
    let text = phrases::all().map(|language| language.name()).join(",");
    let (c, rust) = (
        checksum_sys::checksum(text.as_bytes()),
        fnv1a(text.as_bytes()),
    );
    println!(
        "{}: C says {c:08x}, Rust says {rust:08x}",
        env!("CHECKSUM_ALGORITHM")
    );
    if c == rust {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.check {
        return check();
    }
    if arguments.list {
        for language in phrases::all() {
            println!("{}", language.name());
        }
        return ExitCode::SUCCESS;
    }
    let Some(language) = Language::from_name(&arguments.language) else {
        eprintln!("greet: `{}` is not a known language", arguments.language);
        return ExitCode::FAILURE;
    };
    let mut greeting = Greeting::new(language, &arguments.name);
    if let Some(occasion) = &arguments.occasion {
        let Some((_, wish)) = OCCASIONS.iter().find(|(name, _)| name == occasion) else {
            eprintln!("greet: `{occasion}` is not a known occasion");
            return ExitCode::FAILURE;
        };
        greeting.wish = Some((*wish).to_owned());
    }
    #[cfg(feature = "json")]
    if arguments.json {
        println!(
            "{}",
            serde_json::to_string(&greeting).expect("a greeting has a JSON form")
        );
        return ExitCode::SUCCESS;
    }
    println!("{greeting}");
    ExitCode::SUCCESS
}

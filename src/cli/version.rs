//! `version` and `-V`.

use std::io::Write as _;
use std::process::ExitCode;

/// The cargo whose behaviour is followed.
const CARGO: &str = "1.95";

/// Whether an argument asks for more: `-v`, `--verbose`, `-vV`.
pub(super) fn is_verbose(argument: &str) -> bool {
    match argument.strip_prefix('-') {
        Some("-verbose") => true,
        Some(short) => !short.starts_with('-') && short.contains('v'),
        None => false,
    }
}

/// Prints the version; `verbose`: and what is to be known of this kiln, as lines of `key: value`.
pub(super) fn version(verbose: bool) -> ExitCode {
    let release = env!("CARGO_PKG_VERSION");
    let mut text = format!("kiln {release}\n");
    if verbose {
        let environment = if cfg!(target_env = "musl") {
            "musl"
        } else {
            "gnu"
        };
        let host = format!("{}-unknown-linux-{environment}", std::env::consts::ARCH);
        text.push_str(&format!(
            "release: {release}\nfollows: cargo {CARGO}\nhost: {host}\n"
        ));
    }
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::is_verbose;

    #[test]
    fn verbosity_is_asked_for_in_three_ways() {
        for argument in ["-v", "-vV", "-Vv", "--verbose", "-vv"] {
            assert!(is_verbose(argument), "{argument}");
        }
        for argument in ["-V", "--version", "version", "-"] {
            assert!(!is_verbose(argument), "{argument}");
        }
    }
}

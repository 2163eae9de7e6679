//! `cache`: look at the store and clean it.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};

use crate::cli::args::CacheCommand;
use crate::cli::shell::Shell;
use crate::driver::{Context, DriverError};
use crate::store::{GcPolicy, Store, StoreEvent, collect_garbage, stat};

/// `kiln cache …`
pub(super) fn cache(
    context: &Context,
    shell: &Shell,
    command: &CacheCommand,
) -> Result<ExitCode, DriverError> {
    match command {
        CacheCommand::Stat => {
            let stat = stat(&context.home)?;
            shell.line(&format!("store    {}", context.home.display()));
            shell.line(&format!("on disk  {}", BinaryBytes(stat.disk_bytes)));
            shell.line(&format!("blobs    {}", HumanCount(stat.blobs)));
            shell.line(&format!("trees    {}", HumanCount(stat.trees)));
            for (namespace, count) in &stat.actions {
                shell.line(&format!("results  {} ({namespace})", HumanCount(*count)));
            }
        }
        CacheCommand::Verify => {
            let report = Store::open(&context.home)?.verify()?;
            for damaged in &report.damaged {
                shell.warning(&format!("discarded {}", describe(damaged)));
            }
            shell.status(
                "Verified",
                &format!(
                    "{} blobs, {} trees and {} results; {} discarded",
                    report.blobs,
                    report.trees,
                    report.actions,
                    report.damaged.len()
                ),
            );
            if !report.damaged.is_empty() {
                return Ok(ExitCode::from(super::FAILURE));
            }
        }
        CacheCommand::Gc {
            keep_size,
            keep_days,
        } => {
            if keep_size.is_none() && keep_days.is_none() {
                return Err(DriverError::Request {
                    message: "nothing says what to keep".to_owned(),
                    help: Some("give `--keep-size 20GB`, `--keep-days 30`, or both".to_owned()),
                });
            }
            let policy = GcPolicy {
                keep_bytes: keep_size.as_deref().map(bytes).transpose()?,
                keep_age: keep_days
                    .map(|days| Duration::from_secs(days.saturating_mul(24 * 60 * 60))),
            };
            let report = collect_garbage(&context.home, &policy)?;
            shell.status(
                "Removed",
                &format!(
                    "{} results, {} trees and {} blobs: {} freed, {} kept",
                    report.actions,
                    report.trees,
                    report.blobs,
                    BinaryBytes(report.freed_bytes),
                    BinaryBytes(report.kept_bytes)
                ),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A thing that the store discarded, in words.
pub(super) fn describe(event: &StoreEvent) -> String {
    match event {
        StoreEvent::CorruptBlob { digest, path } => {
            format!(
                "the blob `{digest}` (`{}`): its content is another",
                path.display()
            )
        }
        StoreEvent::CorruptTree { digest, entry } => {
            format!("the tree `{digest}`: `{entry}` is not as it was")
        }
        StoreEvent::CorruptRecord { key, path } => {
            format!(
                "the result of action `{key}` (`{}`): it cannot be read",
                path.display()
            )
        }
        StoreEvent::CorruptMemo { path } => {
            format!(
                "the memory of file digests (`{}`): it cannot be read",
                path.display()
            )
        }
    }
}

/// `500`, `20GB`, `512 MiB` as bytes.
fn bytes(text: &str) -> Result<u64, DriverError> {
    let wrong = || DriverError::Request {
        message: format!("`{text}` is not a size"),
        help: Some("give a number and a unit: `500MB`, `20GB`, `512MiB`".to_owned()),
    };
    let text = text.trim();
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let factor: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        for (text, expected) in [
            ("0", 0),
            ("500", 500),
            ("20GB", 20_000_000_000),
            ("512 MiB", 512 << 20),
            ("1k", 1000),
        ] {
            assert_eq!(bytes(text).unwrap(), expected, "{text}");
        }
        for text in ["", "GB", "-1", "1.5GB", "1 parsec", "99999999999999TB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}

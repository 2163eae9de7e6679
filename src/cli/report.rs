//! Tells what the driver does while it resolves and fetches.

use std::collections::BTreeSet;

use crate::cli::shell::{Shell, Verbosity};
use crate::driver::Reporter;
use crate::message::text::harmless_line;
use crate::package::PackageId;
use crate::registry::Event;

/// Shows the driver's work on a [`Shell`].
pub(super) struct FetchView<'a> {
    shell: &'a Shell,
    index_total: usize,
    index_done: usize,
    downloading: BTreeSet<PackageId>,
    downloaded: u64,
    unpacked: u64,
    bytes: u64,
    announced_download: bool,
}

impl<'a> FetchView<'a> {
    /// Nothing has happened yet.
    pub(super) fn new(shell: &'a Shell) -> Self {
        Self {
            shell,
            index_total: 0,
            index_done: 0,
            downloading: BTreeSet::new(),
            downloaded: 0,
            unpacked: 0,
            bytes: 0,
            announced_download: false,
        }
    }

    /// What was downloaded in all, as cargo says it.
    pub(super) fn end(&self) {
        self.shell.clear_progress();
        if self.downloaded > 0 {
            let crates = if self.downloaded == 1 {
                "1 crate".to_owned()
            } else {
                format!("{} crates", self.downloaded)
            };
            let size = indicatif::DecimalBytes(self.bytes);
            self.shell
                .status("Downloaded", &format!("{crates} ({size})"));
        }
    }

    fn show_downloads(&self) {
        let names: Vec<String> = self
            .downloading
            .iter()
            .take(8)
            .map(|id| id.name().to_string())
            .collect();
        let total = self.downloaded + self.downloading.len() as u64;
        self.shell
            .progress("Downloading", self.downloaded, total, &names.join(", "));
    }
}

impl Reporter for FetchView<'_> {
    fn status(&mut self, verb: &str, message: &str) {
        self.shell.status(verb, message);
    }

    fn warning(&mut self, message: &str) {
        self.shell
            .warning(message.strip_prefix("warning: ").unwrap_or(message));
    }

    fn fetching(&mut self, event: Event) {
        match event {
            Event::IndexStarted { registry, names } => {
                if self.index_total == 0 {
                    self.shell.status(
                        "Updating",
                        &format!("the index `{}`", harmless_line(&registry)),
                    );
                }
                self.index_total += names;
                self.shell.progress(
                    "Updating",
                    self.index_done as u64,
                    self.index_total as u64,
                    "",
                );
            }
            Event::IndexFetched { name, .. } => {
                self.index_done += 1;
                self.shell.progress(
                    "Updating",
                    self.index_done as u64,
                    self.index_total as u64,
                    name.as_str(),
                );
            }
            Event::Retrying {
                url,
                why,
                left,
                wait,
            } => {
                self.shell.warning(&format!(
                    "`{}`: {}; trying again in {:.1} s ({left} left)",
                    harmless_line(&url),
                    harmless_line(&why),
                    wait.as_secs_f64()
                ));
            }
            Event::DownloadStarted { id, .. } => {
                if !self.announced_download {
                    self.announced_download = true;
                    self.shell.clear_progress();
                    self.shell.status("Downloading", "crates ...");
                }
                self.downloading.insert(id);
                self.show_downloads();
            }
            Event::DownloadProgress { .. } => {}
            Event::DownloadFinished { id, bytes } => {
                self.downloading.remove(&id);
                self.downloaded += 1;
                self.bytes += bytes;
                if self.shell.verbosity() > Verbosity::Normal {
                    self.shell.status("Downloaded", &id.to_string());
                }
                self.show_downloads();
            }
            Event::Unpacked { .. } => self.unpacked += 1,
        }
    }
}

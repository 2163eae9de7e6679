//! The terminal: status lines as cargo prints them, warnings, reports and a progress bar.
//!
//! Everything but machine-readable output goes to standard error. Colours and progress appear on a terminal only,
//! unless the user says otherwise.

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::diag::Report;

const HEADER: Style = AnsiColor::Green.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verbosity {
    /// Errors only.
    Quiet,
    /// The default.
    Normal,
    /// `-v`
    Verbose,
    /// `-vv`
    VeryVerbose,
}

/// The terminal.
#[derive(Debug)]
pub(super) struct Shell {
    verbosity: Verbosity,
    colors: anstream::ColorChoice,
    progress: Option<ProgressBar>,
    /// What was said besides status lines, as it was written.
    told: RefCell<Vec<String>>,
}

impl Shell {
    /// A shell that says as much as `verbosity`; `colors` is `None` for the terminal's own choice.
    pub(super) fn new(verbosity: Verbosity, colors: Option<bool>, show_progress: bool) -> Self {
        let colors = match colors {
            Some(true) => anstream::ColorChoice::Always,
            Some(false) => anstream::ColorChoice::Never,
            None => AutoStream::choice(&std::io::stderr()),
        };
        let progress = (show_progress
            && verbosity != Verbosity::Quiet
            && std::io::stderr().is_terminal())
        .then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(15));
            let style = ProgressStyle::with_template(
                "{prefix:>12.cyan.bold} [{bar:25}] {pos}/{len}: {wide_msg}",
            )
            .expect("the template is constant")
            .progress_chars("=> ");
            bar.set_style(style);
            bar
        });
        Self {
            verbosity,
            colors,
            progress,
            told: RefCell::default(),
        }
    }

    /// How much is said.
    pub(super) fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Whether standard error takes colours.
    pub(super) fn has_colors(&self) -> bool {
        !matches!(self.colors, anstream::ColorChoice::Never)
    }

    fn write(&self, text: &str) {
        let print = || {
            let mut stream = AutoStream::new(std::io::stderr(), self.colors).lock();
            // A closed standard error is no reason to fail a build.
            let _ = writeln!(stream, "{text}");
        };
        match &self.progress {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Writes what is worth saying again when the same build is asked for once more.
    fn tell(&self, text: String) {
        self.write(&text);
        self.told.borrow_mut().push(text);
    }

    /// The warnings and diagnostics that were written so far.
    pub(super) fn told(&self) -> Vec<String> {
        self.told.borrow().clone()
    }

    /// Writes again what [`Shell::told`] kept.
    pub(super) fn tell_again(&self, told: &[String]) {
        told.iter().for_each(|text| self.write(text));
    }

    /// `   Compiling serde v1.0.219`
    pub(super) fn status(&self, verb: &str, message: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.write(&format!("{HEADER}{verb:>12}{HEADER:#} {message}"));
        }
    }

    /// A status that only `-v` shows.
    pub(super) fn verbose_status(&self, verb: &str, message: &str) {
        if self.verbosity > Verbosity::Normal {
            self.status(verb, message);
        }
    }

    /// `warning: …`
    pub(super) fn warning(&self, message: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.tell(format!(
                "{WARNING}warning{WARNING:#}{BOLD}:{BOLD:#} {message}"
            ));
        }
    }

    /// `note: …`
    pub(super) fn note(&self, message: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.write(&format!("{BOLD}note:{BOLD:#} {message}"));
        }
    }

    /// Text that is already rendered, such as a diagnostic of rustc's.
    pub(super) fn rendered(&self, text: &str) {
        self.tell(text.strip_suffix('\n').unwrap_or(text).to_owned());
    }

    /// A line of machine-readable output.
    pub(super) fn line(&self, line: &str) {
        let print = || {
            let mut stdout = std::io::stdout().lock();
            let _ = writeln!(stdout, "{line}");
        };
        match &self.progress {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Where `done` of `total` stands; `what` is being done to `items`.
    pub(super) fn progress(&self, what: &str, done: u64, total: u64, items: &str) {
        if let Some(bar) = &self.progress {
            bar.set_length(total);
            bar.set_prefix(what.to_owned());
            bar.set_message(items.to_owned());
            bar.set_position(done);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    /// Takes the progress bar away.
    pub(super) fn clear_progress(&self) {
        if let Some(bar) = &self.progress {
            bar.disable_steady_tick();
            bar.finish_and_clear();
            bar.reset();
        }
    }

    /// An error: what, where, why and what to do.
    pub(super) fn report(&self, report: &Report) {
        let mut text = String::new();
        let code = if report.code.is_empty() {
            String::new()
        } else {
            format!("[{}]", report.code)
        };
        text.push_str(&format!(
            "{ERROR}error{code}{ERROR:#}{BOLD}:{BOLD:#} {}\n",
            indent(&report.message, 0)
        ));
        if let Some(snippet) = &report.snippet {
            text.push_str(&self.snippet(snippet));
        }
        for place in &report.places {
            text.push_str(&format!("  {BOLD}where:{BOLD:#} {}\n", indent(place, 9)));
        }
        for cause in &report.causes {
            text.push_str(&format!("  {BOLD}why:{BOLD:#}   {}\n", indent(cause, 9)));
        }
        if let Some(help) = &report.help {
            text.push_str(&format!("  {BOLD}help:{BOLD:#}  {}\n", indent(help, 9)));
        }
        self.write(text.trim_end());
    }

    /// The lines that an error points at, by miette.
    fn snippet(&self, snippet: &crate::diag::Snippet) -> String {
        use miette::{
            GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource,
        };
        let span = LabeledSpan::new_with_span(Some(snippet.label.clone()), snippet.range.clone());
        let diagnostic = MietteDiagnostic::new("").with_label(span);
        let report = miette::Report::new(diagnostic).with_source_code(NamedSource::new(
            snippet.path.display().to_string(),
            snippet.text.clone(),
        ));
        let theme = if self.has_colors() {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(theme).with_context_lines(1);
        if handler.render_report(&mut text, &*report).is_err() {
            return String::new();
        }
        let lines: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.contains('╭'))
            .collect();
        format!("{}\n", lines.join("\n").trim_end())
    }
}

/// `text` with its further lines indented.
fn indent(text: &str, columns: usize) -> String {
    text.trim_end()
        .replace('\n', &format!("\n{}", " ".repeat(columns)))
}

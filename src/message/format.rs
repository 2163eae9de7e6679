//! `--message-format`.

/// How messages are shown. Source: cargo 1.95, `--message-format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MessageFormat {
    /// `human`: diagnostics as text on standard error.
    #[default]
    Human,
    /// `short`: the same, one line each.
    Short,
    /// `json` and its variants: one JSON object per line on standard output.
    Json {
        /// `json-render-diagnostics`: rustc's diagnostics are text on standard error all the same.
        render_diagnostics: bool,
        /// `json-diagnostic-short`: their `rendered` field is the short form.
        short: bool,
        /// `json-diagnostic-rendered-ansi`: their `rendered` field has colours.
        ansi: bool,
    },
}

/// A `--message-format` that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageFormatError {
    /// Not one of the known names.
    #[error("there is no message format `{0}`")]
    Unknown(String),
    /// Two that exclude each other.
    #[error("two kinds of `--message-format` were asked for at once")]
    Conflict,
}

impl MessageFormatError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            MessageFormatError::Unknown(_) => format!("known are: `{}`", MessageFormat::NAMES.join("`, `")),
            MessageFormatError::Conflict => {
                "only the formats that begin with `json-` can be combined, with each other and with a `json` before them"
                    .to_owned()
            }
        })
    }
}

impl MessageFormat {
    /// The names that [`MessageFormat::parse`] knows, for a command line's help.
    pub const NAMES: [&'static str; 6] = [
        "human",
        "short",
        "json",
        "json-diagnostic-short",
        "json-diagnostic-rendered-ansi",
        "json-render-diagnostics",
    ];

    const PLAIN_JSON: Self = MessageFormat::Json {
        render_diagnostics: false,
        short: false,
        ansi: false,
    };

    /// Puts together what was given by all `--message-format` options, each a list separated by commas.
    pub fn parse<'a>(
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, MessageFormatError> {
        let mut chosen: Option<Self> = None;
        for name in values.into_iter().flat_map(|value| value.split(',')) {
            let name = name.to_ascii_lowercase();
            match name.as_str() {
                "human" | "short" | "json" => {
                    if chosen.is_some() {
                        return Err(MessageFormatError::Conflict);
                    }
                    chosen = Some(match name.as_str() {
                        "human" => MessageFormat::Human,
                        "short" => MessageFormat::Short,
                        _ => Self::PLAIN_JSON,
                    });
                }
                "json-render-diagnostics"
                | "json-diagnostic-short"
                | "json-diagnostic-rendered-ansi" => {
                    let MessageFormat::Json {
                        render_diagnostics,
                        short,
                        ansi,
                    } = chosen.get_or_insert(Self::PLAIN_JSON)
                    else {
                        return Err(MessageFormatError::Conflict);
                    };
                    match name.as_str() {
                        "json-render-diagnostics" => *render_diagnostics = true,
                        "json-diagnostic-short" => *short = true,
                        _ => *ansi = true,
                    }
                }
                _ => return Err(MessageFormatError::Unknown(super::text::excerpt(&name))),
            }
        }
        Ok(chosen.unwrap_or_default())
    }

    /// Whether kiln's own messages are JSON lines on standard output.
    pub fn is_json(self) -> bool {
        matches!(self, MessageFormat::Json { .. })
    }

    /// Whether rustc's diagnostics are shown as text on standard error.
    pub fn renders_diagnostics(self) -> bool {
        !matches!(
            self,
            MessageFormat::Json {
                render_diagnostics: false,
                ..
            }
        )
    }

    /// The value of rustc's `--json`. Colours are always asked for: they are removed when a message is shown, so that
    /// one stored result serves both.
    pub fn rustc_json(self) -> &'static str {
        match self {
            MessageFormat::Short | MessageFormat::Json { short: true, .. } => {
                "diagnostic-rendered-ansi,artifacts,future-incompat,diagnostic-short"
            }
            _ => "diagnostic-rendered-ansi,artifacts,future-incompat",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_cargo_reads_them() {
        let json = |render_diagnostics, short, ansi| {
            Ok(MessageFormat::Json {
                render_diagnostics,
                short,
                ansi,
            })
        };
        let conflict = Err(MessageFormatError::Conflict);
        for (values, expected) in [
            (&[][..], Ok(MessageFormat::Human)),
            (&["human"], Ok(MessageFormat::Human)),
            (&["Short"], Ok(MessageFormat::Short)),
            (&["json"], json(false, false, false)),
            (&["json-render-diagnostics"], json(true, false, false)),
            (&["json-diagnostic-short"], json(false, true, false)),
            (
                &["json,JSON-diagnostic-rendered-ansi"],
                json(false, false, true),
            ),
            (
                &["json-diagnostic-short", "json-diagnostic-rendered-ansi"],
                json(false, true, true),
            ),
            (&["json-diagnostic-short,json"], conflict.clone()),
            (&["human", "json"], conflict.clone()),
            (&["json", "json"], conflict.clone()),
            (&["short,json-diagnostic-short"], conflict),
            (&["json,"], Err(MessageFormatError::Unknown(String::new()))),
            (&["xml"], Err(MessageFormatError::Unknown("xml".to_owned()))),
        ] {
            assert_eq!(
                MessageFormat::parse(values.iter().copied()),
                expected,
                "{values:?}"
            );
        }
    }

    #[test]
    fn what_rustc_is_asked_for() {
        assert!(
            MessageFormat::Short
                .rustc_json()
                .ends_with(",diagnostic-short")
        );
        assert!(!MessageFormat::Human.rustc_json().contains("short"));
        for (format, is_json, renders) in [
            ("human", false, true),
            ("short", false, true),
            ("json", true, false),
            ("json-render-diagnostics", true, true),
        ] {
            let format = MessageFormat::parse([format]).unwrap();
            assert_eq!(
                (format.is_json(), format.renders_diagnostics()),
                (is_json, renders)
            );
        }
    }
}

//! Flags for rustc and rustdoc. The first of these that says anything counts: the environment, `[target]`, `[build]`.

use cargo_platform::{Cfg, CfgExpr};

use super::{Config, ConfigError};

/// Whose flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagsFor {
    /// rustc's.
    Rustc,
    /// rustdoc's.
    Rustdoc,
}

impl FlagsFor {
    fn key(self) -> &'static str {
        match self {
            Self::Rustc => "rustflags",
            Self::Rustdoc => "rustdocflags",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Rustc => "RUSTFLAGS",
            Self::Rustdoc => "RUSTDOCFLAGS",
        }
    }
}

impl Config {
    /// The flags for a unit that is compiled for `triple`, whose cfg values are `cfg` (rustdoc takes no account of these).
    pub fn flags(
        &self,
        of: FlagsFor,
        triple: &str,
        cfg: &[Cfg],
    ) -> Result<Vec<String>, ConfigError> {
        if let Some(flags) = self.flags_of_environment(of) {
            return Ok(flags);
        }
        let key = of.key();
        let mut flags = self
            .layers
            .list(&["target", triple, key])?
            .unwrap_or_default();
        if of == FlagsFor::Rustc {
            for table in self.layers.keys(&["target"]) {
                if CfgExpr::matches_key(&table, cfg) {
                    flags.extend(
                        self.layers
                            .list(&["target", &table, key])?
                            .unwrap_or_default(),
                    );
                }
            }
        }
        if flags.is_empty() {
            Ok(self.layers.list(&["build", key])?.unwrap_or_default())
        } else {
            Ok(flags)
        }
    }

    /// [`Config::flags`] for rustc.
    pub fn rustflags(&self, triple: &str, cfg: &[Cfg]) -> Result<Vec<String>, ConfigError> {
        self.flags(FlagsFor::Rustc, triple, cfg)
    }

    fn flags_of_environment(&self, of: FlagsFor) -> Option<Vec<String>> {
        let variable = of.variable();
        if let Some(text) = self
            .layers
            .raw_variable(&format!("CARGO_ENCODED_{variable}"))
        {
            if text.is_empty() {
                return Some(Vec::new());
            }
            return Some(text.split('\x1f').map(str::to_owned).collect());
        }
        let text = self.layers.raw_variable(variable)?;
        let words = text.split(' ').map(str::trim);
        Some(
            words
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }
}

//! Greetings in a few languages.

use std::fmt;

use phrases_derive::Names;

/// A language that somebody can be greeted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Names)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "kebab-case")
)]
pub enum Language {
    /// English
    English,
    /// French
    French,
    /// German
    German,
    /// Low German
    LowGerman,
}

/// All languages, sorted by name.
pub fn all() -> [Language; Language::NAMES.len()] {
    Language::ALL
}

/// A greeting for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Greeting {
    /// In which language.
    pub language: Language,
    /// Who is greeted.
    pub name: String,
    /// What they are wished.
    pub wish: Option<String>,
}

impl Greeting {
    /// A greeting without a wish.
    pub fn new(language: Language, name: &str) -> Self {
        Self {
            language,
            name: name.to_owned(),
            wish: None,
        }
    }
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hello = match self.language {
            Language::English => "Hello",
            Language::French => "Bonjour",
            Language::German => "Guten Tag",
            Language::LowGerman => "Moin",
        };
        write!(f, "{hello}, {}!", self.name)?;
        match &self.wish {
            Some(wish) => write!(f, " {wish}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_have_names() {
        assert_eq!(
            Language::NAMES,
            ["english", "french", "german", "low-german"]
        );
        for language in all() {
            assert_eq!(Language::from_name(language.name()), Some(language));
        }
        assert_eq!(Language::from_name("LowGerman"), None);
    }
}

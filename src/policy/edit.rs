//! Changes to `kiln.toml`, made in its text: comments, order and formatting stay, and the result has to parse and to
//! mean what was asked for, which is checked against the same change made to the parsed value.

use std::collections::BTreeMap;

use semver::VersionReq;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, RawString, Table, TableLike, Value};

use super::decide::Policy;
use super::error::PolicyError;
use super::file::{AppliesTo, Bundle, CrateSection, FILE_NAME, PolicyFile, SourceMatch};
use crate::sandbox::request::Limits;

/// A grant as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The crate's name.
    pub name: String,
    /// Only for these versions.
    pub version: Option<VersionReq>,
    /// Only for packages from there, as `source` of a section states it.
    pub source: Option<String>,
    /// Whether it is to count for `kiln build` only.
    pub dev: bool,
    /// What is granted, and the reason to note.
    pub(crate) lists: Bundle,
}

/// One thing that is granted to one crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thing {
    name: String,
    key: &'static str,
    value: String,
}

impl Thing {
    /// The things that the sections of `text` grant, as far as [`Asked`] can ask for them.
    pub fn of_section(text: &str) -> Vec<Self> {
        let Ok(file) = PolicyFile::parse(FILE_NAME, text) else {
            return Vec::new();
        };
        let mut things = Vec::new();
        for (name, section) in file
            .crates
            .iter()
            .flat_map(|(name, sections)| sections.iter().map(move |section| (name, section)))
        {
            for (key, values) in section.lists.lists() {
                things.extend(values.iter().map(|value| Self {
                    name: name.clone(),
                    key,
                    value: value.clone(),
                }));
            }
        }
        things
    }

    /// What to ask for to be granted all of `things`, by crate.
    pub fn together(things: &[Self]) -> Vec<Asked> {
        let mut all: BTreeMap<&str, Asked> = BTreeMap::new();
        for Self { name, key, value } in things {
            let asked = all.entry(name).or_insert_with(|| Asked {
                name: name.clone(),
                ..Asked::default()
            });
            asked.lists.add(key, value);
        }
        all.into_values().collect()
    }
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}` for `{}`", self.key, self.value, self.name)
    }
}

/// What an edit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole text.
    pub text: String,
    /// Whether anything had to be changed.
    pub changed: bool,
}

impl Asked {
    /// Whether nothing is to be granted.
    pub fn is_empty(&self) -> bool {
        self.lists
            .lists()
            .iter()
            .all(|(_, values)| values.is_empty())
    }

    /// The section by itself.
    ///
    /// # Errors
    /// If nothing grants what is asked.
    pub fn section(&self) -> Result<String, PolicyError> {
        Ok(grant("", self)?.text)
    }

    fn source_match(&self) -> Result<Option<SourceMatch>, PolicyError> {
        self.source
            .clone()
            .map(SourceMatch::try_from)
            .transpose()
            .map_err(|why| PolicyError::Edit { why })
    }
}

/// The text of `kiln.toml` with what `asked` asks for, besides all that `text` has.
///
/// # Errors
/// If `text` is no valid policy, if nothing grants what is asked, or if the text is of a shape that the edit would not
/// come out right in.
pub fn grant(text: &str, asked: &Asked) -> Result<Edited, PolicyError> {
    let before = PolicyFile::parse(FILE_NAME, text)?;
    let source = asked.source_match()?;
    let wanted = applied(&before, asked, source.as_ref());
    if wanted == before {
        return Ok(Edited {
            text: text.to_owned(),
            changed: false,
        });
    }
    let edited = edit_text(text, |document| {
        insert(document.as_table_mut(), asked, source.as_ref())
    })?;
    // The strict reader has the last word: on the values, on bundles, and on what the whole file now means.
    Policy::parse(&edited)?;
    if PolicyFile::parse(FILE_NAME, &edited)? != wanted {
        return Err(PolicyError::Edit {
            why: format!(
                "the section of `{}` is written in a way that cannot be added to",
                asked.name
            ),
        });
    }
    Ok(Edited {
        text: edited,
        changed: true,
    })
}

/// The same change made to the value.
fn applied(before: &PolicyFile, asked: &Asked, source: Option<&SourceMatch>) -> PolicyFile {
    let mut file = before.clone();
    let crates = if asked.dev {
        &mut file.dev
    } else {
        &mut file.crates
    };
    let sections = crates.entry(asked.name.clone()).or_default();
    let is_same = |section: &CrateSection| {
        section.version == asked.version
            && section.source.as_ref() == source
            && section.applies_to == AppliesTo::Itself
    };
    let index = sections.iter().position(is_same).unwrap_or_else(|| {
        sections.push(CrateSection {
            version: asked.version.clone(),
            source: source.cloned(),
            applies_to: AppliesTo::Itself,
            defaults: true,
            limits: Limits::default(),
            lists: Bundle::default(),
        });
        sections.len() - 1
    });
    let lists = &mut sections[index].lists;
    for (key, values) in asked.lists.lists() {
        for value in values {
            lists.add(key, value);
        }
    }
    if lists.reason.is_none() {
        lists.reason.clone_from(&asked.lists.reason);
    }
    file
}

/// Edits `text`, which keeps its byte order mark and its kind of line ends.
fn edit_text(
    text: &str,
    edit: impl FnOnce(&mut DocumentMut) -> Option<()>,
) -> Result<String, PolicyError> {
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let windows =
        body.contains("\r\n") && body.matches('\n').count() == body.matches("\r\n").count();
    let mut document: DocumentMut =
        body.parse()
            .map_err(|error: toml_edit::TomlError| PolicyError::Syntax {
                file: FILE_NAME.to_owned(),
                why: error.message().to_owned(),
                place: error.span().map(|range| (body.to_owned(), range)),
            })?;
    edit(&mut document).ok_or_else(|| PolicyError::Edit {
        why: "what stands there is no table".to_owned(),
    })?;
    let mut edited = document.to_string();
    if windows {
        edited = edited.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    Ok(format!("{mark}{edited}"))
}

/// Adds to the section that fits, or makes one. `None`: something in the way is no table.
fn insert(root: &mut Table, asked: &Asked, source: Option<&SourceMatch>) -> Option<()> {
    let is_empty = root.is_empty();
    let place: &mut dyn TableLike = if asked.dev {
        subtable(root, "dev")?
    } else {
        root
    };
    let crates = subtable(place, "crate")?;
    if let Some(item) = crates.get_mut(&asked.name) {
        return amend(item, asked, source);
    }
    let mut section = new_section(asked);
    section.set_dotted(crates.is_dotted());
    if is_empty {
        section.decor_mut().set_prefix("");
    }
    crates.insert(&asked.name, Item::Table(section));
    Some(())
}

/// The table `key` of `place`, made where it is missing.
fn subtable<'a>(place: &'a mut dyn TableLike, key: &str) -> Option<&'a mut dyn TableLike> {
    if !place.contains_key(key) {
        let mut table = Table::new();
        table.set_implicit(true);
        table.set_dotted(place.is_dotted());
        place.insert(key, Item::Table(table));
    }
    place.get_mut(key)?.as_table_like_mut()
}

/// Adds to what stands under the crate's name: to the section that is for the same packages, or as one more of them.
fn amend(item: &mut Item, asked: &Asked, source: Option<&SourceMatch>) -> Option<()> {
    match item {
        Item::ArrayOfTables(sections) => {
            let known = sections
                .iter()
                .position(|section| fits(section, asked, source));
            match known.and_then(|known| sections.get_mut(known)) {
                Some(section) => extend(section, asked),
                None => sections.push(new_section(asked)),
            }
        }
        Item::Value(Value::Array(sections)) => {
            let known = sections.iter().position(|section| {
                section
                    .as_inline_table()
                    .is_some_and(|section| fits(section, asked, source))
            });
            let section = known.and_then(|known| sections.get_mut(known));
            match section.and_then(Value::as_inline_table_mut) {
                Some(section) => extend(section, asked),
                None => {
                    let section = new_section(asked).into_inline_table();
                    push(sections, Value::InlineTable(section));
                }
            }
        }
        Item::Table(_) | Item::Value(Value::InlineTable(_)) => {
            let section = item.as_table_like_mut()?;
            if fits(section, asked, source) {
                extend(section, asked);
            } else {
                *item = with_another(std::mem::take(item), new_section(asked))?;
            }
        }
        _ => return None,
    }
    Some(())
}

/// A section and another one, as an array of sections.
fn with_another(first: Item, second: Table) -> Option<Item> {
    match first {
        Item::Table(mut first) => {
            first.set_dotted(false);
            let mut sections = ArrayOfTables::new();
            sections.push(first);
            sections.push(second);
            Some(Item::ArrayOfTables(sections))
        }
        Item::Value(Value::InlineTable(mut first)) => {
            let mut sections = Array::new();
            let decor = first.decor().clone();
            first.decor_mut().clear();
            sections.push(first);
            sections.push(second.into_inline_table());
            *sections.decor_mut() = decor;
            Some(Item::Value(Value::Array(sections)))
        }
        _ => None,
    }
}

/// Whether a section is for the same packages, and for their own actions.
fn fits(section: &dyn TableLike, asked: &Asked, source: Option<&SourceMatch>) -> bool {
    let text = |key: &str| section.get(key).and_then(Item::as_str);
    let version = text("version").and_then(|version| VersionReq::parse(version).ok());
    let from = text("source").and_then(|from| SourceMatch::try_from(from.to_owned()).ok());
    version == asked.version
        && from.as_ref() == source
        && text("applies-to").is_none_or(|to| to == "itself")
}

fn new_section(asked: &Asked) -> Table {
    let mut section = Table::new();
    section.decor_mut().set_prefix("\n");
    if let Some(version) = &asked.version {
        section.insert("version", toml_edit::value(version.to_string()));
    }
    if let Some(source) = &asked.source {
        section.insert("source", toml_edit::value(source));
    }
    extend(&mut section, asked);
    section
}

fn extend(section: &mut dyn TableLike, asked: &Asked) {
    if let Some(reason) = &asked.lists.reason
        && !section.contains_key("reason")
    {
        section.insert("reason", toml_edit::value(reason));
    }
    for (key, values) in asked.lists.lists() {
        if values.is_empty() {
            continue;
        }
        if !section.contains_key(key) {
            section.insert(key, toml_edit::value(Array::new()));
        }
        let Some(list) = section.get_mut(key).and_then(Item::as_array_mut) else {
            continue;
        };
        for value in values {
            if list.iter().all(|known| known.as_str() != Some(value)) {
                push(list, Value::from(value));
            }
        }
    }
}

/// Adds `value` at the end of `list`, on a line of its own if the one before it has one.
fn push(list: &mut Array, mut value: Value) {
    let text = |raw: Option<&RawString>| raw.and_then(RawString::as_str).unwrap_or("").to_owned();
    let before = list.iter().last().map(|last| text(last.decor().prefix()));
    let Some(before) = before else {
        list.push_formatted(value);
        return;
    };
    let indentation = before.rfind('\n').map(|at| before[at..].to_owned());
    let Some(indentation) = indentation else {
        let suffix = list.iter().last().map(|last| text(last.decor().suffix()));
        if let Some(last) = list.iter_mut().last() {
            last.decor_mut().set_suffix("");
        }
        value.decor_mut().set_prefix(" ");
        value.decor_mut().set_suffix(suffix.unwrap_or_default());
        list.push_formatted(value);
        return;
    };
    // What follows the last value may be a comment on it: after the comma, or before it where there is none yet.
    let mut comment = String::new();
    if list.trailing_comma() {
        comment = text(Some(list.trailing())).trim_end().to_owned();
    } else if let Some(last) = list.iter_mut().last() {
        let suffix = text(last.decor().suffix());
        if suffix.contains('#') {
            comment = suffix.trim_end().to_owned();
        }
        last.decor_mut().set_suffix("");
    }
    value
        .decor_mut()
        .set_prefix(format!("{comment}{indentation}"));
    value.decor_mut().set_suffix("");
    list.push_formatted(value);
    list.set_trailing_comma(true);
    list.set_trailing("\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(key: &str, values: &[&str]) -> Bundle {
        let mut lists = Bundle::default();
        values.iter().for_each(|value| lists.add(key, value));
        lists
    }

    fn asked(exec: &[&str]) -> Asked {
        Asked {
            name: "a".to_owned(),
            lists: lists("exec", exec),
            ..Asked::default()
        }
    }

    fn edited(text: &str, asked: &Asked) -> String {
        grant(text, asked)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .text
    }

    #[test]
    fn what_stands_there_stays() {
        for (before, after) in [
            ("", "[crate.a]\nexec = [\"sh\"]\n"),
            ("# mine\n", "[crate.a]\nexec = [\"sh\"]\n# mine\n"),
            ("[crate.a]\n", "[crate.a]\nexec = [\"sh\"]\n"),
            (
                "[crate.a] # why\n  exec = [ 'x' ] # x\n\n# b\n[crate.b]\nread = ['/usr/share/b']\n",
                "[crate.a] # why\n  exec = [ 'x', \"sh\" ] # x\n\n# b\n[crate.b]\nread = ['/usr/share/b']\n",
            ),
            (
                "[crate.b]\nexec = [\"x\"]\n[toolchain]\nprograms = []\n",
                "[crate.b]\nexec = [\"x\"]\n\n[crate.a]\nexec = [\"sh\"]\n[toolchain]\nprograms = []\n",
            ),
            (
                "[crate.a]\nexec = [\n  \"x\", # the x\n  \"y\", # the y\n]\n",
                "[crate.a]\nexec = [\n  \"x\", # the x\n  \"y\", # the y\n  \"sh\",\n]\n",
            ),
            (
                "[crate.a]\nexec = [\n  \"x\",\n  \"y\" # the y\n]\n",
                "[crate.a]\nexec = [\n  \"x\",\n  \"y\", # the y\n  \"sh\",\n]\n",
            ),
            (
                "crate.a.exec = [\"x\"]\n",
                "crate.a.exec = [\"x\", \"sh\"]\n",
            ),
            (
                "crate.b.exec = [\"x\"]\n",
                "crate.b.exec = [\"x\"]\ncrate.a.exec = [\"sh\"]\n",
            ),
            (
                "crate = { b = { exec = [\"x\"] } }\n",
                "crate = { b = { exec = [\"x\"] } , a = { exec = [\"sh\"] } }\n",
            ),
            (
                "[crate]\na = { exec = [\"x\"] }\n",
                "[crate]\na = { exec = [\"x\", \"sh\"] }\n",
            ),
            (
                "[crate.\"a\"]\n'exec' = ['x']\n",
                "[crate.\"a\"]\n'exec' = ['x', \"sh\"]\n",
            ),
            (
                "[crate.a]\r\nexec = [\r\n\t'x',\r\n]\r\n# end\r\n",
                "[crate.a]\r\nexec = [\r\n\t'x',\r\n\t\"sh\",\r\n]\r\n# end\r\n",
            ),
            (
                "[crate.b]\nexec = ['x']",
                "[crate.b]\nexec = ['x']\n\n[crate.a]\nexec = [\"sh\"]\n",
            ),
            (
                "\u{feff}[crate.a]\n",
                "\u{feff}[crate.a]\nexec = [\"sh\"]\n",
            ),
            // A section for the users of the crate is not one for the crate.
            (
                "[crate.a]\napplies-to = \"users\"\nexec = [\"x\"]\n",
                "[[crate.a]]\napplies-to = \"users\"\nexec = [\"x\"]\n\n[[crate.a]]\nexec = [\"sh\"]\n",
            ),
            // Nor is one for certain versions.
            (
                "[crate.a]\nversion = \"1\"\nlimits = { wall-seconds = 3 }\n",
                "[[crate.a]]\nversion = \"1\"\nlimits = { wall-seconds = 3 }\n\n[[crate.a]]\nexec = [\"sh\"]\n",
            ),
            (
                "[[crate.a]]\nversion = \"1\"\n[[crate.a]]\nexec = [\"x\"]\n",
                "[[crate.a]]\nversion = \"1\"\n[[crate.a]]\nexec = [\"x\", \"sh\"]\n",
            ),
            (
                "crate.a = [{ version = \"1\" }]\n",
                "crate.a = [{ version = \"1\" }, { exec = [\"sh\"] }]\n",
            ),
            (
                "[crate]\na = { version = \"1\" }\n",
                "[crate]\na = [{ version = \"1\" }, { exec = [\"sh\"] }]\n",
            ),
            // There already.
            ("[crate.a]\nexec=['sh']", "[crate.a]\nexec=['sh']"),
        ] {
            assert_eq!(edited(before, &asked(&["sh"])), after, "{before}");
            // Asked again, it changes nothing.
            assert!(!grant(after, &asked(&["sh"])).unwrap().changed);
        }
        let subtable =
            "[crate.a]\nversion = \"1\"\n[crate.a.set-env]\nX = \"1\"\n[crate.b]\nexec = ['x']\n";
        edited(subtable, &asked(&["sh"]));
        let dotted = "crate.a.version = \"1\"\ncrate.b.exec = ['x']\n[policy]\n";
        edited(dotted, &asked(&["sh"]));
    }

    #[test]
    fn everything_that_can_be_asked_for() {
        let everything = Asked {
            version: Some("^1.2".parse().unwrap()),
            source: Some("crates-io".to_owned()),
            dev: true,
            lists: Bundle {
                reason: Some("a \"reason\"\nof two lines".to_owned()),
                exec: vec!["sh".to_owned()],
                read: vec!["/usr/share/a".to_owned()],
                env: vec!["A".to_owned()],
                write: vec![".".to_owned()],
                pkg_config: vec!["zlib".to_owned()],
                link: vec!["z".to_owned()],
                r#use: vec!["cmake".to_owned(), "pkg-config:openssl".to_owned()],
                ..Bundle::default()
            },
            ..asked(&[])
        };
        let once = edited("[dev.crate.b]\nexec = ['x']\n", &everything);
        let file = PolicyFile::parse(FILE_NAME, &once).unwrap();
        let lists = &file.dev["a"][0].lists;
        assert_eq!(lists.r#use.len() + lists.exec.len() + lists.read.len(), 4);
        assert!(
            once.contains("[dev.crate.a]") && !once.contains("[dev]"),
            "{once}"
        );
        // The same crate without the limits is another section.
        let twice = edited(
            &once,
            &Asked {
                dev: true,
                ..asked(&["make"])
            },
        );
        assert!(twice.contains("[[dev.crate.a]]"), "{twice}");
        assert_eq!(edited(&twice, &everything), twice);
    }

    #[test]
    fn sections_are_taken_apart_and_put_together() {
        let text =
            "[crate.a]\nuse = [\"cmake\"]\nenv = [\"X\", \"Y\"]\n[crate.b]\nwrite = [\".\"]\n";
        let things = Thing::of_section(text);
        assert_eq!(things.len(), 4);
        let asked = Thing::together(&things);
        assert_eq!(asked.len(), 2);
        assert_eq!(
            asked[0].section().unwrap(),
            "[crate.a]\nuse = [\"cmake\"]\nenv = [\"X\", \"Y\"]\n"
        );
        assert!(Thing::of_section("no section").is_empty());
    }

    #[test]
    fn what_cannot_be_granted_is_refused_and_nothing_else_is_touched() {
        for (text, asked) in [
            ("", asked(&["../sh"])),
            (
                "",
                Asked {
                    lists: lists("read", &["/usr"]),
                    ..asked(&[])
                },
            ),
            (
                "",
                Asked {
                    lists: lists("env", &["LD_PRELOAD"]),
                    ..asked(&[])
                },
            ),
            (
                "",
                Asked {
                    lists: lists("use", &["nothing"]),
                    ..asked(&[])
                },
            ),
            (
                "",
                Asked {
                    source: Some("elsewhere".to_owned()),
                    ..asked(&["sh"])
                },
            ),
            (
                "",
                Asked {
                    name: "../a".to_owned(),
                    ..asked(&["sh"])
                },
            ),
            ("[crate.a]\nunknown = 1\n", asked(&["sh"])),
            ("[crate.a\n", asked(&["sh"])),
            ("crate = 1\n", asked(&["sh"])),
        ] {
            assert!(grant(text, &asked).is_err(), "{text} {asked:?}");
        }
    }
}

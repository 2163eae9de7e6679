//! What configuration says of the units of a build, resolved for each platform.

use std::collections::BTreeMap;

use crate::directive::BuildScriptOutput;
use crate::unit::graph::Platform;

/// What configuration says of the units of one platform.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformSettings {
    /// Flags for rustc.
    pub rustflags: Vec<String>,
    /// Flags for rustdoc.
    pub rustdocflags: Vec<String>,
    /// What rustc is told to link with, as the action finds it.
    pub linker: Option<String>,
    /// What runs programs under test: a program as the run finds it, and what it is given before theirs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runner: Vec<String>,
    /// What stands in for the build scripts of packages, by their `links`.
    pub overrides: BTreeMap<String, BuildScriptOutput>,
}

/// What configuration says of all units of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// For units of the host.
    pub host: PlatformSettings,
    /// For units of the platforms that were asked for, by triple.
    pub targets: BTreeMap<String, PlatformSettings>,
    /// `[env]`: variables that every action gets, unless cargo itself sets them.
    pub environment: BTreeMap<String, String>,
    /// The program that runs every rustc, and which is given rustc's path and arguments.
    pub wrapper: Option<String>,
    /// The same for the workspace's own packages, within [`Settings::wrapper`].
    pub workspace_wrapper: Option<String>,
}

impl Settings {
    /// The programs that rustc is started through, the outermost first.
    pub fn wrappers(&self, is_member: bool) -> impl Iterator<Item = &str> {
        let own = self.workspace_wrapper.as_deref().filter(|_| is_member);
        self.wrapper.as_deref().into_iter().chain(own)
    }

    /// What counts for units of `platform`.
    pub fn of(&self, platform: &Platform) -> &PlatformSettings {
        match platform {
            Platform::Host => &self.host,
            Platform::Target(triple) => self.targets.get(&**triple).unwrap_or(&self.host),
        }
    }
}

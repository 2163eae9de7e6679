//! What running actions takes, for a build and for what is run after it: the executor and what it shares.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::driver::building::denials::{Explainer, telling};
use crate::driver::{DriverError, Planned};
use crate::execute::local::{LocalExecutor, RunningActions};
use crate::execute::placement::{InPlace, Placement};
use crate::execute::schedule;
use crate::execute::tracing::Failed;
use crate::sandbox::Isolation;
use crate::store::Namespace;
use crate::tree::{Directory, TreeRef};
use crate::unit::graph::UnitIndex;

/// How actions of a plan are run.
#[derive(Debug, Clone, Copy)]
pub(in crate::driver) struct Setting<'a> {
    /// The plan.
    pub planned: &'a Planned,
    /// How many jobs run at once, at least one.
    pub jobs: usize,
    /// Which layers are demanded.
    pub isolation: Isolation,
    /// Whether results of hermetic builds are used and kept, or those of the others.
    pub hermetic: bool,
    /// Whether each action is traced.
    pub audit: bool,
}

/// What there is while they run.
#[derive(Debug, Clone, Copy)]
pub(in crate::driver) struct Execution<'a> {
    /// Who runs them.
    pub executor: &'a LocalExecutor<'a>,
    /// What they share. The scheduler has a token of its own besides.
    pub jobserver: &'a jobserver::Client,
    /// The top levels of the system trees.
    pub system_roots: &'a BTreeMap<TreeRef, Arc<Directory>>,
}

impl Setting<'_> {
    /// Does `body` with an executor.
    pub(in crate::driver) fn execute<R>(
        self,
        body: impl FnOnce(&Execution<'_>) -> Result<R, DriverError>,
    ) -> Result<R, DriverError> {
        let planned = self.planned;
        let jobserver = jobserver::Client::new(self.jobs.saturating_sub(1))
            .map_err(schedule::ScheduleError::Jobserver)?;
        let mut system_roots = BTreeMap::new();
        for tree in planned.systems.keys() {
            let root = planned.store.read_directory(tree)?;
            let root = root.ok_or(crate::store::StoreError::MissingTree(tree.digest))?;
            system_roots.insert(*tree, Arc::new(root));
        }
        let parse = |unit: UnitIndex, stdout: &[u8]| {
            let package = &planned.packages[&planned.units.unit(unit).package];
            crate::directive::parse(
                stdout,
                &crate::directive::Subject::from(&**package),
                &crate::directive::Bootstrap::default(),
            )
        };
        let limits = |unit: UnitIndex| {
            let package = &planned.units.unit(unit).package;
            planned.limits.get(package).cloned().unwrap_or_default()
        };
        let explain = |failed: &Failed<'_>| Explainer { planned }.explain(failed);
        let variables = telling(&planned.variables);
        let executor = LocalExecutor {
            store: &planned.store,
            namespace: if self.hermetic {
                Namespace::Hermetic
            } else {
                Namespace::Daily
            },
            profiles: &planned.profiles,
            placement: match self.isolation {
                Isolation::Full => Placement::Mounted,
                Isolation::Landlock => Placement::InPlace(InPlace::take(
                    Path::new(planned.layout.prefix().as_str()),
                    &planned.rust,
                )?),
            },
            isolation: self.isolation,
            systems: &planned.systems,
            rust: &planned.rust,
            toolchain: planned.layout.toolchain(),
            jobserver: &jobserver,
            parse_directives: &parse,
            limits: &limits,
            audit: self.audit,
            explain: Some(&explain),
            variables: &variables,
            running: RunningActions::default(),
        };
        body(&Execution {
            executor: &executor,
            jobserver: &jobserver,
            system_roots: &system_roots,
        })
    }
}

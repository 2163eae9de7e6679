//! The second pass: units for the host that the user asked for and units that the build itself needs become one where
//! they are alike, and what depends on the whole graph is settled.
//!
//! While the graph is made, `Target(host)` keeps the two apart, since they may have different features. Then each unit
//! is told apart by its dependencies as well, so that the platform can go back to `Host` and equal units fall together.
//! Source: cargo's `rebuild_unit_graph_shared`.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::package::{PackageName, SourceId};
use crate::unit::UnitError;
use crate::unit::context::Roots;
use crate::unit::draft::{Draft, DraftDependency, DraftGraph, DraftIndex, Interner};
use crate::unit::graph::{DebugInfo, Mode, Platform, Strip, StripInner};
use crate::unit::packages::PackageGraph;
use crate::unit::profiles::DraftProfile;

/// The outcome of [`share`].
pub(crate) struct Shared {
    pub(crate) roots: Roots,
    pub(crate) graph: DraftGraph,
}

struct Frame {
    unit: DraftIndex,
    for_host: bool,
    dependencies: Vec<DraftDependency>,
    next: usize,
}

/// Rebuilds `graph`; `to_host`: the platform that becomes `Host`, if units for the host were asked for.
pub(crate) fn share(
    packages: &PackageGraph<'_>,
    interner: &mut Interner,
    graph: &DraftGraph,
    roots: &[DraftIndex],
    to_host: Option<&Platform>,
) -> Result<Shared, UnitError> {
    let mut sharing = Sharing {
        packages,
        interner,
        graph,
        to_host,
        done: HashMap::new(),
        new: HashMap::new(),
    };
    let mut new_roots = Vec::with_capacity(roots.len());
    for &root in roots {
        new_roots.push(sharing.rebuild(root)?);
    }
    Ok(Shared {
        roots: new_roots,
        graph: sharing.new,
    })
}

struct Sharing<'s, 'a> {
    packages: &'s PackageGraph<'a>,
    interner: &'s mut Interner,
    graph: &'s DraftGraph,
    to_host: Option<&'s Platform>,
    done: HashMap<DraftIndex, DraftIndex>,
    new: DraftGraph,
}

impl Sharing<'_, '_> {
    /// Rebuilds `root` after all that it needs; the first visit decides whether a unit is for the host.
    fn rebuild(&mut self, root: DraftIndex) -> Result<DraftIndex, UnitError> {
        if let Some(&known) = self.done.get(&root) {
            return Ok(known);
        }
        let mut open: HashSet<DraftIndex> = HashSet::new();
        let mut stack = vec![self.enter(root, false, &mut open)?];
        loop {
            let Some(frame) = stack.last_mut() else {
                // The loop leaves when the first frame is finished.
                return Ok(root);
            };
            if let Some(dependency) = frame.dependencies.get_mut(frame.next) {
                if let Some(&known) = self.done.get(&dependency.unit) {
                    dependency.unit = known;
                    frame.next += 1;
                } else {
                    let (unit, for_host) = (dependency.unit, dependency.unit_for.host);
                    let frame = self.enter(unit, for_host, &mut open)?;
                    stack.push(frame);
                }
                continue;
            }
            let finished = stack.pop();
            if let Some(frame) = finished {
                open.remove(&frame.unit);
                let old = frame.unit;
                let new = self.finish(frame);
                self.done.insert(old, new);
                if stack.is_empty() {
                    return Ok(new);
                }
            }
        }
    }

    fn enter(
        &self,
        unit: DraftIndex,
        for_host: bool,
        open: &mut HashSet<DraftIndex>,
    ) -> Result<Frame, UnitError> {
        if !open.insert(unit) {
            return Err(UnitError::Cycle {
                package: self.packages.id(self.interner.get(unit).package).clone(),
            });
        }
        Ok(Frame {
            unit,
            for_host,
            dependencies: self.graph.get(&unit).cloned().unwrap_or_default(),
            next: 0,
        })
    }

    fn finish(&mut self, frame: Frame) -> DraftIndex {
        let unit = self.interner.get(frame.unit).as_ref().clone();
        let platform = match self.to_host {
            Some(host) if *host == unit.platform => Platform::Host,
            _ => unit.platform.clone(),
        };
        let mut profile = unit.profile.clone();
        let has_debug = |profile: &DraftProfile| profile.profile.debug != DebugInfo::None;
        if matches!(profile.profile.strip, Strip::Deferred(_))
            && !has_debug(&profile)
            && frame
                .dependencies
                .iter()
                .all(|dependency| !has_debug(&self.interner.get(dependency.unit).profile))
        {
            // Nothing asks for debug information: what the standard library brings is not wanted either.
            profile.profile.strip = Strip::Resolved(StripInner::Named("debuginfo".to_owned()));
        }
        if let Some(host) = self.to_host
            && frame.for_host
            && profile.debug_deferred
        {
            profile.debug_deferred = false;
            let twin = self.interner.intern(Draft {
                profile: profile.clone(),
                platform: host.clone(),
                ..unit.clone()
            });
            if !self.graph.contains_key(&twin) {
                profile.profile.debug = DebugInfo::None;
            }
        }
        let new = self.interner.intern(Draft {
            profile,
            platform,
            dependencies: frame
                .dependencies
                .iter()
                .map(|dependency| dependency.unit)
                .collect(),
            ..unit
        });
        self.new.entry(new).or_insert(frame.dependencies);
        new
    }
}

/// Removes documentation units that would write the same pages as another: those of the host where the target has
/// them, and those of older versions. Source: cargo's `remove_duplicate_doc`.
pub(crate) fn remove_duplicate_documentation(
    packages: &PackageGraph<'_>,
    interner: &Interner,
    graph: &mut DraftGraph,
    roots: &[DraftIndex],
    only_host_requested: bool,
) {
    let mut by_crate: BTreeMap<String, Vec<DraftIndex>> = BTreeMap::new();
    for &unit in graph.keys() {
        let draft = interner.get(unit);
        if draft.mode == Mode::Doc {
            by_crate
                .entry(draft.target.crate_name())
                .or_default()
                .push(unit);
        }
    }
    let mut removed: HashSet<DraftIndex> = HashSet::new();
    for mut units in by_crate.into_values() {
        if units.len() == 1 {
            continue;
        }
        let mut keep = |units: Vec<DraftIndex>, unwanted: &dyn Fn(&Draft) -> bool| {
            let (gone, kept): (Vec<_>, Vec<_>) = units
                .into_iter()
                .partition(|&unit| unwanted(interner.get(unit)) && !roots.contains(&unit));
            removed.extend(gone);
            kept
        };
        if only_host_requested {
            units = keep(units, &|draft| draft.platform == Platform::Host);
            if units.len() == 1 {
                continue;
            }
        }
        let mut by_package: BTreeMap<(&PackageName, &SourceId, &Platform), Vec<DraftIndex>> =
            BTreeMap::new();
        for unit in units {
            let draft = interner.get(unit);
            let id = packages.id(draft.package);
            by_package
                .entry((id.name(), id.source(), &draft.platform))
                .or_default()
                .push(unit);
        }
        for units in by_package.into_values() {
            let version = |draft: &Draft| packages.id(draft.package).version();
            let newest = units.iter().map(|&unit| version(interner.get(unit))).max();
            if units.len() > 1
                && let Some(newest) = newest
            {
                keep(units, &|draft| version(draft) < newest);
            }
        }
    }
    for unit in &removed {
        graph.remove(unit);
    }
    for dependencies in graph.values_mut() {
        dependencies.retain(|dependency| !removed.contains(&dependency.unit));
    }
    let mut reached = HashSet::new();
    let mut waiting = roots.to_vec();
    while let Some(unit) = waiting.pop() {
        if reached.insert(unit) {
            waiting.extend(
                graph
                    .get(&unit)
                    .into_iter()
                    .flatten()
                    .map(|dependency| dependency.unit),
            );
        }
    }
    graph.retain(|unit, _| reached.contains(unit));
}

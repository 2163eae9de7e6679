//! Tests of resolution over registries that are written down as text.

mod explanations;
mod oracle;
mod registry;
mod relock;
mod rules;

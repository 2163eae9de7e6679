//! `cargo kiln …`: the same program under the name that cargo looks for.

fn main() {}

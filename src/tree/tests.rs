use super::*;

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a test's own path")
}

fn blob(text: &str) -> BlobRef {
    BlobRef::of(text.as_bytes())
}

/// A small generator of numbers (splitmix64): the cases are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

#[derive(Debug, Clone)]
enum Part {
    File(String, String, bool),
    Symlink(String, String),
    Empty(String),
    Subtree(String, TreeRef),
}

fn compose(parts: &[Part]) -> Result<EncodedTree, TreeError> {
    let mut builder = TreeBuilder::new();
    for part in parts {
        match part {
            Part::File(at, text, executable) => builder.file(&path(at), blob(text), *executable)?,
            Part::Symlink(at, target) => builder.symlink(&path(at), target)?,
            Part::Empty(at) => builder.directory(&path(at))?,
            Part::Subtree(at, tree) => builder.subtree(&path(at), *tree)?,
        };
    }
    Ok(builder.encode())
}

fn arbitrary(numbers: &mut Numbers) -> Vec<Part> {
    let mut names: Vec<String> = Vec::new();
    for _ in 0..=numbers.next(12) {
        let depth = 1 + numbers.next(3);
        let parts: Vec<_> = (0..depth)
            .map(|_| ["a", "b", "c", "ä", "a b", "-"][numbers.next(6) as usize])
            .collect();
        let name = parts.join("/");
        let clash = names.iter().any(|other| {
            *other == name
                || other.starts_with(&format!("{name}/"))
                || name.starts_with(&format!("{other}/"))
        });
        if !clash {
            names.push(name);
        }
    }
    names
        .into_iter()
        .map(|name| match numbers.next(4) {
            0 => Part::Symlink(name, format!("../{}", numbers.next(3))),
            1 => Part::Empty(name),
            2 => Part::Subtree(name, Directory::new().tree_ref()),
            _ => Part::File(name, numbers.next(3).to_string(), numbers.next(2) == 0),
        })
        .collect()
}

#[test]
fn order_of_insertion_does_not_reach_the_bytes_and_every_value_does() {
    let mut numbers = Numbers(1);
    for _ in 0..300 {
        let parts = arbitrary(&mut numbers);
        let encoded = compose(&parts).expect("no clash");
        let mut shuffled = parts.clone();
        for last in (1..shuffled.len()).rev() {
            shuffled.swap(last, numbers.next(last as u64 + 1) as usize);
        }
        assert_eq!(compose(&shuffled).expect("no clash"), encoded);

        let changed_at = numbers.next(parts.len() as u64) as usize;
        let mut changed = parts.clone();
        changed[changed_at] = match changed[changed_at].clone() {
            Part::File(at, text, executable) if numbers.next(2) == 0 => {
                Part::File(at, text, !executable)
            }
            Part::File(at, text, executable) => Part::File(at, text + "!", executable),
            Part::Symlink(at, target) => Part::Symlink(at, target + "!"),
            Part::Empty(at) => Part::Symlink(at, "x".into()),
            Part::Subtree(at, _) => Part::File(at, String::new(), false),
        };
        assert_ne!(compose(&changed).expect("no clash").root, encoded.root);

        for (digest, bytes) in &encoded.levels {
            let level = Directory::decode(bytes).expect("canonical");
            assert_eq!(level.encode(), *bytes);
            assert_eq!(level.tree_ref().digest, *digest);
        }
    }
}

#[test]
fn the_digest_of_a_known_tree_is_the_one_of_its_wire_bytes() {
    // The empty directory is the empty message.
    assert_eq!(
        Directory::new().tree_ref().digest.as_bytes(),
        blake3::hash(b"").as_bytes()
    );
    let mut builder = TreeBuilder::new();
    builder
        .file(&path("bin/x"), blob("x"), true)
        .and_then(|builder| builder.symlink(&path("l"), "bin/x"))
        .expect("no clash");
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let digest = |hash: &str, size: u8| {
        let mut bytes = vec![0x12, 0x44, 0x0a, 0x40];
        bytes.extend(hash.as_bytes());
        bytes.extend([0x10, size]);
        bytes
    };
    let mut bin = vec![0x0a, 0x4b, 0x0a, 1, b'x'];
    bin.extend(digest(&hash(b"x"), 1));
    bin.extend([0x20, 1]);
    let mut root = vec![0x12, 0x4b, 0x0a, 3, b'b', b'i', b'n'];
    root.extend(digest(&hash(&bin), bin.len() as u8));
    root.extend(b"\x1a\x0a\x0a\x01l\x12\x05bin/x");
    let encoded = builder.encode();
    assert_eq!(encoded.root.digest.to_hex(), hash(&root));
    assert_eq!(encoded.root.size_bytes, root.len() as u64);
    assert_eq!(encoded.levels[&encoded.root.digest], root);
}

#[test]
fn a_mounted_tree_gives_the_digest_of_the_same_files_put_one_by_one() {
    let mut inner = TreeBuilder::new();
    inner
        .file(&path("b/c"), blob("c"), false)
        .expect("no clash");
    let mounted = compose(&[
        Part::Subtree("x/inner".into(), inner.encode().root),
        Part::File("x/other".into(), "o".into(), false),
    ])
    .expect("no clash");
    let flat = compose(&[
        Part::File("x/other".into(), "o".into(), false),
        Part::File("x/inner/b/c".into(), "c".into(), false),
    ])
    .expect("no clash");
    assert_eq!(mounted.root, flat.root);
}

#[test]
fn contradictions_are_errors_in_either_order() {
    let file = |at: &str, text: &str| Part::File(at.into(), text.into(), false);
    let tree = blob("not really");
    let tree = TreeRef {
        digest: TreeDigest::from_bytes(*tree.digest.as_bytes()),
        size_bytes: 1,
    };
    let cases = [
        (file("a", "1"), file("a", "2")),
        (file("a", "1"), Part::File("a".into(), "1".into(), true)),
        (file("a", "1"), file("a/b", "1")),
        (file("a", "1"), Part::Empty("a".into())),
        (Part::Symlink("a".into(), "x".into()), file("a/b", "1")),
        (Part::Subtree("a".into(), tree), file("a/b", "1")),
        (Part::Subtree("a/b".into(), tree), file("a", "1")),
        (Part::Subtree("a".into(), tree), Part::Empty("a".into())),
    ];
    for (first, second) in cases {
        for parts in [[first.clone(), second.clone()], [second, first]] {
            let error = compose(&parts).expect_err("a contradiction");
            assert!(
                matches!(
                    error,
                    TreeError::Conflict { .. } | TreeError::NotADirectory { .. }
                ),
                "{parts:?}: {error}"
            );
        }
    }
    for part in [file("a", "1"), Part::Subtree("a".into(), tree)] {
        compose(&[part.clone(), part]).expect("the same twice is no contradiction");
    }
}

fn closed(builder: &TreeBuilder) -> Tree {
    let encoded = builder.encode();
    Tree::load(encoded.root, &mut |tree| {
        Directory::decode(
            encoded
                .levels
                .get(&tree.digest)
                .ok_or(TreeError::MissingLevel(tree.digest))?,
        )
    })
    .expect("a closed tree")
}

#[test]
fn a_tree_message_round_trips_with_parents_first_and_each_level_once() {
    let mut builder = TreeBuilder::new();
    for at in ["a/same/f", "b/same/f", "b/deeper/same/f", "z"] {
        builder.file(&path(at), blob("f"), false).expect("no clash");
    }
    let tree = closed(&builder);
    let message = tree.to_message();
    assert_eq!(Tree::from_message(&message).expect("well formed"), tree);
    assert_eq!(
        Tree::decode(&message.encode_to_vec()).expect("well formed"),
        tree
    );
    // `a` and `b/deeper` are the same directory.
    assert_eq!(message.children.len(), 3);
    let order: Vec<_> = std::iter::once(message.root.clone().expect("a root"))
        .chain(message.children.clone())
        .collect();
    let place = |digest: &str| {
        order
            .iter()
            .position(|level| reapi::Digest::of_bytes(&level.encode_to_vec()).hash == digest)
    };
    for (at, level) in order.iter().enumerate() {
        for node in &level.directories {
            let child = place(&node.digest.clone().expect("a digest").hash);
            assert!(child > Some(at), "{node:?}");
        }
    }
    assert_eq!(tree.files().len(), 4);
    assert!(matches!(
        tree.get(&path("b/deeper/same/f")),
        Some(Entry::File { .. })
    ));
    assert_eq!(tree.get(&path("b/deeper/same/f/g")), None);
    assert_eq!(tree.get(&path("nothing")), None);
}

#[test]
fn a_tree_that_doubles_at_every_level_is_counted_without_being_walked() {
    let mut levels = BTreeMap::new();
    let mut below = Directory::new();
    let mut root = below.tree_ref();
    levels.insert(root.digest, below);
    for _ in 0..100 {
        below = Directory::new();
        for name in ["a", "b"] {
            below
                .insert(name, Entry::Directory(root))
                .expect("a new name");
        }
        root = below.tree_ref();
        levels.insert(root.digest, below);
    }
    let tree = Tree::load(root, &mut |tree| {
        levels
            .get(&tree.digest)
            .cloned()
            .ok_or(TreeError::MissingLevel(tree.digest))
    })
    .expect("closed");
    assert_eq!(tree.expanded_entries(), u64::MAX);
    assert_eq!(tree.to_message().children.len(), 100);
}

#[test]
fn merging_adds_beneath_a_loaded_tree() {
    let mut inner = TreeBuilder::new();
    inner
        .file(&path("d/f"), blob("f"), false)
        .expect("no clash");
    let mut builder = TreeBuilder::new();
    builder
        .file(&path("at/d/g"), blob("g"), false)
        .and_then(|builder| builder.merge(Some(&path("at")), &closed(&inner)))
        .expect("no clash");
    let mut flat = TreeBuilder::new();
    flat.file(&path("at/d/f"), blob("f"), false)
        .and_then(|flat| flat.file(&path("at/d/g"), blob("g"), false))
        .expect("no clash");
    assert_eq!(builder.encode(), flat.encode());
    builder
        .file(&path("at/d/f/x"), blob("x"), false)
        .expect_err("a file is in the way");
}

#[test]
fn attributes_of_a_foreign_tree_are_dropped_and_digests_made_anew() {
    let properties = Some(reapi::NodeProperties {
        unix_mode: Some(reapi::UInt32Value { value: 0o640 }),
        ..reapi::NodeProperties::default()
    });
    let child = reapi::Directory {
        files: vec![reapi::FileNode {
            name: "f".into(),
            digest: Some(blob("f").into()),
            is_executable: false,
            node_properties: properties.clone(),
        }],
        node_properties: properties,
        ..reapi::Directory::default()
    };
    let root = reapi::Directory {
        directories: vec![reapi::DirectoryNode {
            name: "d".into(),
            digest: Some(reapi::Digest::of_bytes(&child.encode_to_vec())),
        }],
        ..reapi::Directory::default()
    };
    assert!(matches!(
        Directory::decode(&child.encode_to_vec()),
        Err(TreeError::NotCanonical(_))
    ));
    let tree = Tree::from_message(&reapi::Tree {
        root: Some(root.clone()),
        children: vec![child],
    })
    .expect("well formed");
    let plain = compose(&[Part::File("d/f".into(), "f".into(), false)]).expect("no clash");
    assert_eq!(tree.root(), plain.root);
    assert!(matches!(
        Tree::from_message(&reapi::Tree {
            root: Some(root),
            children: vec![],
        }),
        Err(TreeError::MissingLevel(_))
    ));
}

#[test]
fn malformed_messages_are_refused_and_never_panic() {
    let file = |name: &str| reapi::FileNode {
        name: name.into(),
        digest: Some(blob("f").into()),
        is_executable: false,
        node_properties: None,
    };
    let link = |name: &str, target: &str| reapi::SymlinkNode {
        name: name.into(),
        target: target.into(),
        node_properties: None,
    };
    let files = |files: Vec<reapi::FileNode>| reapi::Directory {
        files,
        ..reapi::Directory::default()
    };
    let long = "x".repeat(256);
    let mut cases: Vec<_> = ["", ".", "..", "a/b", "a\0", &long]
        .into_iter()
        .map(|name| files(vec![file(name)]))
        .collect();
    cases.push(files(vec![file("b"), file("a")]));
    cases.push(files(vec![file("a"), file("a")]));
    cases.push(reapi::Directory {
        symlinks: vec![link("a", "x")],
        ..files(vec![file("a")])
    });
    cases.push(reapi::Directory {
        symlinks: vec![link("a", "")],
        ..reapi::Directory::default()
    });
    cases.push(files(vec![reapi::FileNode {
        digest: None,
        ..file("a")
    }]));
    for case in &cases {
        Directory::decode(&case.encode_to_vec()).expect_err("malformed");
    }

    let mut builder = TreeBuilder::new();
    builder
        .file(&path("d/f"), blob("f"), true)
        .and_then(|builder| builder.symlink(&path("l"), "d"))
        .expect("no clash");
    let good = closed(&builder).to_message().encode_to_vec();
    let mut numbers = Numbers(7);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=numbers.next(3) {
            let at = numbers.next(bytes.len() as u64) as usize;
            match numbers.next(3) {
                0 => bytes[at] = numbers.next(256) as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, numbers.next(256) as u8),
            }
        }
        if let Ok(tree) = Tree::decode(&bytes) {
            let again = tree.to_message().encode_to_vec();
            assert_eq!(Tree::decode(&again).as_ref(), Ok(&tree));
        }
        if let Ok(level) = Directory::decode(&bytes) {
            assert_eq!(level.encode(), bytes);
        }
    }
}

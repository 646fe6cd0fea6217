//! Checks the direction of imports. Each module of a list may import the modules above it, but none below it, and there
//! are no import cycles. These lists are the only place that defines the order, with one line for each layer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The modules of the crate, the lowest first. Modules of the same layer don't import each other.
const CRATE: &[(&[&str], &str)] = &[
    (
        &["machinery"],
        "the clock, field managers, the connection, watches",
    ),
    (&["api"], "the objects that users write"),
    (&["lifecycle"], "the core, without input and output"),
    (
        &["admission"],
        "the admission policies, with the messages of the core",
    ),
    (&["leader"], "leader election"),
    (&["telemetry"], "metrics, health, log lines"),
    (&["provider"], "the provider interface and the providers"),
    (
        &["controller"],
        "the controller, which does the input and output of the core",
    ),
    (&["cli"], "the kubectl plugin"),
    (&["check"], "belay check"),
    (&["operator"], "the operator, built from all of these"),
];

/// The modules of the core, the lowest first.
const LIFECYCLE: &[(&[&str], &str)] = &[
    (&["template"], "message templates"),
    (
        &["managed_fields", "messages", "names", "text"],
        "field ownership, stable messages, names, limits of texts",
    ),
    (
        &["errors", "preflight", "settings"],
        "errors that several layers use; what will be in the way; the settings of a pool's nodes",
    ),
    (
        &["observed", "step_names"],
        "what a provider observes; the names of steps",
    ),
    (
        &["plan"],
        "the plan of an Operation, as its status stores it",
    ),
    (&["rules"], "the rules of a provider that the core needs"),
    (&["snapshot"], "all objects of a cluster at one time"),
    (&["edit"], "changes of a snapshot in memory"),
    (&["steps"], "an operation's steps"),
    (&["windows"], "when maintenance windows are open"),
    (
        &["facts"],
        "the desired and the observed state, who requested it and when",
    ),
    (&["desired"], "the changes that each target needs"),
    (&["gate"], "whether an operation may start"),
    (&["planning"], "the plan of an operation that starts"),
    (&["transition"], "the next state of an Operation"),
    (
        &["ledger"],
        "the lock, the last operations, the holds, the history",
    ),
    (&["report"], "statuses, conditions, Events"),
    (&["action"], "the actions for the controller"),
    (
        &["creation", "leftovers", "orphaned_deletion"],
        "Operations to create; what ended Operations left behind; deletion without an Operation",
    ),
    (&["finalizers"], "finalizers"),
    (&["decide"], "all actions, in order"),
    (&["forecast"], "the forecast of a cluster for `plan`"),
];

/// The plugin's modules, the lowest first.
const CLI: &[(&[&str], &str)] = &[
    (&["terminal"], "what any program on a terminal needs"),
    (&["cluster"], "what the plugin reads from the API server"),
    (&["display"], "what several commands show"),
    (&["command"], "the commands"),
];

/// Modules that are compiled only for tests.
const TESTS: &[&str] = &[
    "decide_tests",
    "fixtures",
    "invariants",
    "k9s_tests",
    "model",
    "properties",
    "rollout_tests",
    "tests",
    "screens",
];

/// Each module, with the crate's items that its `use` lines name, as paths from the crate's root.
type Imports = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

fn module_of(path: &Path, src: &Path) -> Vec<String> {
    let path = path
        .strip_prefix(src)
        .expect("below src")
        .with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let mut parts: Vec<_> = parts.collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        parts.pop();
    }
    parts
}

/// Returns the paths that a `use` tree names: `a::{b, c::d}` names `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![
            path.split("::")
                .map(|part| part.trim().to_owned())
                .collect(),
        ];
    };
    let prefix: Vec<_> = tree[..open]
        .split("::")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    let inside = &tree[open + 1..tree.rfind('}').expect("a closing brace")];
    let (mut depth, mut start, mut all) = (0, 0, Vec::new());
    for (at, letter) in inside.char_indices().chain([(inside.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inside[start..at].trim();
                if !part.is_empty() {
                    all.extend(
                        leaves(part)
                            .into_iter()
                            .map(|leaf| [prefix.clone(), leaf].concat()),
                    );
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    all
}

/// Returns a path in a module as a path from the crate's root, or `None` if it belongs to another crate.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let parents = path.iter().take_while(|part| *part == "super").count();
    match path.first().map(String::as_str) {
        Some("crate") => Some(path[1..].to_vec()),
        Some("self") => Some([module, &path[1..]].concat()),
        Some("super") => {
            let from = &module[..module.len().saturating_sub(parents)];
            Some([from, &path[parents..]].concat())
        }
        _ => None,
    }
}

/// Returns the text of a file without comments and without the parts that are compiled only for tests.
fn code(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let code: Vec<_> = lines.collect();
    let code = code.join("\n");
    code.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn imports_in(module: &[String], text: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let code = code(text);
    let mut rest = code.as_str();
    while let Some(at) = rest.find("use ") {
        let is_statement = at == 0 || rest[..at].ends_with(['\n', ' ', '(']);
        let (before, after) = rest.split_at(at);
        let line = before.rsplit('\n').next().unwrap_or_default().trim();
        let (tree, left) = after[4..].split_once(';').unwrap_or((&after[4..], ""));
        // `mod.rs` re-exports the modules below it; that isn't an import.
        if is_statement && line.is_empty() {
            found.extend(
                leaves(tree)
                    .iter()
                    .filter_map(|leaf| absolute(module, leaf)),
            );
        }
        rest = if is_statement { left } else { &after[4..] };
    }
    for (at, _) in code.match_indices("crate::") {
        let path = code[at + 7..]
            .split(|letter: char| !letter.is_alphanumeric() && !"_:".contains(letter));
        let path = path.into_iter().next().unwrap_or_default();
        let path: Vec<_> = path
            .split("::")
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        if path.len() > 1 {
            found.insert(path);
        }
    }
    found
}

fn imports() -> Imports {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let is_test = |module: &[String]| module.iter().any(|part| TESTS.contains(&part.as_str()));
    files
        .iter()
        .map(|path| (module_of(path, &src), path))
        .filter(|(module, _)| {
            !is_test(module) && module.first().is_some_and(|first| first != "bin")
        })
        .map(|(module, path)| {
            let text = fs::read_to_string(path).expect("a file");
            let imports = imports_in(&module, &text);
            (module, imports)
        })
        .collect()
}

fn place(layers: &[(&[&str], &str)], name: &str) -> Option<usize> {
    layers.iter().position(|(names, _)| names.contains(&name))
}

/// Returns the imports from layers that are not lower. `under` is the module that contains the layers.
fn upwards(imports: &Imports, layers: &[(&[&str], &str)], under: &[&str]) -> Vec<String> {
    let depth = under.len();
    let is_under =
        |path: &[String]| path.len() > depth && path.iter().zip(under).all(|(a, b)| a == b);
    let mut violations = Vec::new();
    for (module, paths) in imports.iter().filter(|(module, _)| is_under(module)) {
        let own = &module[depth];
        let Some(from) = place(layers, own) else {
            violations.push(format!("{} is in no layer", module.join("::")));
            continue;
        };
        for path in paths.iter().filter(|path| is_under(path)) {
            let other = &path[depth];
            if other == own {
                continue;
            }
            match place(layers, other) {
                Some(to) if to < from => {}
                Some(_) => {
                    violations.push(format!("{} uses {}", module.join("::"), path.join("::")));
                }
                None => violations.push(format!(
                    "{} uses {}: name it where it is defined",
                    module.join("::"),
                    path.join("::")
                )),
            }
        }
    }
    violations
}

#[test]
fn modules_of_the_core_import_only_lower_layers() {
    assert_eq!(
        upwards(&imports(), LIFECYCLE, &["lifecycle"]),
        Vec::<String>::new()
    );
}

#[test]
fn modules_of_the_plugin_import_only_lower_layers() {
    assert_eq!(upwards(&imports(), CLI, &["cli"]), Vec::<String>::new());
}

#[test]
fn modules_of_the_crate_import_only_lower_layers() {
    let mut imports = imports();
    // The program itself may import everything: it reads flags and starts the rest.
    imports.retain(|module, _| {
        module
            .first()
            .is_some_and(|first| first != "main" && first != "flags")
    });
    assert_eq!(upwards(&imports, CRATE, &[]), Vec::<String>::new());
}

/// Returns the module that defines a path: the longest prefix of the path that is a module.
fn file_of(imports: &Imports, path: &[String]) -> Option<Vec<String>> {
    (1..=path.len())
        .rev()
        .map(|length| path[..length].to_vec())
        .find(|module| imports.contains_key(module))
}

#[test]
fn modules_of_the_core_have_no_import_cycles() {
    let imports = imports();
    let core = |module: &&Vec<String>| module.len() > 1 && module[0] == "lifecycle";
    let mut edges: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for module in imports.keys().filter(core) {
        let to = imports[module]
            .iter()
            .filter_map(|path| file_of(&imports, path));
        let to = to.filter(|to| to != module && to.len() > 1);
        // A module and its submodules count as one.
        let to = to.filter(|to| !module.starts_with(to) && !to.starts_with(module));
        edges.insert(module, to.collect());
    }
    while let Some(leaf) = edges
        .iter()
        .find(|(_, to)| to.iter().all(|to| !edges.contains_key(to)))
        .map(|(module, _)| *module)
    {
        edges.remove(leaf);
    }
    assert!(edges.is_empty(), "import cycle: {edges:#?}");
}

#[test]
fn an_import_of_a_higher_layer_is_found() {
    let module = ["lifecycle", "facts", "target"].map(str::to_owned);
    let text = "use super::super::{plan::Job, gate::{self, Verdict}};\nfn f() { crate::lifecycle::decide::decide() }";
    let imports: Imports = [(module.to_vec(), imports_in(&module, text))].into();
    let found = upwards(&imports, LIFECYCLE, &["lifecycle"]);
    assert_eq!(
        found,
        [
            "lifecycle::facts::target uses lifecycle::decide::decide",
            "lifecycle::facts::target uses lifecycle::gate::Verdict",
            "lifecycle::facts::target uses lifecycle::gate::self",
        ]
    );
}

//! Manifests, as kubectl reads them: YAML or JSON files, folders of such files, and standard input.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::Value;

use crate::api::GROUP;

/// The extensions of files in a folder that kubectl reads as manifests.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Where manifests are read from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// Standard input.
    Stdin,
    /// A file or a folder.
    Path(PathBuf),
}

/// The flags that name manifests, as those of kubectl apply.
#[derive(Args, Debug)]
pub struct ManifestFlags {
    /// Files and folders of manifests, as kubectl apply takes them; - is standard input.
    #[arg(
        long = "filename",
        short = 'f',
        required = true,
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub files: Vec<String>,

    /// Read subfolders, too.
    #[arg(long, short = 'R')]
    pub recursive: bool,
}

impl ManifestFlags {
    /// Reads all objects, and separates Belay's own objects from the others.
    ///
    /// # Errors
    /// Returns an error if something can't be read, or isn't a manifest.
    pub fn read(&self) -> anyhow::Result<(Vec<Manifest>, Vec<Manifest>)> {
        let sources = self.files.iter().map(|file| Source::of(file));
        Ok(ours(read(sources, self.recursive)?))
    }
}

/// An object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Where the object was read: `pools.yaml, document 2`.
    pub place: String,
    /// The object.
    pub object: Value,
}

impl Source {
    /// Returns the source that an argument means.
    fn of(argument: &str) -> Self {
        match argument {
            "-" => Self::Stdin,
            path => Self::Path(path.into()),
        }
    }
}

impl Manifest {
    /// Its kind.
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    /// Its name, or the prefix of its generated name.
    pub fn name(&self) -> &str {
        let metadata = &self.object["metadata"];
        let name = metadata["name"].as_str();
        name.or(metadata["generateName"].as_str())
            .unwrap_or_default()
    }

    /// Its namespace, if it has one.
    pub fn namespace(&self) -> Option<&str> {
        self.object["metadata"]["namespace"].as_str()
    }

    fn is_ours(&self) -> bool {
        let version = self.object["apiVersion"].as_str().unwrap_or_default();
        version
            .split_once('/')
            .is_some_and(|(group, _)| group == GROUP)
    }
}

/// Separates Belay's own objects from the others.
fn ours(manifests: Vec<Manifest>) -> (Vec<Manifest>, Vec<Manifest>) {
    manifests.into_iter().partition(Manifest::is_ours)
}

/// Reads all objects.
///
/// # Errors
/// Returns an error if something can't be read, or isn't a manifest.
fn read(
    sources: impl Iterator<Item = Source>,
    is_recursive: bool,
) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for source in sources {
        match source {
            Source::Stdin => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.context("failed to read standard input")?;
                manifests.extend(parse("standard input", &text)?);
            }
            Source::Path(path) => {
                for file in files(&path, is_recursive)? {
                    let name = file.display().to_string();
                    let text = fs::read_to_string(&file);
                    let text = text.with_context(|| format!("failed to read {name}"))?;
                    manifests.extend(parse(&name, &text)?);
                }
            }
        }
    }
    if manifests.is_empty() {
        bail!("the files that -f names contain no object");
    }
    Ok(manifests)
}

/// Returns the file itself, or the manifests in a folder, sorted by name.
fn files(path: &Path, is_recursive: bool) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let folder = || format!("failed to read the folder {}", path.display());
    let entries: Result<Vec<_>, _> = fs::read_dir(path).with_context(folder)?.collect();
    let mut paths: Vec<_> = entries.with_context(folder)?;
    paths.sort_by_key(fs::DirEntry::path);
    let mut found = Vec::new();
    for path in paths.iter().map(fs::DirEntry::path) {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() && is_recursive {
            found.extend(files(&path, is_recursive)?);
        } else if path.is_file() && extension.is_some_and(|it| EXTENSIONS.contains(&it)) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Returns the objects in a text. A List is split into its items.
fn parse(name: &str, text: &str) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    let mut number = 0;
    for document in documents(text) {
        let place = format!("{name}, document {}", number + 1);
        let object: Value = serde_saphyr::from_str(&document).map_err(|error| {
            anyhow!(
                "{place} isn't valid YAML: {}",
                first_line(&error.to_string())
            )
        })?;
        if object.is_null() {
            continue;
        }
        number += 1;
        let is_object = object["kind"].is_string() && object["apiVersion"].is_string();
        if !is_object {
            bail!("{place} isn't a Kubernetes object: apiVersion or kind is missing");
        }
        match object["items"].as_array() {
            Some(items) => manifests.extend(items.iter().map(|item| Manifest {
                place: place.clone(),
                object: item.clone(),
            })),
            None => manifests.push(Manifest { place, object }),
        }
    }
    Ok(manifests)
}

/// Splits a text into its documents. Each document starts after as many empty lines as there were lines before it, so
/// that an error names the line in the file.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        let rest = line.strip_prefix("---");
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if let Some(rest) = rest {
            documents.push("\n".repeat(number) + rest + "\n");
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "apiVersion: belay.dev/v1alpha1\nkind: AgentPool\nmetadata: {name: np1}\n";

    #[test]
    fn empty_documents_are_not_counted() {
        let text = format!("# Pools.\n---\n{POOL}---\n# Nothing.\n---\n{POOL}");
        let places: Vec<_> = parse("pools.yaml", &text)
            .expect("objects")
            .into_iter()
            .map(|manifest| manifest.place)
            .collect();
        assert_eq!(places, ["pools.yaml, document 1", "pools.yaml, document 2"]);
    }

    #[test]
    fn a_list_is_its_items() {
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": "np1"}}]}"#;
        let manifests = parse("list.json", list).expect("objects");
        assert_eq!((manifests.len(), manifests[0].name()), (1, "np1"));
    }

    #[test]
    fn an_error_in_yaml_names_the_file_the_document_and_the_line() {
        let text = format!("{POOL}---\nkind: AgentPool\n  count: 3\n");
        let error = parse("pools.yaml", &text).expect_err("broken").to_string();
        assert!(
            error.starts_with("pools.yaml, document 2 isn't valid YAML: ")
                && error.contains("line 6"),
            "{error}"
        );
    }
}

//! Builds images with one static program each, for images that a node needs and no image builder made.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{Error, namespaces::run, tried};

/// The program of a pod's sandbox: it waits.
const PAUSE: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

/// Writes an archive with an image of one static program, as `docker save` does. Returns its path.
///
/// # Errors
/// If the program can't be read, or the archive can't be written.
pub fn archive(name: &str, program: &Path, folder: &Path) -> Result<PathBuf, Error> {
    let file = program.file_name().unwrap_or_default().to_string_lossy();
    let root = tried("failed to make a folder", tempfile::tempdir_in(folder))?;
    let path = |name: &str| root.path().join(name);
    tried("failed to copy a program", fs::copy(program, path(&file)))?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let inside = text(root.path());
    let tar = |archive: &Path, files: &[&str]| {
        let owner = ["--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"];
        let archive = text(archive);
        let args = [&["-C", &inside, "-cf", &archive], &owner[..], files].concat();
        run("tar", &args)
    };
    tar(&path("layer.tar"), &[&file])?;
    let layer = tried("failed to read a layer", fs::read(path("layer.tar")))?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let digest = Sha256::digest(layer)
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [format!("/{file}")]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    for (name, value) in [("config.json", config), ("manifest.json", manifest)] {
        tried(
            "failed to write an image",
            fs::write(path(name), value.to_string()),
        )?;
    }
    let archive = folder.join(format!("{file}.tar"));
    tar(&archive, &["manifest.json", "config.json", "layer.tar"])?;
    Ok(archive)
}

/// Builds the program of a sandbox, and returns its path.
pub(crate) fn pause(folder: &Path) -> Result<PathBuf, Error> {
    let (source, program) = (folder.join("pause.c"), folder.join("pause"));
    tried("failed to write pause.c", fs::write(&source, PAUSE))?;
    let built = Command::new("cc")
        .args(["-static", "-Os", "-o"])
        .arg(&program)
        .arg(&source)
        .output();
    let built = tried("failed to run cc", built)?;
    if built.status.success() {
        return Ok(program);
    }
    Err(Error::Build {
        what: "pause".into(),
        why: String::from_utf8_lossy(&built.stderr).into_owned(),
    })
}

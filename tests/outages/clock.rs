//! An operator's clock that the test sets. A small preloaded library shifts it.

use std::{
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::{NamedTempFile, TempDir};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/outages/shifted_clock.c");

/// A clock that differs from the machine's.
pub struct Clock {
    shift: NamedTempFile,
}

impl Clock {
    /// Creates a clock that differs by this many seconds.
    pub fn shifted(seconds: i64) -> Self {
        let this = Self {
            shift: NamedTempFile::new().expect("a file"),
        };
        this.shift(seconds);
        this
    }

    /// Shifts the clock, with immediate effect for the programs that use it.
    pub fn shift(&self, seconds: i64) {
        let written = self.shift.as_file().write_all_at(&seconds.to_ne_bytes(), 0);
        written.expect("written");
    }

    /// Returns environment variables that make an operator use the clock, together with additional ones.
    pub fn environment(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = [
            ("LD_PRELOAD", library().display().to_string()),
            ("CLOCK_SHIFT", self.shift.path().display().to_string()),
        ];
        let own = own.map(|(key, value)| (key.to_owned(), value));
        let more = more
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        own.into_iter().chain(more).collect()
    }
}

/// Returns the library, which is compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shifted_clock.so");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-O1", SOURCE, "-o"])
            .arg(&path);
        assert!(compiler.status().expect("a C compiler").success());
        (folder, path)
    });
    path
}

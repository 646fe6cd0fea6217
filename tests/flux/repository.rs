//! A Git repository that a person commits to, and that the Git server serves.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::stage::run;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

pub struct Repository {
    folder: PathBuf,
}

impl Repository {
    /// Creates an empty repository with the branch `main`.
    pub fn create(folder: PathBuf) -> Self {
        fs::create_dir(&folder).expect("a folder");
        let this = Self { folder };
        this.git(&["init", "--quiet", "--initial-branch=main"]);
        this
    }

    /// Returns its path on the Git server.
    pub fn path(&self) -> String {
        let name = self.folder.file_name().expect("a name");
        format!("{}/.git", name.display())
    }

    /// Copies a file of the examples. Both paths are relative.
    pub fn copy(&self, example: &str, to: &str) {
        let text = fs::read_to_string(Path::new(EXAMPLES).join(example)).expect("the example");
        self.write(to, &text);
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    /// Replaces a text in a file.
    pub fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.join(file);
        let before = fs::read_to_string(&path).expect("the file");
        let after = before.replace(from, to);
        assert_ne!(before, after, "{file} has no {from}");
        fs::write(path, after).expect("written");
    }

    /// Commits all changes. Returns the hash of the commit.
    pub fn commit(&self) -> String {
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message=Change the fleet"]);
        self.head()
    }

    /// Reverts the last commit with another commit. Returns the hash of the new one.
    pub fn revert(&self) -> String {
        self.git(&["revert", "--no-edit", "HEAD"]);
        self.head()
    }

    fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.folder).args(args);
        // The test must not depend on the git settings of the user who runs it.
        git.env("GIT_CONFIG_GLOBAL", "/dev/null");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "Jane");
            git.env(format!("GIT_{who}_EMAIL"), "jane@example.com");
        }
        run(&mut git, "").unwrap_or_else(|error| panic!("git {args:?}: {error}"))
    }
}

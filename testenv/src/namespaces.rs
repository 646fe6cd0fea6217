//! Linux namespaces for a test: a node's changes to the network, to mounts and to processes stay in them, and end with
//! them.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::{Component, Error, binaries, node, process, tried};

/// Set if the process is already inside.
const INSIDE: &str = "TESTENV_NAMESPACES";

/// Tools that a node needs and that aren't built here: each program, and the Debian package that contains it.
const PROGRAMS: [(&str, &str); 7] = [
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("tar", "tar"),
    ("cc", "gcc libc6-dev"),
    ("pkg-config", "pkg-config"),
];

/// Restarts this program once in its own network, mount and process namespaces. When it ends, everything in them is
/// killed: no process, mount or address is left. Before that, it builds the parts of a control plane and of a node, and
/// these tools.
///
/// Call it first, before any thread starts. It doesn't return if it restarts the program.
///
/// # Errors
/// If something that a node needs is missing; the error names the Debian packages. If a binary can't be built.
pub fn enter(tools: &[&str]) -> Result<(), Error> {
    if env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    check_needs()?;
    // Inside there is no network to download the modules.
    let parts = Component::ALL.map(Component::name);
    for name in parts.iter().chain(&node::BINARIES).chain(tools) {
        binaries::binary(name)?;
    }
    let program = tried("failed to find this program", env::current_exe())?;
    let error = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ])
        .arg(program)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    tried("failed to run unshare", Err(error))
}

fn check_needs() -> Result<(), Error> {
    let missing = |what: String| Err(Error::Missing { what });
    if !rustix::process::geteuid().is_root() {
        return missing("a real node needs root: it creates namespaces, mounts and cgroups".into());
    }
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| *package)
        .collect();
    if !has_seccomp() {
        packages.push("libseccomp-dev");
    }
    if packages.is_empty() {
        return Ok(());
    }
    missing(format!(
        "a real node needs more packages (Debian: apt-get install {})",
        packages.join(" ")
    ))
}

fn is_there(program: &str) -> bool {
    let path =
        env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/sbin:/usr/bin:/sbin:/bin"));
    env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_owned()])
        .any(|folder| folder.join(program).is_file())
}

fn has_seccomp() -> bool {
    let found = Command::new("pkg-config")
        .args(["--exists", "libseccomp"])
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

/// Runs a program, and waits until it ends.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<(), Error> {
    process::output(Command::new(program).args(args)).map(drop)
}

//! Finds the binaries in `KUBEBUILDER_ASSETS`, or builds them from their Go modules once and keeps them outside of the
//! checkout. The name of their folder is a hash of everything that the build depends on. `TESTENV_KUBERNETES` chooses
//! an older Kubernetes.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use crate::{
    Error,
    families::{self, FAMILIES, Family},
    tried,
};

/// Names an older Kubernetes version, such as `1.33`, which `tools/kubernetes-1.33` builds.
const KUBERNETES: &str = "TESTENV_KUBERNETES";

/// How often a long build reports that it still runs.
const PROGRESS: Duration = Duration::from_secs(15);

const STAGES: [&str; 5] = [
    "node/fast/node-initialize.yaml",
    // Without leases: kwok takes a lease only for a node that it manages from the node's creation on.
    "node/heartbeat/node-heartbeat.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
];

/// Returns the path of a binary by its name, such as `kubectl`. Builds the binary if it doesn't exist yet.
///
/// # Errors
/// If the name isn't known, or if Go can't build the binary.
pub fn binary(name: &str) -> Result<PathBuf, Error> {
    if let Some(assets) = env::var_os("KUBEBUILDER_ASSETS") {
        let path = PathBuf::from(assets).join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let known = FAMILIES.iter().find_map(|family| {
        let package = family.packages.iter().find(|(binary, _)| *binary == name)?;
        Some((family, package.1))
    });
    let (family, package) = known.ok_or_else(|| Error::Build {
        what: name.into(),
        why: "testenv doesn't know this binary".into(),
    })?;
    family.binary(name, package)
}

/// Returns the files that describe to kwok how nodes and pods live. They are in the folder of kwok's module.
///
/// # Errors
/// If Go doesn't find the module.
pub fn kwok_stages() -> Result<Vec<PathBuf>, Error> {
    let kwok = &families::KWOK;
    let stages = kwok.module_folder(kwok.module)?.join("kustomize/stage");
    Ok(STAGES.iter().map(|stage| stages.join(stage)).collect())
}

/// Returns the folders with the CRDs of Flux's source-controller and kustomize-controller, within their modules.
///
/// # Errors
/// If Go doesn't find a module.
pub fn flux_crds() -> Result<Vec<PathBuf>, Error> {
    let flux = &families::FLUX;
    let modules = flux.packages.iter().map(|(_, package)| package);
    modules
        .map(|module| Ok(flux.module_folder(module)?.join("config/crd/bases")))
        .collect()
}

/// Returns the folder with the CRDs of Argo Rollouts, within its module.
///
/// # Errors
/// If Go doesn't find the module.
pub fn argo_rollouts_crds() -> Result<PathBuf, Error> {
    let argo = &families::ARGO_ROLLOUTS;
    Ok(argo.module_folder(argo.module)?.join("manifests/crds"))
}

/// Returns the folder of Argo CD's module. It has the CRDs in `manifests/crds`, and scripts in `hack`.
///
/// # Errors
/// If Go doesn't find the module.
pub fn argo_cd_folder() -> Result<PathBuf, Error> {
    let argo = &families::ARGO_CD;
    argo.module_folder(argo.module)
}

/// Returns the folder of a module that Cluster API's controllers are built from. `None` means the main module.
pub(crate) fn cluster_api_folder(module: Option<&str>) -> Result<PathBuf, Error> {
    let cluster_api = &families::CLUSTER_API;
    cluster_api.module_folder(module.unwrap_or(cluster_api.module))
}

impl Family {
    fn folder(&self) -> Result<PathBuf, Error> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
        let asked_for = env::var(KUBERNETES).unwrap_or_default();
        if self.name != "kubernetes" || asked_for.is_empty() {
            return Ok(tools.join(self.name));
        }
        let older = tools.join(format!("kubernetes-{asked_for}"));
        if older.is_dir() {
            return Ok(older);
        }
        Err(Error::Build {
            what: format!("Kubernetes {asked_for}"),
            why: format!(
                "{KUBERNETES} selects it, but {} does not exist",
                older.display()
            ),
        })
    }

    fn binary(&self, name: &str, package: &str) -> Result<PathBuf, Error> {
        let cache = self.cache()?;
        let path = cache.join(name);
        if path.is_file() {
            return Ok(path);
        }
        tried(
            format!("failed to make {}", cache.display()),
            fs::create_dir_all(&cache),
        )?;
        let lock = tried(
            "failed to lock the cache",
            File::create(cache.join(".lock")),
        )?;
        // Another process may be building the same binary; then this call waits for it.
        tried("failed to lock the cache", lock.lock())?;
        if !path.is_file() {
            self.build(name, package, &path)?;
        }
        Ok(path)
    }

    fn build(&self, name: &str, package: &str, path: &Path) -> Result<(), Error> {
        let version = self.version()?;
        let half_built = path.with_extension("new");
        let flags = self.linker_flags(&version);
        let mut build = Command::new("go");
        build
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &flags])
            .args(["-tags", self.tags, "-o"])
            .arg(&half_built)
            .arg(package)
            .env("CGO_ENABLED", if self.cgo { "1" } else { "0" })
            .current_dir(self.folder()?)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let log = path.with_extension("log");
        let errors = tried("failed to write the build's log", File::create(&log))?;
        let what = format!("{name} {version}");
        let mut child = build
            .stderr(errors)
            .spawn()
            .map_err(|error| no_go(&what, &error))?;
        eprintln!(
            "testenv: building {what} (the first time only; all of it takes about 6 minutes on 2 cores)"
        );
        let (began, mut reported) = (Instant::now(), Instant::now());
        let status = loop {
            if let Some(status) = tried("failed to wait for go", child.try_wait())? {
                break status;
            }
            if reported.elapsed() > PROGRESS {
                reported = Instant::now();
                eprintln!("testenv: building {what}: {} s", began.elapsed().as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        if !status.success() {
            let why = fs::read_to_string(&log).unwrap_or_default();
            return Err(Error::Build {
                what,
                why: crate::process::tail(&why),
            });
        }
        eprintln!("testenv: built {what} in {} s", began.elapsed().as_secs());
        tried(
            "failed to put the binary in place",
            fs::rename(&half_built, path),
        )
    }

    fn linker_flags(&self, version: &str) -> String {
        if self.name == "kubernetes" {
            return format!("-s -w -X k8s.io/component-base/version.gitVersion={version}");
        }
        "-s -w".into()
    }

    /// Returns the cache folder. Its name depends on go.mod, go.sum, the sources beside them, the flags, Go's version
    /// and the platform.
    fn cache(&self) -> Result<PathBuf, Error> {
        let mut key = Sha256::new();
        let folder = self.folder()?;
        let mut files = vec![folder.join("go.mod"), folder.join("go.sum")];
        files.extend(sources(&folder)?);
        for path in files {
            key.update(tried(
                format!("failed to read {}", path.display()),
                fs::read(&path),
            )?);
        }
        key.update(self.linker_flags(""));
        key.update(self.tags);
        key.update(self.go(&["env", "GOVERSION", "GOOS", "GOARCH"])?);
        let digest = key.finalize();
        let digest = u64::from_be_bytes(std::array::from_fn(|index| digest[index]));
        Ok(cache_root().join(format!("{}-{digest:016x}", self.name)))
    }

    /// Returns the folder where Go keeps a module. Go downloads the module if only the binary built from it is cached.
    fn module_folder(&self, module: &str) -> Result<PathBuf, Error> {
        self.go(&["mod", "download", module])?;
        let folder = self.go(&["list", "-m", "-f", "{{.Dir}}", module])?;
        Ok(PathBuf::from(folder.trim()))
    }

    fn version(&self) -> Result<String, Error> {
        let version = self.go(&["list", "-m", "-f", "{{.Version}}", self.module])?;
        Ok(version.trim().to_owned())
    }

    fn go(&self, args: &[&str]) -> Result<String, Error> {
        let output: Output = Command::new("go")
            .args(args)
            .current_dir(self.folder()?)
            .output()
            .map_err(|error| no_go(self.name, &error))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Build {
                what: self.name.into(),
                why,
            });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Returns the Go files of a folder and of its subfolders, in order.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unread = || format!("failed to read {}", folder.display());
    let mut all = Vec::new();
    for entry in tried(unread(), fs::read_dir(folder))? {
        let path = tried(unread(), entry)?.path();
        if path.is_dir() {
            all.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "go") {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

fn no_go(what: &str, error: &std::io::Error) -> Error {
    Error::Build {
        what: what.into(),
        why: format!(
            "go can't be run ({error}): install Go 1.26 or newer, or set KUBEBUILDER_ASSETS"
        ),
    }
}

fn cache_root() -> PathBuf {
    let folder = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("TESTENV_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("testenv")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/testenv")))
        .unwrap_or_else(|| env::temp_dir().join("testenv"))
}

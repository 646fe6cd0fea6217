//! The fakes of clouds speak the clouds' language: the clouds' own, unmodified command lines and Microsoft's SDK get on
//! with them. `make clouds` runs it, and installs them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;
use testenv::clouds::{
    FakeAws, FakeAzure, aws,
    azure::{CLIENT, Pool, SECRET, SUBSCRIPTION, TENANT},
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where the command lines are installed.
fn installed() -> PathBuf {
    std::env::var_os("CLOUDS")
        .expect("CLOUDS: make clouds sets it")
        .into()
}

/// A command line with an environment, and the folder of its own things.
struct Program {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Program {
    fn run(&self, args: &str) -> Output {
        let mut command = Command::new(&self.program);
        command.args(args.split(' '));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.output().expect("it runs")
    }

    /// What it prints, as JSON.
    fn says(&self, args: &str) -> Value {
        let output = self.run(args);
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{args}: {error}");
        serde_json::from_str(&out).unwrap_or_default()
    }

    /// Why it fails.
    fn fails(&self, args: &str) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{args}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// Waits until it says so.
    fn until(&self, args: &str, is_so: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        loop {
            let says = self.says(args);
            if is_so(&says) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{args}: {says}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with the certificate of a fake's authority.
fn trusted(authority: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority).expect("written");
    (folder, file.display().to_string())
}

fn aws_cli(fake: &FakeAws, authority: &str) -> Program {
    let url = fake.url().to_owned();
    Program {
        program: installed().join("aws/bin/aws"),
        environment: vec![
            ("AWS_ENDPOINT_URL", url),
            ("AWS_CA_BUNDLE", authority.to_owned()),
            ("AWS_DEFAULT_REGION", aws::REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", aws::SECRET_KEY.to_owned()),
            ("AWS_PAGER", String::new()),
            ("AWS_MAX_ATTEMPTS", "1".to_owned()),
        ],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_gets_on_with_the_fake_of_eks() {
    let fake = FakeAws::start().await.expect("a fake");
    let group = |name, size| aws::Nodegroup { name, size };
    fake.create("demo", "1.33", true, &[group("np1", 3)]);
    let (_folder, authority) = trusted(fake.authority());
    let aws = aws_cli(&fake, &authority);
    let update = |args: &str| {
        let begun = aws.says(args);
        let id = begun["update"]["id"].as_str().expect("an id").to_owned();
        (id, begun["update"]["type"].clone())
    };
    let of_cluster = |id: &str| format!("eks describe-update --name demo --update-id {id}");
    let has_status = |status: &'static str| move |says: &Value| says["update"]["status"] == status;

    fake.hold("demo", true);
    let (id, type_) = update("eks update-cluster-version --name demo --kubernetes-version 1.34");
    assert_eq!(type_, "VersionUpdate");
    let why = aws.fails(&format!("eks cancel-update --name demo --update-id {id}"));
    assert!(why.contains("(InvalidRequestException)"), "{why}");
    let why = aws.fails("eks update-cluster-version --name demo --kubernetes-version 1.34");
    assert!(why.contains("(ResourceInUseException)"), "{why}");
    fake.hold("demo", false);
    aws.until(&of_cluster(&id), has_status("Successful"));

    let config = "eks update-nodegroup-config --cluster-name demo --nodegroup-name np1 \
                  --labels addOrUpdateLabels={team=gold} \
                  --taints addOrUpdateTaints=[{key=team,value=gold,effect=NO_SCHEDULE}] \
                  --scaling-config desiredSize=5 --update-config maxUnavailable=2";
    let (id, type_) = update(config);
    assert_eq!(type_, "ConfigUpdate");
    let of_group = format!("{} --nodegroup-name np1", of_cluster(&id));
    aws.until(&of_group, has_status("Successful"));
    let group = aws.says("eks describe-nodegroup --cluster-name demo --nodegroup-name np1");
    assert_eq!(group["nodegroup"]["scalingConfig"]["desiredSize"], 5);
    assert_eq!(group["nodegroup"]["labels"]["team"], "gold");

    fake.hold("demo", true);
    let (id, type_) = update(
        "eks update-cluster-version --name demo --kubernetes-version 1.33 --rollback-config timeoutMinutes=120",
    );
    assert_eq!(type_, "VersionRollback");
    aws.says(&format!("eks cancel-update --name demo --update-id {id}"));
    aws.until(&of_cluster(&id), has_status("Cancelled"));
    let cluster = aws.says("eks describe-cluster --name demo");
    assert_eq!(cluster["cluster"]["version"], "1.34");
    let updates = aws.says("eks list-updates --name demo");
    assert_eq!(updates["updateIds"].as_array().map(Vec::len), Some(2));
}

fn az(fake: &FakeAzure, folder: &Path, authority: &str) -> Program {
    let az = Program {
        program: installed().join("az/bin/az"),
        environment: vec![
            ("AZURE_CONFIG_DIR", folder.join("az").display().to_string()),
            ("REQUESTS_CA_BUNDLE", authority.to_owned()),
            ("AZURE_CORE_COLLECT_TELEMETRY", "0".to_owned()),
            ("AZURE_CORE_NO_COLOR", "1".to_owned()),
            ("AZURE_CORE_INSTANCE_DISCOVERY", "false".to_owned()),
            ("AZURE_CORE_ENCRYPT_TOKEN_CACHE", "false".to_owned()),
            ("AZURE_CORE_LOGIN_EXPERIENCE_V2", "off".to_owned()),
        ],
    };
    let endpoint = format!("--endpoint-resource-manager {}", fake.url());
    az.says(&format!("cloud register -n Fake {endpoint}"));
    az.says("cloud set -n Fake");
    let login = format!("login --service-principal -u {CLIENT} -p {SECRET} --tenant {TENANT}");
    az.says(&login);
    az
}

async fn fake_of_azure() -> FakeAzure {
    let fake = FakeAzure::start().await.expect("a fake");
    let pool = |name, mode| Pool {
        name,
        count: 3,
        mode,
    };
    let pools = [pool("sys", "System"), pool("np1", "User")];
    fake.create("rg1", "demo", "1.33.4", &pools);
    fake
}

#[tokio::test(flavor = "multi_thread")]
async fn az_gets_on_with_the_fake_of_aks() {
    let fake = fake_of_azure().await;
    let (folder, authority) = trusted(fake.authority());
    let az = az(&fake, folder.path(), &authority);
    let pool = "-g rg1 --cluster-name demo -n np1";
    let is = |state: &'static str| move |says: &Value| says["provisioningState"] == state;
    let show = format!("aks nodepool show {pool}");

    fake.hold("np1", true);
    az.says(&format!(
        "aks nodepool scale {pool} --node-count 5 --no-wait"
    ));
    az.until(&show, is("Scaling"));
    let why = az.fails(&format!(
        "aks nodepool scale {pool} --node-count 6 --no-wait"
    ));
    assert!(why.contains("OperationNotAllowed"), "{why}");
    // Without --no-wait az asks only every 30 s.
    az.says(&format!("aks nodepool operation-abort {pool} --no-wait"));
    az.until(&show, is("Canceled"));
    fake.hold("np1", false);
    az.says(&format!("aks nodepool stop {pool} --no-wait"));
    az.until(&show, |says| {
        says["powerState"]["code"] == "Stopped" && says["provisioningState"] == "Succeeded"
    });
    let shown = az.says("aks show -g rg1 -n demo");
    assert_eq!(shown["currentKubernetesVersion"], "1.33.4");
}

#[tokio::test(flavor = "multi_thread")]
async fn microsofts_sdk_gets_on_with_the_fake_of_aks() {
    let fake = fake_of_azure().await;
    let (_folder, authority) = trusted(fake.authority());
    fake.hold("np1", true);
    let sdk = Program {
        program: installed().join("sdk/bin/python3"),
        environment: vec![
            ("REQUESTS_CA_BUNDLE", authority),
            ("FAKE", fake.url().to_owned()),
            ("TENANT", TENANT.to_owned()),
            ("CLIENT", CLIENT.to_owned()),
            ("SECRET", SECRET.to_owned()),
            ("SUBSCRIPTION", SUBSCRIPTION.to_owned()),
        ],
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clouds/try_sdk.py");
    let says = sdk.says(script);
    assert_eq!(says["before"], "InProgress");
    assert!(says["percent"].as_f64().is_some(), "{says}");
    assert_eq!(says["after"], "Canceled");
    assert_eq!(says["state"], "Canceled");
}

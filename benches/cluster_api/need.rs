//! The resources that each program used: requests to the API server, CPU time, memory.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs::File,
    io::{BufRead as _, BufReader},
};

use anyhow::Context as _;
use serde::Deserialize;
use testenv::{Controller, Process};

use super::{numbers, stage::Stage};

/// What the programs have used up to now.
pub struct Need {
    programs: Vec<Program>,
}

#[derive(Clone)]
struct Program {
    name: &'static str,
    /// The number of requests by verb.
    requests: BTreeMap<String, u64>,
    /// In seconds.
    cpu: f64,
    /// In KiB: the current value, and the maximum up to now.
    memory: (u64, u64),
}

/// A line of the API server's audit log.
#[derive(Deserialize)]
struct Request {
    user: User,
    verb: String,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

impl Need {
    /// Reads the current values.
    pub fn read(stage: &Stage, operator: &Process) -> anyhow::Result<Self> {
        let mut requests = BTreeMap::<String, BTreeMap<String, u64>>::new();
        for line in BufReader::new(File::open(&stage.audited.log)?).lines() {
            let Ok(request) = serde_json::from_str::<Request>(&line?) else {
                // The API server is still writing the last line.
                continue;
            };
            let of_user = requests.entry(request.user.username).or_default();
            *of_user.entry(request.verb).or_default() += 1;
        }
        let mut of_account = |account: &str| {
            let user = format!("system:serviceaccount:{account}");
            requests.remove(&user).unwrap_or_default()
        };
        let mut programs = vec![Program::read(
            "belay",
            operator.pid(),
            of_account("belay-system:belay"),
        )?];
        for controller in Controller::ALL {
            let pid = stage.cluster_api.pid(controller).context("a controller")?;
            let (namespace, name) = controller.account();
            let requests = of_account(&format!("{namespace}:{name}"));
            programs.push(Program::read(controller.name(), pid, requests)?);
        }
        Ok(Self { programs })
    }

    /// Returns what was used since an earlier reading.
    pub fn since(&self, before: &Self) -> Self {
        let programs = self.programs.iter().zip(&before.programs);
        let since = programs.map(|(now, before)| Program {
            cpu: now.cpu - before.cpu,
            requests: now
                .requests
                .iter()
                .map(|(verb, count)| {
                    let before = before.requests.get(verb).copied().unwrap_or_default();
                    (verb.clone(), count - before)
                })
                .collect(),
            ..now.clone()
        });
        Self {
            programs: since.collect(),
        }
    }
}

impl Program {
    fn read(name: &'static str, pid: u32, requests: BTreeMap<String, u64>) -> anyhow::Result<Self> {
        Ok(Self {
            name,
            requests,
            cpu: numbers::cpu(pid)?.as_secs_f64(),
            memory: numbers::memory(pid)?,
        })
    }
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<26} {:>8} {:>9} {:>12}  requests by verb",
            "", "requests", "CPU", "memory, most"
        )?;
        for program in &self.programs {
            let requests = program.requests.iter().filter(|(_, count)| **count > 0);
            let mut by_verb = String::new();
            for (verb, count) in requests.clone() {
                write!(by_verb, " {verb} {count}")?;
            }
            writeln!(
                formatter,
                "{:<26} {:>8} {:>7.1} s {:>12} {by_verb}",
                program.name,
                requests.map(|(_, count)| count).sum::<u64>(),
                program.cpu,
                format!(
                    "{}, {} MiB",
                    program.memory.0 / 1024,
                    program.memory.1 / 1024
                )
            )?;
        }
        Ok(())
    }
}

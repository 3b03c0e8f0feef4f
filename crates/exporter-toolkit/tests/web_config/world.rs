//! What the tests share: a Partner Center, certificates, and the program started with a web configuration file on
//! two listeners.

use std::path::PathBuf;
use std::sync::Arc;

use crate::support::{self, Exporter, Process, Simulator, TENANT, eventually, run};

use super::cases::File;
use super::certificates::Certificates;
use super::files::INLINE;

pub(crate) struct World {
    pub(crate) certificates: Certificates,
    simulator: Simulator,
}

/// A program that listens.
pub(crate) struct Guarded {
    pub(crate) exporter: Exporter,
    /// Two of them.
    pub(crate) addresses: Vec<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { certificates: Certificates::new(), simulator: Simulator::start("") }
    }

    /// A directory with the certificates and the web configuration file, and the name of that.
    fn directory(&self, file: File) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        self.certificates.write(directory.path());
        let web = directory.path().join("web.yml");
        match file {
            File::None => return (directory, String::new()),
            File::Missing => {}
            File::Text(text) => std::fs::write(&web, text).unwrap(),
            File::Inline => std::fs::write(&web, self.inline(INLINE)).unwrap(),
        }
        (directory, web.to_str().unwrap().to_owned())
    }

    /// A text with the server's PEM in the place of `CERT` and `KEY`.
    pub(crate) fn inline(&self, text: &str) -> String {
        let indented =
            |pem: &str| pem.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n");
        let server = &self.certificates.server;
        text.replace("CERT", &indented(&server.cert)).replace("KEY", &indented(&server.key))
    }

    fn config(&self) -> String {
        format!("accounts:\n{}", self.simulator.account(None, TENANT))
    }

    pub(crate) fn start(&self, file: File) -> Guarded {
        let (directory, web) = self.directory(file);
        self.start_in(directory, &web)
    }

    /// With a text that was put together.
    pub(crate) fn start_with(&self, text: &str) -> Guarded {
        let (directory, web) = self.directory(File::Missing);
        std::fs::write(&web, text).unwrap();
        self.start_in(directory, &web)
    }

    fn start_in(&self, directory: tempfile::TempDir, web: &str) -> Guarded {
        let flags = ["--web.config.file", web, "--web.listen-address", "127.0.0.1:0", "--log.level", "debug"];
        let exporter = Exporter::start_in(Arc::new(directory), &self.config(), &flags);
        let addresses = eventually("two listeners", || {
            let found = addresses(&exporter.process);
            (found.len() == 2).then_some(found)
        });
        Guarded { exporter, addresses }
    }

    /// What the program says that does not start with a file, and what `check` says of the file.
    pub(crate) fn refusals(&self, file: File) -> [String; 2] {
        let (directory, web) = self.directory(file);
        self.refusals_in(&directory, &web)
    }

    /// With a text that was put together.
    pub(crate) fn refusals_of(&self, text: &str) -> [String; 2] {
        let (directory, web) = self.directory(File::Missing);
        std::fs::write(&web, text).unwrap();
        self.refusals_in(&directory, &web)
    }

    fn refusals_in(&self, directory: &tempfile::TempDir, web: &str) -> [String; 2] {
        let config = support::write_config(directory.path(), &self.config());
        let config = config.to_str().unwrap();
        // What is valid would run for ever.
        let (code, _, checked) = run(&["check", "--config.file", config, "--web.config.file", web]);
        assert_eq!(code, 1, "{checked}");
        let (code, _, started) =
            run(&["--config.file", config, "--web.listen-address", "127.0.0.1:0", "--web.config.file", web]);
        assert_eq!(code, 2, "{started}");
        [started, checked]
    }
}

impl Guarded {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.exporter.directory.path().join(name)
    }

    /// Replaces the web configuration, as one is told to: by a rename.
    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.path("web.new"), text).unwrap();
        std::fs::rename(self.path("web.new"), self.path("web.yml")).unwrap();
    }

    /// What was logged, once it contains `wanted`.
    pub(crate) fn log_until(&self, wanted: &str) -> String {
        eventually(wanted, || Some(self.exporter.process.stderr.text()).filter(|log| log.contains(wanted)))
    }
}

fn addresses(process: &Process) -> Vec<String> {
    let log = process.stderr.text();
    let lines = log.lines().filter(|line| line.contains("\"Listening on\""));
    lines.filter_map(|line| Some(line.split_once("address=")?.1.trim().to_owned())).collect()
}

//! What the tests share: certificates, and the example started with a web configuration file on two listeners.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Example, Listening, eventually, refusal};

use super::cases::File;
use super::certificates::Certificates;
use super::files::INLINE;

/// How long the content that was read for one request may serve others.
const CONTENT_SERVES_FOR: Duration = Duration::from_millis(100);

pub(crate) struct World {
    pub(crate) certificates: Certificates,
    listening: Listening,
}

/// A running example with a web configuration file.
pub(crate) struct Server {
    pub(crate) example: Example,
    /// Its two addresses.
    pub(crate) addresses: Vec<String>,
    directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(listening: Listening) -> Self {
        Self { certificates: Certificates::new(), listening }
    }

    /// Creates a directory with the certificates and the web configuration file, and returns the flags for it.
    fn directory(&self, file: File<'_>) -> (tempfile::TempDir, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        self.certificates.write(directory.path());
        let web = directory.path().join("web.yml");
        match file {
            File::None => return (directory, Vec::new()),
            File::Missing => {}
            File::Text(text) => std::fs::write(&web, text).unwrap(),
            File::Inline => std::fs::write(&web, self.inline(INLINE)).unwrap(),
        }
        (directory, vec![format!("--web.config.file={}", web.display())])
    }

    /// Replaces the lines `CERT` and `KEY` of a text by the PEM of the server.
    ///
    /// It compares whole lines, because the base64 of a certificate may contain the letters "KEY".
    pub(crate) fn inline(&self, text: &str) -> String {
        let server = &self.certificates.server;
        let mut inlined = String::new();
        for line in text.lines() {
            let (indent, lines) = match line {
                "CERT" => ("    ", server.cert.lines()),
                "KEY" => ("    ", server.key.lines()),
                line => ("", line.lines()),
            };
            lines.for_each(|line| inlined.extend([indent, line, "\n"]));
        }
        inlined
    }

    pub(crate) fn start(&self, file: File<'_>) -> Server {
        let (directory, flags) = self.directory(file);
        let example = Example::start(self.listening, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        let addresses = example.addresses.iter().map(ToString::to_string).collect();
        Server { example, addresses, directory }
    }

    pub(crate) fn start_with(&self, text: &str) -> Server {
        self.start(File::Text(text))
    }

    /// Returns the error with which the example refuses to start.
    pub(crate) fn refusal(&self, file: File<'_>) -> String {
        let (_directory, flags) = self.directory(file);
        refusal(self.listening, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl Server {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces the web configuration file by a rename, as the documentation recommends, and waits until it counts.
    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.path("web.new"), text).unwrap();
        self.replace_by("web.new");
    }

    /// Replaces the web configuration file by another file, and waits until that counts.
    pub(crate) fn replace_by(&self, other: &str) {
        std::fs::rename(self.path(other), self.path("web.yml")).unwrap();
        wait_until_read_again();
    }

    /// Removes the web configuration file, and waits until that counts.
    pub(crate) fn remove_file(&self) {
        std::fs::remove_file(self.path("web.yml")).unwrap();
        wait_until_read_again();
    }

    /// Returns the log once it contains `wanted`.
    pub(crate) fn log_until(&self, wanted: &str) -> String {
        self.example.process.log_until(wanted)
    }

    /// Returns the log once it contains `wanted` so many times.
    pub(crate) fn log_until_times(&self, wanted: &str, times: usize) -> String {
        self.example.process.log_until_times(wanted, times)
    }
}

/// Waits until the next request makes the program read the web configuration file.
fn wait_until_read_again() {
    let began = Instant::now();
    eventually("the end of the time in which the old content counts", || {
        (began.elapsed() >= CONTENT_SERVES_FOR).then_some(())
    });
}

//! `healthcheck`: asks the exporter on this machine whether it is alive.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Client, StatusCode, redirect};

use crate::commands::cli::HealthcheckFlags;
use crate::commands::lifecycle::EXIT_FAILED;
use crate::commands::{output, settings};

/// How long the exporter may take; Docker waits for 30 s unless it is told otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn run(flags: HealthcheckFlags) -> anyhow::Result<ExitCode> {
    // Docker reserves 2, which only wrong flags give.
    Ok(match ask(&flags).await {
        Ok(status) if is_alive(status) => ExitCode::SUCCESS,
        Ok(status) => {
            output::print_error(&anyhow::anyhow!("/-/healthy answers {status}"));
            ExitCode::from(EXIT_FAILED)
        }
        Err(error) => {
            output::print_error(&error);
            ExitCode::from(EXIT_FAILED)
        }
    })
}

async fn ask(flags: &HealthcheckFlags) -> anyhow::Result<StatusCode> {
    let first = flags.addresses.first().context("--web.listen-address has a default")?;
    let has_tls = settings::web_config(&flags.access)?.is_some_and(|found| found.has_tls());
    let scheme = if has_tls { "https" } else { "http" };
    let url = format!("{scheme}://{first}/-/healthy");
    #[expect(clippy::disallowed_methods, reason = "one request to this machine, without credentials")]
    let client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        // The certificate is for the name by which others reach this machine.
        .tls_danger_accept_invalid_certs(true)
        .timeout(TIMEOUT)
        .build()?;
    let response = client.get(&url).send().await.map_err(reqwest::Error::without_url);
    Ok(response.with_context(|| format!("no answer from {url}"))?.status())
}

/// Whether the exporter answers as it does while it works. Without a password, or too often, it refuses.
fn is_alive(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS)
}

//! Examines names, and describes the services that answer.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::commands::settings::environment;
use crate::config::Account;
use crate::partner::ServerCertificate;

use super::report::{Outcome, failed, ok, skipped};

/// Resolves the host of `base`, unless a proxy does.
pub(super) async fn resolve(base: &str, account: &Account) -> Outcome {
    const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    const LIMIT: Duration = Duration::from_secs(10);
    let url = Url::parse(base).ok();
    let host = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    let Some((host, port)) = host else { return failed(format!("{base} has no host"), "check the address") };
    let host = host.trim_matches(['[', ']']);
    if host.parse::<IpAddr>().is_ok() {
        return ok(format!("{host} is an address"));
    }
    let has_proxy =
        account.proxy_url.is_some() || PROXIES.into_iter().any(|name| environment(name).is_some());
    // Plain http is allowed to this machine only, and never takes a proxy.
    if has_proxy && base.starts_with("https:") {
        return skipped(format!("{host}: there is a proxy, which may resolve it"));
    }
    match timeout(LIMIT, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
            ok(format!("{host} is {}", addresses.join(", ")))
        }
        Ok(Err(error)) => failed(format!("{host}: {error}"), "check the name and the system's DNS"),
        Err(_) => failed(format!("{host}: no answer within 10 s"), "check the system's DNS"),
    }
}

/// Describes what an answer shows about its service.
pub(super) fn describe(base: &str, certificate: Option<&ServerCertificate>, now: Timestamp) -> Outcome {
    let Some(certificate) = certificate else {
        let without = if base.starts_with("https:") { "" } else { ", without TLS" };
        return ok(format!("{base} answers{without}"));
    };
    let days = certificate.not_after.duration_since(now).as_hours() / 24;
    ok(format!(
        "{base} answers; its certificate is trusted: subject {}, issuer {}, until {} ({days} days left)",
        certificate.subject, certificate.issuer, certificate.not_after
    ))
}

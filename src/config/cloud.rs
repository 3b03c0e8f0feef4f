//! The addresses of a Microsoft cloud.

use std::net::IpAddr;

use reqwest::Url;

use exporter_toolkit::yaml::{Problems, Section};

/// The addresses of one Microsoft cloud, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// The Partner Center API, which is also the audience of its tokens.
    pub api_base_url: String,
    /// Entra ID.
    pub login_base_url: String,
}

/// Whether an address of a cloud is reached through TLS.
pub fn is_https(url: &str) -> bool {
    !url.starts_with("http:")
}

impl Cloud {
    /// Whether the API or the sign-in service is reached through TLS; both may be on loopback without it.
    pub fn uses_tls(&self) -> bool {
        [&self.api_base_url, &self.login_base_url].into_iter().any(|url| is_https(url))
    }

    fn known(api: &str, login: &str) -> Self {
        Self { api_base_url: format!("https://{api}"), login_base_url: format!("https://{login}") }
    }

    pub(super) fn global() -> Self {
        Self::known("api.partnercenter.microsoft.com", "login.microsoftonline.com")
    }

    /// The US Government cloud has the API of the global one and its own sign-in service.
    fn us_government() -> Self {
        Self::known("api.partnercenter.microsoft.com", "login.microsoftonline.us")
    }

    /// The cloud that 21Vianet operates.
    fn china() -> Self {
        Self::known("partner.partnercenterapi.microsoftonline.cn", "login.partner.microsoftonline.cn")
    }

    /// The cloud of an `AZURE_AUTHORITY_HOST`, with or without scheme and trailing slash.
    pub(super) fn of_authority_host(host: &str) -> Option<Self> {
        match host.trim_start_matches("https://").trim_end_matches('/') {
            "login.microsoftonline.com" => Some(Self::global()),
            "login.microsoftonline.us" => Some(Self::us_government()),
            "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => Some(Self::china()),
            _ => None,
        }
    }

    /// Reads `cloud` and, for a custom one, its addresses.
    pub(super) fn read(section: &mut Section, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let name = section.text("cloud", problems);
        let api = section.text("api_base_url", problems);
        let login = section.text("login_base_url", problems);
        if problems.len() > before {
            return None;
        }
        let known = match name.as_deref() {
            None | Some("global") => Self::global(),
            Some("us-government") => Self::us_government(),
            Some("china") => Self::china(),
            Some("custom") => {
                let mut check = |key: &str, address: Option<String>| {
                    base_url(address).map_err(|text| problems.add(section.path(key), text)).ok()
                };
                let (api, login) = (check("api_base_url", api), check("login_base_url", login));
                return Some(Self { api_base_url: api?, login_base_url: login? });
            }
            Some(_) => {
                problems.add(section.path("cloud"), "must be one of global, us-government, china, custom");
                return None;
            }
        };
        for (key, value) in [("api_base_url", api), ("login_base_url", login)] {
            if value.is_some() {
                problems.add(section.path(key), "is allowed with cloud: custom only");
            }
        }
        Some(known)
    }
}

/// Checks that tokens may be sent to an address: https to any host, http to loopback only.
fn base_url(address: Option<String>) -> Result<String, &'static str> {
    let address = address.ok_or("is missing; cloud: custom requires it")?;
    let url = Url::parse(&address).map_err(|_| "is not a URL; write it as https://api.example")?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_plain {
        return Err("must have no user, password, query or fragment");
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url.as_str().trim_end_matches('/').to_owned()),
        "http" if is_loopback(&url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        "http" => Err(
            "must be https; plain http is allowed for loopback addresses only, since tokens are sent there",
        ),
        _ => Err("must be an https URL"),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

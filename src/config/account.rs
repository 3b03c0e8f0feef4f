//! One account: which tenant, as which application, with which secrets, in which cloud.

use std::collections::BTreeSet;

use std::path::{Path, PathBuf};

use reqwest::{Certificate, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};

use exporter_toolkit::yaml::{Problems, Section};

use crate::domain::account::AccountName;

use super::{ClientCredential, Environment, Secret};

/// A partner account to poll.
#[derive(Clone, Debug)]
pub struct Account {
    /// The value of the `account` label; absent only where there is a single account.
    pub name: Option<AccountName>,
    /// The partner tenant: a GUID or a verified domain.
    pub tenant_id: String,
    /// The application (client) id, a GUID.
    pub client_id: String,
    /// What the application proves itself with.
    pub client_credential: ClientCredential,
    /// The first refresh token, unless it is in the state directory already, where its successors live.
    pub refresh_token: Option<Secret>,
    /// Where sign-in and API are.
    pub cloud: Cloud,
    /// Sent as `X-Locale`; default `en-US`, which keeps label values stable.
    pub locale: String,
    /// An HTTP proxy for this account; otherwise `HTTPS_PROXY` and `NO_PROXY` decide. May hold a password.
    pub proxy_url: Option<Secret>,
    /// PEM file with trust anchors in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// The addresses of one Microsoft cloud, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// The Partner Center API, which is also the audience of its tokens.
    pub api_base_url: String,
    /// Entra ID.
    pub login_base_url: String,
}

impl Account {
    /// What a reload compares: an account with the same identity keeps its counters and its rows.
    pub fn identity(&self) -> (Option<&AccountName>, &str, &str, &Cloud) {
        (self.name.as_ref(), &self.tenant_id, &self.client_id, &self.cloud)
    }

    /// Whether both sign in as the same application of the same tenant, and so would rotate each other's
    /// refresh token.
    pub fn shares_token_with(&self, other: &Self) -> bool {
        self.tenant_id.eq_ignore_ascii_case(&other.tenant_id)
            && self.client_id.eq_ignore_ascii_case(&other.client_id)
    }

    /// The files that hold its secrets.
    pub fn secret_files(&self) -> impl Iterator<Item = &Path> {
        let refresh_token = self.refresh_token.as_ref().and_then(Secret::file);
        self.client_credential.file().into_iter().chain(refresh_token)
    }

    /// Whether a secret of it is written into the configuration itself.
    pub(super) fn has_inline_secret(&self) -> bool {
        let client_secret = match &self.client_credential {
            ClientCredential::Secret(secret) => Some(secret),
            _ => None,
        };
        let inline = |secret: &Secret| secret.file().is_none();
        // The address of a proxy is one if somebody's password is in it.
        let password = |url: &Secret| url.read().is_ok_and(|url| url.expose_secret().contains('@'));
        client_secret.is_some_and(inline)
            || self.refresh_token.as_ref().is_some_and(inline)
            || self.proxy_url.as_ref().is_some_and(password)
    }

    /// How to call it in logs and on pages.
    pub fn display_name(&self) -> &str {
        self.name.as_ref().map_or("default", AccountName::as_str)
    }
}

const LOCALE: &str = "en-US";

/// Reads `accounts`.
pub(super) fn read_all(root: &mut Section, problems: &mut Problems) -> Vec<Account> {
    let before = problems.len();
    let Some(sections) = root.sections("accounts", problems) else {
        if problems.len() == before {
            problems.add("accounts", "is missing; list at least one account");
        }
        return Vec::new();
    };
    if sections.is_empty() {
        problems.add("accounts", "is empty; list at least one account");
    }
    let several = sections.len() > 1;
    let mut names = BTreeSet::new();
    let mut accounts = Vec::new();
    for mut section in sections {
        let name_path = section.path("name");
        let before = problems.len();
        let name = read_name(&mut section, problems);
        match &name {
            None if several && problems.len() == before => {
                problems.add(&name_path, "is missing; with several accounts each needs a name");
            }
            Some(name) if !names.insert(name.clone()) => {
                problems.add(&name_path, format!("{:?} names another account already", name.as_str()));
            }
            _ => {}
        }
        let path = section.own_path();
        let Some(account) = read(section, name, problems) else { continue };
        if accounts.iter().any(|other: &Account| other.shares_token_with(&account)) {
            problems.add(path, "has the tenant_id and client_id of another account");
        }
        accounts.push(account);
    }
    accounts
}

fn read(mut section: Section, name: Option<AccountName>, problems: &mut Problems) -> Option<Account> {
    let tenant_id =
        required(&mut section, "tenant_id", problems).and_then(|text| tenant(&section, text, problems));
    let client_id =
        required(&mut section, "client_id", problems).and_then(|text| client(&section, text, problems));
    let client_credential = ClientCredential::read(&mut section, problems);
    let refresh_token = secret(&mut section, "refresh_token", "refresh_token_file", problems);
    let cloud = read_cloud(&mut section, problems);
    let locale = section.text("locale", problems).unwrap_or_else(|| LOCALE.to_owned());
    if !locale.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        problems.add(section.path("locale"), "is no locale; write it like en-US");
    }
    let proxy_url = section.text("proxy_url", problems).and_then(|text| proxy(&section, text, problems));
    let ca_file = section.text("ca_file", problems).map(PathBuf::from);
    if let Some(Err(text)) = ca_file.as_ref().map(|path| trust_anchors(path)) {
        problems.add(section.path("ca_file"), text);
    }
    section.finish(problems);
    Some(Account {
        name,
        tenant_id: tenant_id?,
        client_id: client_id?,
        client_credential: client_credential?,
        refresh_token,
        cloud: cloud?,
        locale,
        proxy_url,
        ca_file,
    })
}

/// The account of the environment. Variable names take the place of paths.
pub(super) fn from_environment(environment: Environment<'_>, problems: &mut Problems) -> Option<Account> {
    let wanted = |name: &str, problems: &mut Problems| {
        let value = environment(name);
        if value.is_none() {
            problems.add(name, "is not set; set it, or name a configuration file with --config.file");
        }
        value
    };
    let tenant_id = wanted("AZURE_TENANT_ID", problems);
    if tenant_id.as_deref().is_some_and(|text| !is_tenant(text)) {
        problems.add("AZURE_TENANT_ID", TENANT_TEXT);
    }
    let client_id = wanted("AZURE_CLIENT_ID", problems);
    if client_id.as_deref().is_some_and(|text| !is_guid(text)) {
        problems.add("AZURE_CLIENT_ID", CLIENT_TEXT);
    }
    let client_credential = ClientCredential::from_environment(environment, problems);
    let (value, file) = ("PARTNER_CENTER_REFRESH_TOKEN", "PARTNER_CENTER_REFRESH_TOKEN_FILE");
    let refresh_token = either(
        (value, environment(value).map(SecretString::from)),
        (file, environment(file).map(PathBuf::from)),
        problems,
    );
    let cloud = match environment("AZURE_AUTHORITY_HOST") {
        None => Some(Cloud::global()),
        Some(host) => {
            let cloud = Cloud::of_authority_host(&host);
            if cloud.is_none() {
                let text = "is none of the known sign-in hosts; use a configuration file with cloud: custom";
                problems.add("AZURE_AUTHORITY_HOST", text);
            }
            cloud
        }
    };
    Some(Account {
        name: None,
        tenant_id: tenant_id?,
        client_id: client_id?,
        client_credential: client_credential?,
        refresh_token,
        cloud: cloud?,
        locale: LOCALE.to_owned(),
        proxy_url: None,
        ca_file: None,
    })
}

// === the fields ===

const TENANT_TEXT: &str = "is neither a GUID nor a domain name such as contoso.onmicrosoft.com";
const CLIENT_TEXT: &str = "is no GUID; it is the application (client) id of the app registration";

fn required(section: &mut Section, key: &'static str, problems: &mut Problems) -> Option<String> {
    let before = problems.len();
    let value = section.text(key, problems);
    if value.is_none() && problems.len() == before {
        problems.add(section.path(key), "is missing");
    }
    value
}

fn read_name(section: &mut Section, problems: &mut Problems) -> Option<AccountName> {
    let name = AccountName::new(section.text("name", problems)?);
    if !name.is_valid() {
        problems
            .add(section.path("name"), "must have at most 64 characters, none of them a control character");
    }
    Some(name)
}

fn is_guid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn is_tenant(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
    };
    is_guid(text) || (text.contains('.') && text.len() <= 253 && text.split('.').all(is_label))
}

fn tenant(section: &Section, text: String, problems: &mut Problems) -> Option<String> {
    if !is_tenant(&text) {
        problems.add(section.path("tenant_id"), TENANT_TEXT);
        return None;
    }
    Some(text)
}

fn client(section: &Section, text: String, problems: &mut Problems) -> Option<String> {
    if !is_guid(&text) {
        problems.add(section.path("client_id"), CLIENT_TEXT);
        return None;
    }
    Some(text)
}

fn secret(
    section: &mut Section,
    value: &'static str,
    file: &'static str,
    problems: &mut Problems,
) -> Option<Secret> {
    let before = problems.len();
    let inline = section.text(value, problems).map(SecretString::from);
    let path = section.text(file, problems).map(PathBuf::from);
    if problems.len() > before {
        return None;
    }
    either((&section.path(value), inline), (&section.path(file), path), problems)
}

/// One of a value and a file, or neither; a file must be readable now.
fn either(
    (value_path, value): (&str, Option<SecretString>),
    (file_path, file): (&str, Option<PathBuf>),
    problems: &mut Problems,
) -> Option<Secret> {
    match (value, file) {
        (Some(value), None) => Some(Secret::Value(value)),
        (None, Some(path)) => {
            let secret = Secret::File(path);
            match secret.read() {
                Ok(_) => Some(secret),
                Err(error) => {
                    problems.add(file_path, error.to_string());
                    None
                }
            }
        }
        (None, None) => None,
        (Some(_), Some(_)) => {
            problems.add(value_path, format!("give it or {file_path}, not both"));
            None
        }
    }
}

/// The certificates in a PEM file, of which there must be one at least.
///
/// # Errors
/// What is wrong with the file, as a text.
pub fn trust_anchors(path: &Path) -> Result<Vec<Certificate>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("cannot read the file: {error}"))?;
    let found: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|_| "the file is no PEM file of certificates")?;
    if found.is_empty() {
        return Err("the file holds no certificate".to_owned());
    }
    let unreadable = "the file holds a certificate that cannot be read";
    // Only taking it as an anchor looks inside.
    let anchor = |der: CertificateDer<'_>| {
        rustls::RootCertStore::empty().add(der.clone()).map_err(|_| unreadable)?;
        Certificate::from_der(&der).map_err(|_| unreadable)
    };
    Ok(found.into_iter().map(anchor).collect::<Result<_, _>>()?)
}

fn proxy(section: &Section, text: String, problems: &mut Problems) -> Option<Secret> {
    let usable = Url::parse(&text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && matches!(url.path(), "" | "/")
    });
    if !usable {
        problems
            .add(section.path("proxy_url"), "is no proxy address; write it like http://proxy.example:3128");
        return None;
    }
    Some(Secret::Value(SecretString::from(text)))
}

// === impl Cloud ===

impl Cloud {
    fn known(api: &str, login: &str) -> Self {
        Self { api_base_url: format!("https://{api}"), login_base_url: format!("https://{login}") }
    }

    fn global() -> Self {
        Self::known("api.partnercenter.microsoft.com", "login.microsoftonline.com")
    }

    /// The US Government cloud shares the API with the global one, not the sign-in.
    fn us_government() -> Self {
        Self::known("api.partnercenter.microsoft.com", "login.microsoftonline.us")
    }

    /// 21Vianet.
    fn china() -> Self {
        Self::known("partner.partnercenterapi.microsoftonline.cn", "login.partner.microsoftonline.cn")
    }

    /// The cloud of an `AZURE_AUTHORITY_HOST`, with or without scheme and trailing slash.
    fn of_authority_host(host: &str) -> Option<Self> {
        match host.trim_start_matches("https://").trim_end_matches('/') {
            "login.microsoftonline.com" => Some(Self::global()),
            "login.microsoftonline.us" => Some(Self::us_government()),
            "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => Some(Self::china()),
            _ => None,
        }
    }
}

fn read_cloud(section: &mut Section, problems: &mut Problems) -> Option<Cloud> {
    let before = problems.len();
    let name = section.text("cloud", problems);
    let api = section.text("api_base_url", problems);
    let login = section.text("login_base_url", problems);
    if problems.len() > before {
        return None;
    }
    let known = match name.as_deref() {
        None | Some("global") => Cloud::global(),
        Some("us-government") => Cloud::us_government(),
        Some("china") => Cloud::china(),
        Some("custom") => {
            let api_base_url = base_url(section, "api_base_url", api, problems);
            let login_base_url = base_url(section, "login_base_url", login, problems);
            return Some(Cloud { api_base_url: api_base_url?, login_base_url: login_base_url? });
        }
        Some(_) => {
            problems.add(section.path("cloud"), "is none of global, us-government, china, custom");
            return None;
        }
    };
    for (key, value) in [("api_base_url", api), ("login_base_url", login)] {
        if value.is_some() {
            problems.add(section.path(key), "belongs to cloud: custom only");
        }
    }
    Some(known)
}

/// An address that tokens may be sent to: https anywhere, http on loopback only.
fn base_url(section: &Section, key: &str, text: Option<String>, problems: &mut Problems) -> Option<String> {
    let path = section.path(key);
    let Some(text) = text else {
        problems.add(path, "is missing; cloud: custom needs it");
        return None;
    };
    let Ok(url) = Url::parse(&text) else {
        problems.add(path, "is no address; write it like https://api.example");
        return None;
    };
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !plain {
        problems.add(path, "must have no user, password, query or fragment");
        return None;
    }
    match url.scheme() {
        "https" if url.has_host() => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            problems.add(
                path,
                "must be https; plain http is for loopback addresses only, since a token goes there",
            );
            return None;
        }
        _ => {
            problems.add(path, "must be an https address");
            return None;
        }
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

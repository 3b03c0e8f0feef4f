//! One account: its tenant, application, secrets and cloud.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};

use exporter_toolkit::files;
use exporter_toolkit::plain_text;
use exporter_toolkit::secret::Secret;
use exporter_toolkit::yaml::{Problems, Section};

use crate::domain::account::AccountName;
use crate::domain::row::MAX_LABEL_BYTES;

use super::certificate::not_pem;
use super::cloud::Cloud;
use super::collections::Collections;
use super::credential::ClientCredential;
use super::environment::Environment;
use super::provided;
use super::proxy;

/// A partner account to poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The value of the `account` label; only a single account may have none.
    pub name: Option<AccountName>,
    /// The partner tenant: a GUID or a verified domain.
    pub tenant_id: String,
    /// The application (client) ID, a GUID.
    pub client_id: String,
    /// The credential with which the application authenticates.
    pub client_credential: ClientCredential,
    /// The first refresh token. It may be absent, since its successors are in the state directory.
    pub refresh_token: Option<Secret>,
    /// The addresses of the sign-in service and the API.
    pub cloud: Cloud,
    /// The value of `X-Locale`; the default `en-US` keeps label values stable.
    pub locale: String,
    /// An HTTP proxy for this account, whose URL may contain a password; otherwise `HTTPS_PROXY` and `NO_PROXY` apply.
    pub proxy_url: Option<Secret>,
    /// A PEM file with trust anchors in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Which collections are polled, and how.
    pub collections: Collections,
    /// The longest label value of a row in bytes, which is a key of the whole file; 1 to [`MAX_LABEL_BYTES`].
    pub label_value_length_limit: usize,
    /// The flags with which a command is about this account, such as `--config.file=… --account …`; empty for the
    /// account of the environment.
    pub command_flags: String,
}

impl Account {
    /// Whether it connects through the proxy of the environment, if there is one.
    pub(super) fn uses_environment_proxy(&self) -> bool {
        self.proxy_url.is_none() && self.cloud.uses_tls()
    }

    /// What identifies an account across reloads: if it stays the same, counters and rows are kept.
    pub fn identity(&self) -> (Option<&AccountName>, &str, &str, &Cloud) {
        (self.name.as_ref(), &self.tenant_id, &self.client_id, &self.cloud)
    }

    /// Whether both accounts sign in as the same application of the same tenant, and so rotate the same refresh token.
    pub fn shares_token_with(&self, other: &Self) -> bool {
        self.tenant_id.eq_ignore_ascii_case(&other.tenant_id)
            && self.client_id.eq_ignore_ascii_case(&other.client_id)
    }

    /// What decides about its shard: the two that no two accounts share, so that a renamed account stays where it is.
    pub fn shard_key(&self) -> String {
        format!("{} {}", self.tenant_id, self.client_id).to_lowercase()
    }

    /// The files that contain its secrets.
    pub fn secret_files(&self) -> impl Iterator<Item = &Path> {
        let refresh_token = self.refresh_token.as_ref().and_then(Secret::file);
        self.client_credential.file().into_iter().chain(refresh_token)
    }

    /// Whether the configuration itself contains one of its secrets.
    pub(super) fn has_inline_secret(&self) -> bool {
        let client_secret = match &self.client_credential {
            ClientCredential::Secret(secret) => Some(secret),
            _ => None,
        };
        let inline = |secret: &Secret| secret.file().is_none();
        let with_password = |url: &Secret| url.read().is_ok_and(|url| url.expose_secret().contains('@'));
        client_secret.is_some_and(inline)
            || self.refresh_token.as_ref().is_some_and(inline)
            || self.proxy_url.as_ref().is_some_and(with_password)
    }

    /// The name in logs and on pages.
    pub fn display_name(&self) -> &str {
        self.name.as_ref().map_or("default", AccountName::as_str)
    }
}

const LOCALE: &str = "en-US";
/// The end of the line with which every kind of private key begins in PEM.
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";

/// Reads `accounts`.
pub(super) fn read_all(
    root: &mut Section,
    collections: &Collections,
    problems: &mut Problems,
) -> Vec<Account> {
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
                problems.add(&name_path, format!("{:?} is the name of another account", name.as_str()));
            }
            _ => {}
        }
        let path = section.own_path();
        let Some(account) = read(section, name, collections, problems) else { continue };
        if accounts.iter().any(|other: &Account| other.shares_token_with(&account)) {
            problems.add(path, "has the same tenant_id and client_id as another account");
        }
        accounts.push(account);
    }
    accounts
}

fn read(
    mut section: Section,
    name: Option<AccountName>,
    collections: &Collections,
    problems: &mut Problems,
) -> Option<Account> {
    let mut id = |key, kind| {
        let before = problems.len();
        let value = section.text(key, problems);
        if value.is_none() && problems.len() == before {
            problems.add(section.path(key), "is missing");
        }
        check_id(&section.path(key), value, kind, problems)
    };
    let (tenant_id, client_id) = (id("tenant_id", TENANT), id("client_id", CLIENT));
    let client_credential = ClientCredential::read(&mut section, problems);
    let refresh_token = read_secret(&mut section, "refresh_token", "refresh_token_file", problems);
    let cloud = Cloud::read(&mut section, problems);
    let locale = section.text("locale", problems).unwrap_or_else(|| LOCALE.to_owned());
    if !locale.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        problems.add(section.path("locale"), "is not a locale; write it as en-US");
    }
    let proxy_url = section.text("proxy_url", problems);
    let proxy_url = proxy_url.map(|text| plain_text::trim(&text).to_owned());
    if let Some(Err(what)) = proxy_url.as_deref().map(|text| proxy::check(text, false)) {
        problems.add(section.path("proxy_url"), what);
    }
    let ca_file = section.text("ca_file", problems).map(PathBuf::from);
    if let Some(Err(text)) = ca_file.as_ref().map(|path| trust_anchors(path)) {
        problems.add(section.path("ca_file"), text);
    }
    let collections = Collections::read(&mut section, collections, problems);
    section.finish(problems);
    Some(Account {
        name,
        tenant_id: tenant_id?,
        client_id: client_id?,
        client_credential: client_credential?,
        refresh_token,
        cloud: cloud?,
        locale,
        proxy_url: proxy_url.map(|text| Secret::Value(text.into())),
        ca_file,
        collections,
        label_value_length_limit: MAX_LABEL_BYTES,
        command_flags: String::new(),
    })
}

/// Reads the account of the environment. The names of variables take the place of paths.
pub(super) fn from_environment(environment: Environment<'_>, problems: &mut Problems) -> Option<Account> {
    let mut id = |name, kind| {
        let value = environment(name);
        if value.is_none() {
            problems.add(name, "is not set; set it, or name a configuration file with --config.file");
        }
        check_id(name, value, kind, problems)
    };
    let (tenant_id, client_id) = (id("AZURE_TENANT_ID", TENANT), id("AZURE_CLIENT_ID", CLIENT));
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
                let text = "is not a known sign-in host; use a configuration file with cloud: custom";
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
        collections: Collections::default(),
        label_value_length_limit: MAX_LABEL_BYTES,
        command_flags: String::new(),
    })
}

// === the fields ===

/// Whether a text is an ID of some kind, and the problem if it is not.
type IdKind = (fn(&str) -> bool, &'static str);

const TENANT: IdKind = (is_tenant, "is neither a GUID nor a domain name such as contoso.onmicrosoft.com");
const CLIENT: IdKind =
    (is_guid, "is not a GUID; set it to the application (client) ID of the app registration");

fn check_id(
    path: &str,
    value: Option<String>,
    (is_valid, text): IdKind,
    problems: &mut Problems,
) -> Option<String> {
    let value = plain_text::trim(&value?).to_owned();
    if !is_valid(&value) {
        match plain_text::unprintable(&value) {
            Some(flaw) => problems.add(path, format!("{flaw}; copy it again")),
            None => problems.add(path, text),
        }
        return None;
    }
    Some(value)
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

fn read_name(section: &mut Section, problems: &mut Problems) -> Option<AccountName> {
    let name = AccountName::new(section.text("name", problems)?);
    if name.is_none() {
        problems.add(section.path("name"), "must have at most 64 characters and no control characters");
    }
    name
}

fn read_secret(
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

/// A secret given by value or by a file, which must be readable now, unless systemd provides it later.
fn either(
    (value_path, value): (&str, Option<SecretString>),
    (file_path, file): (&str, Option<PathBuf>),
    problems: &mut Problems,
) -> Option<Secret> {
    match (value, file) {
        (Some(value), None) => readable(Secret::Value(value), value_path, problems),
        (None, Some(path)) if provided::missing_unit(&path).is_some() => Some(Secret::File(path)),
        (None, Some(path)) => readable(Secret::File(path), file_path, problems),
        (None, None) => None,
        (Some(_), Some(_)) => {
            problems.add(value_path, format!("set this or {file_path}, not both"));
            None
        }
    }
}

fn readable(secret: Secret, path: &str, problems: &mut Problems) -> Option<Secret> {
    secret.read().map_err(|error| problems.add(path, error.to_string())).ok()?;
    Some(secret)
}

/// The size in bytes of the largest file with trust anchors.
const MAX_ANCHORS_BYTES: u64 = 16 << 20;

/// The certificates in a PEM file.
///
/// # Errors
/// What is wrong with the file, in words, if it does not contain at least one usable certificate.
pub fn trust_anchors(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem =
        files::read(path, MAX_ANCHORS_BYTES).map_err(|error| format!("cannot read the file: {error}"))?;
    if let Some(what) = not_pem(&pem, path) {
        return Err(format!("the file {what}"));
    }
    let found: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|_| "the file is not a PEM file of certificates")?;
    if pem.windows(PRIVATE_KEY.len()).any(|window| window == PRIVATE_KEY) {
        return Err("the file contains a private key; it must contain certificates only, so remove the key"
            .to_owned());
    }
    if found.is_empty() {
        return Err("the file contains no certificate".to_owned());
    }
    // Only adding a certificate to a root store parses it.
    let mut store = rustls::RootCertStore::empty();
    if found.iter().any(|anchor| store.add(anchor.clone()).is_err()) {
        return Err("the file contains a certificate that cannot be parsed".to_owned());
    }
    Ok(found)
}

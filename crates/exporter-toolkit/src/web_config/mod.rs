//! Who may read what is served, and over what: TLS, client certificates, passwords, headers and a limit, from
//! the file of `--web.config.file`, whose format is that of Prometheus' exporter-toolkit.
//!
//! Whether there is TLS, HTTP/2 and a limit is fixed at the start. Everything else follows the file: it is read
//! for every request and for every new TLS connection, and parsed where its content is another. While it is
//! invalid nobody is let in. Knows nothing of what is served, but for the two paths that may be open to all.

mod client;
mod curve_p521;
mod file;
pub(super) mod hello;
mod material;
mod rate;
mod remembered;
mod settings;
mod suites;
mod users;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use rustls::ServerConfig;
use tokio::time::Instant;

use crate::yaml::ConfigError;
use crate::yaml::Problem;

use file::WebConfig;
use material::Material;
use rate::{Limiter, Rate};
use remembered::{Remembered, fingerprint};
use users::Passwords;

/// What a program adds to the format: a section of its own, with the key `health_without_authentication`.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    /// The name of the section, such as `my_exporter`: nobody takes it for a part of the format.
    pub section: &'static str,
    /// The paths that need no password where the key is true.
    pub health: &'static [&'static str],
}

/// The rules of a web configuration file.
pub struct Access {
    path: PathBuf,
    extension: Extension,
    encrypts: bool,
    http2: bool,
    rate: Option<Rate>,
    limiter: Option<Limiter>,
    warnings: Vec<Problem>,
    config: Remembered<WebConfig>,
    server: Remembered<ServerConfig>,
    passwords: Passwords,
}

impl Access {
    /// Reads and checks the file, and the certificates and the key that it names.
    ///
    /// # Errors
    /// [`ConfigError`], naming every problem there is.
    pub fn open(path: &Path, extension: Extension) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let (config, mut problems) = WebConfig::parse(&text, directory(path), extension.section);
        problems.extend(config.users.problems.iter().cloned());
        let mut warnings = config.warnings();
        let (encrypts, http2, rate) = (config.tls.is_on(), config.http2, config.rate);
        let mut server = Remembered::default();
        if encrypts {
            let made = Material::read(&config.tls).and_then(|material| {
                warnings.extend(material.warnings());
                let server = material.server_config(&config.tls, http2)?;
                Ok(Remembered::of(material.fingerprint(&config.tls), server))
            });
            match made {
                Ok(made) => server = made,
                Err(found) => problems.extend(found),
            }
            problems.extend(config.tls.http2_problem().filter(|_| http2));
        }
        if !problems.is_empty() {
            return Err(invalid(path, problems));
        }
        Ok(Self {
            path: path.to_owned(),
            extension,
            encrypts,
            http2: encrypts && http2,
            rate,
            limiter: rate.map(Limiter::new),
            warnings,
            config: Remembered::of(fingerprint(&[text.as_bytes()]), config),
            server,
            passwords: Passwords::new(),
        })
    }

    /// Is everything served over TLS?
    pub fn encrypts(&self) -> bool {
        self.encrypts
    }

    /// Is HTTP/2 served to those who ask for it? Not without TLS.
    pub fn http2(&self) -> bool {
        self.http2
    }

    /// What the file had at the start that was accepted, and is not what its writer may expect.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Logs what is worth knowing at a start.
    pub fn announce(&self) {
        warn(&self.warnings);
        if let Some(Rate { interval, burst }) = self.rate {
            tracing::info!(burst, interval = ?interval, "Rate Limiter is enabled.");
        }
    }

    /// Puts the rules in front of `router`.
    pub fn guard(self: &Arc<Self>, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::clone(self), guard))
    }

    /// The configuration as the file has it now; `None` if it is invalid.
    fn config(&self) -> Option<Arc<WebConfig>> {
        let text = read(&self.path);
        let content = text.as_ref().map_or_else(ToString::to_string, String::clone);
        self.config.get(fingerprint(&[content.as_bytes()]), || {
            let (config, problems) = WebConfig::parse(&text?, directory(&self.path), self.extension.section);
            if !problems.is_empty() {
                return Err(invalid(&self.path, problems));
            }
            warn(&config.warnings());
            // Nobody gets in with such a hash; all others do.
            warn(&config.users.problems);
            warn(&self.fixed(&config));
            Ok(config)
        })
    }

    /// What has changed in the file and only counts from the next start on.
    fn fixed(&self, config: &WebConfig) -> Vec<Problem> {
        let changed = [
            ("tls_server_config", !self.encrypts && config.tls.is_on()),
            ("http_server_config.http2", self.encrypts && config.http2 != self.http2),
            ("rate_limit", config.rate != self.rate),
        ];
        let problem = |path: &str| Problem {
            path: path.to_owned(),
            text: "counts from the next start on; until then it is as it was".to_owned(),
        };
        changed.iter().filter(|(_, changed)| *changed).map(|(path, _)| problem(path)).collect()
    }

    /// What the next TLS connection is served with; `None` if the file, a certificate or the key is invalid.
    pub(super) fn server(&self) -> Option<Arc<ServerConfig>> {
        let config = self.config()?;
        let material = if config.tls.is_on() {
            Material::read(&config.tls)
        } else {
            Err(vec![Problem {
                path: "tls_server_config".to_owned(),
                text: "is gone; TLS cannot be turned off while the program runs".to_owned(),
            }])
        };
        let content = match &material {
            Ok(material) => material.fingerprint(&config.tls),
            Err(problems) => fingerprint(&[format!("{problems:?}").as_bytes()]),
        };
        self.server.get(content, || {
            let made = material.and_then(|material| {
                warn(material.warnings().as_slice());
                material.server_config(&config.tls, self.http2)
            });
            made.map_err(|problems| invalid(&self.path, problems))
        })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The order is the format's: configuration, limit, headers, password, and then what was asked for.
async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let reader = Arc::clone(&access);
    // A disk may keep one waiting.
    let config = tokio::task::spawn_blocking(move || reader.config()).await;
    let Some(config) = config.ok().flatten() else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n");
    };
    if access.limiter.as_ref().is_some_and(|limiter| !limiter.admits(Instant::now())) {
        return refusal(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests\n");
    }
    let is_open = config.open_health && access.extension.health.contains(&request.uri().path());
    let mut response = if is_open || access.passwords.admit(&config.users, request.headers()).await {
        next.run(request).await
    } else {
        let mut response = refusal(StatusCode::UNAUTHORIZED, "Unauthorized\n");
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        response
    };
    for (name, value) in &config.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

fn refusal(status: StatusCode, text: &'static str) -> Response {
    (status, [(X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        let source = io::Error::new(error.kind(), material::cause(&error));
        ConfigError::Unreadable { path: path.to_owned(), source }
    })
}

fn invalid(path: &Path, problems: Vec<Problem>) -> ConfigError {
    ConfigError::Invalid { origin: path.display().to_string(), problems }
}

fn warn(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!("In the web configuration file: {warning}");
    }
}

/// What relative paths in the file are relative to.
fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

#[cfg(test)]
mod tests;

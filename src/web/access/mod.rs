//! Who may read what is served, and over what: TLS, passwords and headers, from the file of
//! `--web.config.file`, whose format is that of Prometheus' exporter-toolkit.
//!
//! Whether there is TLS is fixed at the start. Everything else follows the file: it is read for every request
//! and for every new TLS connection, and parsed where its content is another. While it is invalid nobody is
//! let in. Knows nothing of what is served.

mod file;
mod remembered;
mod tls;
mod users;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use rustls::ServerConfig;

use crate::config::ConfigError;
use crate::yaml::Problem;

use file::WebConfig;
use remembered::{Remembered, fingerprint};
use users::Passwords;

/// The rules of a web configuration file.
pub struct Access {
    path: PathBuf,
    encrypts: bool,
    config: Remembered<WebConfig>,
    server: Remembered<ServerConfig>,
    passwords: Passwords,
}

impl Access {
    /// Reads and checks the file, and the certificate and the key that it names.
    ///
    /// # Errors
    /// [`ConfigError`], naming every problem there is.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let (config, mut problems) = WebConfig::parse(&read(path)?, directory(path));
        if let Some(settings) = &config.tls {
            problems.extend(settings.load().err().unwrap_or_default());
        }
        if !problems.is_empty() {
            return Err(invalid(path, problems));
        }
        Ok(Self {
            path: path.to_owned(),
            encrypts: config.tls.is_some(),
            config: Remembered::default(),
            server: Remembered::default(),
            passwords: Passwords::new(),
        })
    }

    /// Is everything served over TLS?
    pub fn encrypts(&self) -> bool {
        self.encrypts
    }

    /// Puts the rules in front of `router`.
    pub(super) fn guard(self: &Arc<Self>, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::clone(self), guard))
    }

    /// The configuration as the file has it now; `None` if it is invalid.
    fn config(&self) -> Option<Arc<WebConfig>> {
        let text = read(&self.path);
        let content = text.as_ref().map_or_else(ToString::to_string, String::clone);
        self.config.get(fingerprint(&[&content]), || {
            let (config, problems) = WebConfig::parse(&text?, directory(&self.path));
            if problems.is_empty() { Ok(config) } else { Err(invalid(&self.path, problems)) }
        })
    }

    /// What the next TLS connection is served with; `None` if file, certificate or key is invalid.
    pub(super) fn server(&self) -> Option<Arc<ServerConfig>> {
        let config = self.config()?;
        let pair = match &config.tls {
            Some(settings) => settings.read(),
            None => Err(vec![Problem {
                path: "tls_server_config".to_owned(),
                text: "is gone; TLS cannot be turned off while the program runs".to_owned(),
            }]),
        };
        let content = match &pair {
            Ok(pair) => pair.fingerprint(),
            Err(problems) => fingerprint(&[&format!("{problems:?}")]),
        };
        self.server.get(content, || {
            pair.and_then(|pair| pair.server_config()).map_err(|problems| invalid(&self.path, problems))
        })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The order is the format's: configuration, headers, password, and then what was asked for.
async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let reader = Arc::clone(&access);
    // A disk may keep one waiting.
    let config = tokio::task::spawn_blocking(move || reader.config()).await;
    let Some(config) = config.ok().flatten() else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n");
    };
    let mut response = if access.passwords.admit(&config.users, request.headers()).await {
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
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

fn invalid(path: &Path, problems: Vec<Problem>) -> ConfigError {
    ConfigError::Invalid { origin: path.display().to_string(), problems }
}

/// What relative paths in the file are relative to.
fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

#[cfg(test)]
mod tests;

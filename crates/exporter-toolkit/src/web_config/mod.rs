//! The web configuration file of the Prometheus exporters: TLS, client certificates, users, headers and a rate limit.
//!
//! Whether there are TLS, HTTP/2 and a rate limit is fixed at the start. Everything else follows the file: it is read
//! for every request, but at most ten times a second, and for every new TLS connection, and parsed when its content has
//! changed. While it is invalid or cannot be read in time, every request is refused.
//!
//! The modules stand in order of dependency.

mod cache;
mod curve_p521;
mod suites;
mod client_auth;
mod tls_settings;
mod tls_files;
mod rate_limit;
mod users;
mod check_queue;
mod authenticator;
mod file;
mod single_flight;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use rustls::ServerConfig;
use tokio::time::Instant;

use crate::peer::Peer;
use crate::yaml::{self, ConfigError, Problem};

use authenticator::{Authentication, Authenticator};
use cache::{Cache, fingerprint};
use file::FileContent;
use rate_limit::{RateLimit, RateLimiter};
use single_flight::SingleFlight;
use tls_files::TlsFiles;

/// The size of the largest file that is read, in bytes.
const MAX_SIZE: u64 = 1 << 20;
/// How long the content that was read for one request serves others, for which reading takes as long as all the rest.
const CONTENT_SERVES_FOR: Duration = Duration::from_millis(100);

/// What a program adds to the format: a section with the key `health_without_authentication`.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    /// The name of the section, which must not look like a part of the format, such as `my_exporter`.
    pub section: &'static str,
    /// The paths that need no password where the key is true.
    pub health: &'static [&'static str],
}

/// A web configuration file and what follows from it.
pub struct WebConfig {
    path: PathBuf,
    extension: Extension,
    has_tls: bool,
    http2: bool,
    rate_limit: Option<RateLimit>,
    limiter: Option<RateLimiter>,
    warnings: Vec<Problem>,
    content: Cache<FileContent>,
    tls_config: Cache<ServerConfig>,
    content_reads: SingleFlight<FileContent>,
    tls_reads: SingleFlight<ServerConfig>,
    authenticator: Authenticator,
    /// What the last valid content asks of clients.
    demands: Mutex<Demands>,
}

/// Is called with the URI of each request that is refused because of many others.
pub type RefusalHook = Arc<dyn Fn(&Uri) + Send + Sync>;

/// What clients are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Demands {
    password: bool,
    certificate: bool,
}

impl Demands {
    fn of(content: &FileContent) -> Self {
        let certificate = content.tls.is_enabled() && content.tls.requires_trusted_clients();
        Self { password: !content.users.is_empty(), certificate }
    }

    /// Logs what is asked for no longer, and what again.
    fn log_change(self, now: Self) {
        for (before, now, section, what) in [
            (self.password, now.password, "basic_auth_users", "a password"),
            (self.certificate, now.certificate, "client_auth_type", "a trusted client certificate"),
        ] {
            if before && !now {
                tracing::warn!(
                    "In the web configuration file: {section}: no longer asks for {what}, so clients without one \
                     are served; restore it if that is not intended"
                );
            } else if now && !before {
                tracing::info!("In the web configuration file: {section}: asks for {what} from now on");
            }
        }
    }
}

impl WebConfig {
    /// Reads and checks the file and the certificates and keys that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem there is.
    pub fn open(path: &Path, extension: Extension) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let (content, mut problems) = FileContent::parse(&text, directory(path), extension.section);
        problems.extend(content.users.problems.iter().cloned());
        let mut warnings = content.warnings();
        let (has_tls, http2, rate_limit) = (content.tls.is_enabled(), content.http2, content.rate_limit);
        let mut tls_config = Cache::default();
        if has_tls {
            let built = TlsFiles::read(&content.tls).and_then(|files| {
                warnings.extend(files.warning());
                let config = files.server_config(&content.tls, http2)?;
                Ok(Cache::new(files.fingerprint(&content.tls), config))
            });
            match built {
                Ok(built) => tls_config = built,
                Err(found) => problems.extend(found),
            }
            problems.extend(content.tls.http2_problem().filter(|_| http2));
        }
        if !problems.is_empty() {
            return Err(invalid(path, problems));
        }
        Ok(Self {
            path: path.to_owned(),
            extension,
            has_tls,
            http2: has_tls && http2,
            rate_limit,
            limiter: rate_limit.map(RateLimiter::new),
            warnings,
            demands: Mutex::new(Demands::of(&content)),
            content_reads: SingleFlight::serving_for(CONTENT_SERVES_FOR),
            tls_reads: SingleFlight::serving_for(Duration::ZERO),
            content: Cache::new(fingerprint(&[text.as_bytes()]), content),
            tls_config,
            authenticator: Authenticator::new(),
        })
    }

    /// Returns whether connections are encrypted.
    pub fn has_tls(&self) -> bool {
        self.has_tls
    }

    /// Returns whether HTTP/2 is offered, which needs TLS.
    pub(crate) fn http2(&self) -> bool {
        self.http2
    }

    /// Returns what the file has that is accepted but may not do what its author expects.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Logs the warnings and the rate limit.
    pub(crate) fn log_start(&self) {
        warn(&self.warnings);
        if let Some(RateLimit { interval, burst }) = self.rate_limit {
            tracing::info!(burst, interval = ?interval, "Rate Limiter is enabled.");
        }
    }

    /// Applies the configuration to every request to `router`. `on_refusal` is called for those that are refused because
    /// too many passwords are being checked.
    pub fn protect(self: &Arc<Self>, router: Router, on_refusal: RefusalHook) -> Router {
        router.layer(middleware::from_fn_with_state((Arc::clone(self), on_refusal), protect))
    }

    /// Returns the content of the file, which is read unless it was read just now; `None` if it is invalid.
    async fn current_content(self: &Arc<Self>) -> Option<Arc<FileContent>> {
        let web_config = Arc::clone(self);
        self.content_reads.load(move || web_config.content()).await
    }

    /// Reads the files and returns the configuration of the next TLS connection; `None` if the file, a certificate or a
    /// key is invalid.
    pub(crate) async fn current_tls_config(self: &Arc<Self>) -> Option<Arc<ServerConfig>> {
        let web_config = Arc::clone(self);
        self.tls_reads.load(move || web_config.tls_config()).await
    }

    fn content(&self) -> Option<Arc<FileContent>> {
        let text = read(&self.path);
        let origin = text.as_ref().map_or_else(ToString::to_string, String::clone);
        self.content.get_or_build(fingerprint(&[origin.as_bytes()]), || {
            let (content, problems) =
                FileContent::parse(&text?, directory(&self.path), self.extension.section);
            if !problems.is_empty() {
                return Err(invalid(&self.path, problems));
            }
            warn(&content.warnings());
            // A hash that cannot be used locks out its own user only.
            warn(&content.users.problems);
            warn(&self.ignored_changes(&content));
            let mut demands = self.demands.lock().unwrap_or_else(PoisonError::into_inner);
            let mut now = Demands::of(&content);
            if !content.tls.is_enabled() {
                // TLS can be neither turned off nor on: new connections are refused, or have no certificate.
                now.certificate = demands.certificate;
            }
            std::mem::replace(&mut *demands, now).log_change(now);
            Ok(content)
        })
    }

    /// Returns the changes that take effect at the next start only.
    fn ignored_changes(&self, content: &FileContent) -> Vec<Problem> {
        let changed = [
            ("tls_server_config", !self.has_tls && content.tls.is_enabled()),
            ("http_server_config.http2", self.has_tls && content.http2 != self.http2),
            ("rate_limit", content.rate_limit != self.rate_limit),
        ];
        let problem = |path: &str| Problem {
            path: path.to_owned(),
            text: "counts from the next start on; until then it is as it was".to_owned(),
        };
        changed.iter().filter(|(_, changed)| *changed).map(|(path, _)| problem(path)).collect()
    }

    fn tls_config(&self) -> Option<Arc<ServerConfig>> {
        let content = self.content()?;
        let files = if content.tls.is_enabled() {
            TlsFiles::read(&content.tls)
        } else {
            Err(vec![Problem {
                path: "tls_server_config".to_owned(),
                text: "is gone; TLS cannot be turned off while the program runs".to_owned(),
            }])
        };
        let origin = match &files {
            Ok(files) => files.fingerprint(&content.tls),
            Err(problems) => fingerprint(&[format!("{problems:?}").as_bytes()]),
        };
        self.tls_config.get_or_build(origin, || {
            let built = files.and_then(|files| {
                warn(files.warning().as_slice());
                files.server_config(&content.tls, self.http2)
            });
            built.map_err(|problems| invalid(&self.path, problems))
        })
    }
}

impl fmt::Debug for WebConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebConfig").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Checks a request in the order that the format prescribes: validity of the file, rate limit, password. The headers
/// are part of every response but the first two refusals.
async fn protect(
    State((web_config, on_refusal)): State<(Arc<WebConfig>, RefusalHook)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(content) = web_config.current_content().await else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n");
    };
    if web_config.limiter.as_ref().is_some_and(|limiter| !limiter.try_acquire(Instant::now())) {
        return refusal(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests\n");
    }
    let is_open = content.open_health && web_config.extension.health.contains(&request.uri().path());
    let authentication = if is_open {
        Authentication::Accepted
    } else {
        let peer = request.extensions().get::<Peer>();
        web_config.authenticator.authenticate(&content.users, request.headers(), peer).await
    };
    let mut response = match authentication {
        Authentication::Accepted => next.run(request).await,
        Authentication::Refused => {
            let mut response = refusal(StatusCode::UNAUTHORIZED, "Unauthorized\n");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            response
        }
        Authentication::Unchecked => {
            on_refusal(request.uri());
            let text = "Too many passwords are being checked, try again later.\n";
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, text);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    };
    for (name, value) in &content.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

fn refusal(status: StatusCode, text: &'static str) -> Response {
    (status, [(X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
}

/// Reads the file, on a thread that may block.
fn read(path: &Path) -> Result<String, ConfigError> {
    yaml::read(path, MAX_SIZE).map_err(|error| {
        let cause = io::Error::new(error.kind(), tls_files::cause(&error));
        ConfigError::Unreadable { path: path.to_owned(), cause }
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

/// Returns the directory to which relative paths in the file refer.
fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

#[cfg(test)]
mod tests;

//! Fetches the collections, page by page, from whichever source has them.

use std::borrow::Cow;
use std::time::Duration;
use std::{fmt, mem};

use jiff::civil::Date;
use reqwest::header::HeaderValue;
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::config::SourceChoice;
use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::Customers;
use crate::domain::deployment::LicenseDeployment;
use crate::domain::failure::FailureReason;
use crate::domain::row::{Row, Rows};
use crate::domain::status::Endpoint;
use crate::domain::usage::{EMPTY_REMEDY, LicenseUsage};

use super::access_token::AccessToken;
use super::blocking::on_one_thread;
use super::commercial::{self, PAGE_ROWS, Sums};
use super::error::FetchError;
use super::http::Retries;
use super::known_server::Use;
use super::page::Next;
use super::paging::{LinkError, MAX_COMMERCIAL_PAGES, PARTNER_VERSION, PageRequest, Pages, VERSION};
use super::partner_center::PartnerCenter;
use super::redaction::Redactor;
use super::refusal;
use super::response::HttpResponse;
use super::source::Source;
use super::turn::Turn;
use super::wire::{self, Decode, WireError};

/// Rows, and the ids of the last response.
type Fetched<R> = (Rows<R>, Vec<String>);

/// Creates the sums of a commercial collection, which refuse labels longer than some bytes.
type NewSums<R, const N: usize> = fn(usize) -> Sums<R, N>;

const USAGE_PATH: &str = "usage/license/";
const DEPLOYMENT_PATH: &str = "deployment/license/";

/// The old source of a collection.
struct Licenses<D> {
    endpoint: Endpoint,
    path: &'static str,
    decoder: D,
}

/// The commercial source of a collection.
struct Commercial<R, const N: usize> {
    of: Use,
    /// The path below `analytics/commercial`.
    path: &'static str,
    sums: NewSums<R, N>,
    /// The labels by which the server is asked to sum, if it is.
    group: Option<&'static str>,
}

const TOO_LARGE: &str =
    "the collection is larger than this program reads; tell its developers how large it is";

/// How often a page is asked for again after a pause, besides the retries without one.
const MAX_PAUSES: u32 = 5;
/// The longest pause within a poll. After a longer one the poll begins anew.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// The requests of one poll.
struct Session<'a> {
    center: &'a PartnerCenter,
    turn: &'a mut Turn,
    token: AccessToken,
    /// Whether the token was renewed, since an access token may be refused before it expires.
    renewed: bool,
    /// The end of a pause that the sign-in service asked for, while the token is valid.
    held: Option<Instant>,
    /// The end of the time that the poll has.
    deadline: Instant,
    /// The day in the past that is asked for, in place of the latest figures.
    day: Option<Date>,
}

/// The commercial source of usage.
const USAGE: Commercial<LicenseUsage, 3> = Commercial {
    of: (Collection::Usage, Endpoint::CommercialUsage),
    path: USAGE_PATH,
    sums: commercial::usage,
    group: Some("serviceCode,serviceName,workloadName,channel"),
};
/// The commercial source of deployment.
const DEPLOYMENT: Commercial<LicenseDeployment, 2> = Commercial {
    of: (Collection::Deployment, Endpoint::CommercialDeployment),
    path: DEPLOYMENT_PATH,
    sums: commercial::deployment,
    group: Some("serviceCode,serviceName,channel"),
};

impl PartnerCenter {
    /// The endpoints to which requests for a collection may be sent.
    pub fn endpoints(&self, collection: Collection) -> impl Iterator<Item = Endpoint> {
        let choice = self.account.collections.source;
        let (asks_old, asks_new) = (choice != SourceChoice::Commercial, choice != SourceChoice::Licenses);
        let (old, new) = (Endpoint::Usage, Endpoint::CommercialUsage);
        let (old_deployment, new_deployment) = (Endpoint::Deployment, Endpoint::CommercialDeployment);
        let asked = match collection {
            Collection::Usage => [(old, asks_old), (new, asks_new)],
            Collection::Deployment => [(old_deployment, asks_old), (new_deployment, asks_new)],
            Collection::Customers => [(new, true), (new_deployment, true)],
        };
        asked.into_iter().filter_map(|(endpoint, is_asked)| is_asked.then_some(endpoint))
    }

    /// Fetches a collection, and returns it with the ids of its last page.
    ///
    /// # Errors
    /// [`FetchError`] if the sign-in or a request fails, or if the collection cannot be used.
    pub async fn fetch_with_ids(
        &self,
        collection: Collection,
        turn: &mut Turn,
    ) -> Result<(Collected, Vec<String>), FetchError> {
        let mut session = self.session(collection, None, turn).await?;
        let limit = self.account.label_value_length_limit;
        match collection {
            Collection::Usage => {
                let decoder = wire::usage(limit);
                let old = Licenses { endpoint: Endpoint::Usage, path: "analytics/licenses/usage", decoder };
                session.either(old, USAGE).await.map(|(rows, ids)| (rows.into(), ids))
            }
            Collection::Deployment => {
                let (endpoint, decoder) = (Endpoint::Deployment, wire::deployment(limit));
                let old = Licenses { endpoint, path: "analytics/licenses/deployment", decoder };
                session.either(old, DEPLOYMENT).await.map(|(rows, ids)| (rows.into(), ids))
            }
            Collection::Customers => session.customers().await.map(|(rows, ids)| (rows.into(), ids)),
        }
    }

    /// Fetches a collection as it was on a day, which only the commercial source can tell. A server may answer
    /// with rows of another day.
    ///
    /// # Errors
    /// As for [`Self::fetch_with_ids`].
    pub async fn fetch_day(
        &self,
        collection: Collection,
        day: Date,
        turn: &mut Turn,
    ) -> Result<Collected, FetchError> {
        let mut session = self.session(collection, Some(day), turn).await?;
        Ok(match collection {
            Collection::Usage => session.commercial(&USAGE).await?.0.into(),
            Collection::Deployment => session.commercial(&DEPLOYMENT).await?.0.into(),
            Collection::Customers => session.customers().await?.0.into(),
        })
    }

    async fn session<'a>(
        &'a self,
        collection: Collection,
        day: Option<Date>,
        turn: &'a mut Turn,
    ) -> Result<Session<'a>, FetchError> {
        let deadline = Instant::now() + self.account.collections.timeout_of(collection, self.poll_timeout);
        let token = self.access_tokens.token().await?;
        let held = self.ledger.read().hold_until;
        Ok(Session { center: self, turn, token, renewed: false, held, deadline, day })
    }
}

/// Whether the server says that it does not have the collection.
fn is_gone(error: &FetchError) -> bool {
    matches!(error.status, Some(StatusCode::NOT_FOUND | StatusCode::GONE))
}

/// Whether the server does not have the collection, or nothing in it that can be used.
fn has_nothing(error: &FetchError) -> bool {
    is_gone(error) || error.status == Some(StatusCode::NO_CONTENT) || !error.rejected.is_empty()
}

impl Session<'_> {
    /// Fetches from the source that is configured, or from the second one where the first is gone or has no row.
    async fn either<R: Row + Send + 'static, D: Decode<Output = Rows<R>>, const N: usize>(
        &mut self,
        old: Licenses<D>,
        successor: Commercial<R, N>,
    ) -> Result<Fetched<R>, FetchError> {
        let choice = self.center.account.collections.source;
        if choice == SourceChoice::Commercial {
            return self.commercial(&successor).await;
        }
        let pages = Pages::begin(&self.center.account.cloud.api_base_url, old.path);
        let first = match self.pages(old.endpoint, pages, old.decoder).await {
            Ok((decoder, response)) => self.finish(move || decoder.finish(), &response).await,
            Err(error) => Err(error),
        };
        let is_gone = first.as_ref().is_err_and(is_gone);
        let has_nothing = match &first {
            Ok((rows, _)) => rows.rows().is_empty(),
            Err(error) => has_nothing(error),
        };
        if choice == SourceChoice::Licenses || !has_nothing {
            self.center.commercial.set(successor.of, |known| known.told.clear());
            return first;
        }
        match self.commercial(&successor).await {
            Ok(second) if is_gone || !second.0.rows().is_empty() => Ok(second),
            Ok(_) => first,
            Err(error) => {
                self.tell(successor.of, &error);
                first
            }
        }
    }

    /// Fetches the usage and the deployment of all customers. Where there is no deployment, there is usage still.
    async fn customers(&mut self) -> Result<(Customers, Vec<String>), FetchError> {
        let settings = &self.center.account.collections.customers;
        let usage = Commercial {
            of: (Collection::Customers, Endpoint::CommercialUsage),
            path: USAGE_PATH,
            sums: match (settings.names, self.center.ledger.read().keeps_products) {
                (false, false) => commercial::customer_usage,
                (true, false) => |limit| commercial::customer_usage(limit).with_names(),
                (false, true) => |limit| commercial::customer_usage(limit).with_products(),
                (true, true) => |limit| commercial::customer_usage(limit).with_names().with_products(),
            },
            group: None,
        };
        let (mut sums, response) = self.commercial_pages(&usage).await?;
        let names = sums.take_names();
        let ((usage, products), ids) = self.finish(move || sums.rows_and_products(), &response).await?;
        drop(response);
        let deployment = Commercial {
            of: (Collection::Customers, Endpoint::CommercialDeployment),
            path: DEPLOYMENT_PATH,
            sums: commercial::customer_deployment,
            group: None,
        };
        let deployment = match self.commercial(&deployment).await {
            Ok((rows, _)) => {
                if rows.rows().is_empty() && !usage.rows().is_empty() {
                    let error = FetchError::new(FailureReason::Payload, "the collection is empty");
                    let of = (Collection::Customers, Endpoint::CommercialDeployment);
                    self.tell(of, &error.with_remedy(EMPTY_REMEDY));
                }
                rows
            }
            Err(error) if has_nothing(&error) => {
                self.tell((Collection::Customers, Endpoint::CommercialDeployment), &error);
                Rows::default()
            }
            Err(error) => return Err(error),
        };
        let customers = move || Customers::new(usage, deployment, names).with_products(products);
        Ok((on_one_thread(customers).await, ids))
    }

    /// Counts the rows that were dropped from a second source that failed, and logs why, once for each reason.
    fn tell(&self, of: Use, error: &FetchError) {
        if !error.rejected.is_empty() {
            self.center.ledger.write(|status| {
                status
                    .collections
                    .get_mut(&of.0)
                    .into_iter()
                    .for_each(|it| it.count_rejected(&error.rejected));
            });
        }
        let is_new = self.center.commercial.set(of, |known| {
            let is_new = !known.told.contains(&error.reason());
            if is_new {
                known.told.push(error.reason());
            }
            is_new
        });
        if is_new {
            let (account, reason) = (self.center.account.display_name(), error.reason().as_str());
            let (collection, endpoint, remedy) = (of.0.as_str(), of.1.as_str(), error.remedy());
            tracing::warn!(account, collection, endpoint, reason, err = %error, remedy, "The second source cannot be used");
        }
    }

    /// Fetches from the commercial source, grouped by the server where it does that.
    async fn commercial<R: Row + Send + 'static, const N: usize>(
        &mut self,
        source: &Commercial<R, N>,
    ) -> Result<Fetched<R>, FetchError> {
        let (mut sums, response) = self.commercial_pages(source).await?;
        if sums.lacks_dates() {
            // Grouped rows have no date. The server answers for one date, that of any row.
            let version = self.versions(source.of).remove(0);
            let pages = self.commercial_begin(source.path, &version, &[("top", "1")]);
            let dated = self.get_with_valid_token(source.of.1, pages.current()).await?;
            if !dated.status.is_success() {
                return Err(self.refused(&dated));
            }
            let date = on_one_thread(move || commercial::first_date(dated.json())).await;
            sums.set_date(date.ok().flatten());
        }
        let fetched = self.finish(move || sums.finish(), &response).await?;
        if !fetched.0.rows().is_empty() {
            self.center.commercial.set(source.of, |known| known.told.clear());
        }
        Ok(fetched)
    }

    /// Logs that the number of rows is not the announced one, unless that is known.
    fn note_discrepancy(&self, of: Use, found: Option<(usize, u64)>) {
        let before = self.center.commercial.set(of, |known| mem::replace(&mut known.discrepancy, found));
        if let Some((received, announced)) = found.filter(|_| before != found) {
            let account = self.center.account.display_name();
            let (collection, endpoint) = (of.0.as_str(), of.1.as_str());
            let text = "The number of rows is not the announced one; a page may have left some out";
            tracing::warn!(account, collection, endpoint, received, announced, "{text}");
        }
    }

    /// Requests all pages by the path that exists, grouped unless the server refuses to.
    async fn commercial_pages<R: Row + Send + 'static, const N: usize>(
        &mut self,
        source: &Commercial<R, N>,
    ) -> Result<(Sums<R, N>, HttpResponse), FetchError> {
        let Commercial { of, path, sums, mut group } = *source;
        let limit = self.center.account.label_value_length_limit;
        let top = PAGE_ROWS.to_string();
        let mut versions = self.versions(of).into_iter();
        let mut version = versions.next().expect("there is at least one");
        group = group.filter(|_| !self.center.commercial.get(of).ungrouped);
        loop {
            let query: Vec<_> = [("top", &*top), ("skip", "0")]
                .into_iter()
                .chain(group.map(|group| ("groupby", group)))
                .collect();
            let pages = self.commercial_begin(path, &version, &query);
            let outcome = self.pages(of.1, pages, sums(limit)).await;
            match outcome.as_ref().map_err(|error| error.status) {
                Ok((sums, _)) => {
                    self.center.commercial.set(of, |known| {
                        known.version = Some(version);
                        known.ungrouped = group.is_none();
                    });
                    self.note_discrepancy(of, sums.discrepancy());
                    return outcome;
                }
                Err(Some(StatusCode::NOT_FOUND | StatusCode::GONE)) => match versions.next() {
                    Some(other) => version = other,
                    None => return outcome,
                },
                Err(Some(StatusCode::BAD_REQUEST)) if group.is_some() => group = None,
                Err(_) => return outcome,
            }
        }
    }

    /// The paths below which `analytics/commercial` may be, the most likely one first.
    fn versions(&self, of: Use) -> Vec<Cow<'static, str>> {
        if let Some(path) = &self.center.account.collections.commercial_path {
            return vec![path.clone().into()];
        }
        let mut both = [PARTNER_VERSION, VERSION].map(Cow::Borrowed);
        if self.center.commercial.get(of).version.as_deref() == Some(VERSION) {
            both.reverse();
        }
        both.into()
    }

    fn commercial_begin(&self, path: &str, version: &str, query: &[(&str, &str)]) -> Pages {
        let day = self.day.map(|day| ("processedDateTime", day.to_string()));
        let mut serializer = form_urlencoded::Serializer::new(String::new());
        let query = serializer.extend_pairs(query).extend_pairs(day).finish();
        let path = format!("analytics/commercial/{path}?{query}");
        let base = &self.center.account.cloud.api_base_url;
        Pages::below(base, version, &path, MAX_COMMERCIAL_PAGES)
    }

    fn redactor(&self) -> Redactor {
        Redactor::new(vec![self.token.secret().clone()])
    }

    /// Requests all pages of a collection, since missing pages would look like lost series. Returns the last response.
    async fn pages<D: Decode>(
        &mut self,
        endpoint: Endpoint,
        mut pages: Pages,
        mut decoder: D,
    ) -> Result<(D, HttpResponse), FetchError> {
        let mut pauses = 0;
        loop {
            let (began, before) = (Instant::now(), decoder.received());
            let (so_far, outcome) = self.page(endpoint, pages.current(), decoder).await;
            decoder = so_far;
            let (next, response) = match outcome {
                Ok(page) => page,
                Err(mut error) => {
                    // A later page that is missing does not mean that there are no rows.
                    error.status =
                        error.status.filter(|it| *it != StatusCode::NO_CONTENT || !pages.has_begun());
                    // The pages before it, of which there may be a hundred, are not fetched again.
                    let may_go_on = pages.has_begun() && D::CAN_SKIP;
                    if may_go_on && self.pause(&error, pauses, began.elapsed()).await {
                        pauses += 1;
                        continue;
                    }
                    return Err(error);
                }
            };
            pauses = 0;
            self.center.received.add_page(decoder.received() - before);
            match next {
                Next::End => return Ok((decoder, response)),
                Next::Link(link) => pages.follow(&link).or_else(|error| match error {
                    LinkError::Unusable | LinkError::ForeignOrigin if D::CAN_SKIP => {
                        pages.skip(decoder.received())
                    }
                    error => Err(error),
                }),
                Next::Skip(rows) => pages.skip(rows),
            }
            .map_err(|error| {
                let unusable = refusal::unusable(&error.to_string(), &response, &self.redactor());
                let is_too_large = matches!(error, LinkError::TooManyPages(_));
                unusable.with_remedy(is_too_large.then_some(TOO_LARGE))
            })?;
            self.turn.pass().await;
        }
    }

    /// Requests a page and has it read. Returns what follows it, and its response without the body.
    async fn page<D: Decode>(
        &mut self,
        endpoint: Endpoint,
        request: &PageRequest,
        mut decoder: D,
    ) -> (D, Result<(Next, HttpResponse), FetchError>) {
        let mut response = match self.get_with_valid_token(endpoint, request).await {
            Ok(response) if response.status.is_success() => response,
            Ok(response) => return (decoder, Err(self.refused(&response))),
            Err(error) => return (decoder, Err(error)),
        };
        let is_empty = response.json().is_empty();
        // A large page takes a tenth of a second, in which scrapes would wait.
        let read = move || {
            let next = decoder.read(response.json());
            // The rows are sorted without it.
            response.body = Vec::new();
            decoder.settle();
            (next, decoder, response)
        };
        let (next, decoder, response) = on_one_thread(read).await;
        let unusable = |why: &dyn fmt::Display, has_content: bool| {
            let error = refusal::unusable(&why.to_string(), &response, &self.redactor());
            Err(FetchError { status: (!has_content).then_some(StatusCode::NO_CONTENT), ..error })
        };
        let outcome = match next {
            _ if response.status == StatusCode::NO_CONTENT => unusable(&"the response has no content", false),
            Ok(next) => return (decoder, Ok((next, response))),
            Err(error) => {
                let is_too_large = matches!(error, WireError::TooManyRows(_));
                let unusable = unusable(&error, !is_empty);
                unusable.map_err(|error| error.with_remedy(is_too_large.then_some(TOO_LARGE)))
            }
        };
        (decoder, outcome)
    }

    /// Waits before a page is asked for again that failed with `error` after `took`, and after `pauses` pauses. Returns
    /// whether it can be asked for within the poll: several times if that may help, and once in any case, since gateways
    /// send pages of their own, and a second factor is demanded of a share of the requests.
    async fn pause(&mut self, error: &FetchError, pauses: u32, took: Duration) -> bool {
        let most = if error.is_transient() { MAX_PAUSES } else { 1 };
        if pauses >= most {
            return false;
        }
        if error.retry_after().is_some() {
            return self.wait_until_allowed().await.is_ok();
        }
        let pause = self.center.http.pause_between_pages(pauses);
        if error.reason() == FailureReason::Throttled || Instant::now() + pause + took >= self.deadline {
            return false;
        }
        self.turn.rest(pause).await;
        true
    }

    /// Waits for the end of a pause that the server asked for since this poll began.
    async fn wait_until_allowed(&self) -> Result<(), FetchError> {
        let asked = self.center.ledger.read().hold_until.filter(|until| Some(*until) > self.held);
        let Some(until) = asked else { return Ok(()) };
        if until >= self.deadline || until.saturating_duration_since(Instant::now()) > LONGEST_PAUSE {
            let text = "the server asked for a pause between two requests of a poll";
            return Err(FetchError::new(FailureReason::Throttled, text));
        }
        sleep_until(until).await;
        Ok(())
    }

    /// The error for a response that is not a success.
    fn refused(&self, response: &HttpResponse) -> FetchError {
        let error = refusal::by_api(response, &self.redactor());
        error.with_command_flags(&self.center.account.command_flags)
    }

    /// What `finish` makes of all pages, of which this is the last response, and its ids.
    async fn finish<T: Send + 'static>(
        &self,
        finish: impl FnOnce() -> Result<T, WireError> + Send + 'static,
        response: &HttpResponse,
    ) -> Result<(T, Vec<String>), FetchError> {
        let redactor = self.redactor();
        let rows = on_one_thread(finish).await.map_err(|error| {
            let unusable = refusal::unusable(&error.to_string(), response, &redactor);
            match error {
                WireError::NothingUsable(rejected) => FetchError { rejected, ..unusable },
                _ => unusable,
            }
        })?;
        Ok((rows, refusal::ids(response, &redactor)))
    }

    async fn get(&self, endpoint: Endpoint, page: &PageRequest) -> Result<HttpResponse, FetchError> {
        // As documented, a retry repeats the request id; neither id is used for another call.
        let (request_id, correlation_id) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let request = |client: &Client| {
            client
                .get(page.url.clone())
                .headers(page.headers.clone())
                .bearer_auth(self.token.secret().expose_secret())
                .header("Accept", "application/json")
                .header("MS-RequestId", &request_id)
                .header("MS-CorrelationId", &correlation_id)
                .header("X-Locale", &self.center.account.locale)
                // Asks for `isMfaCompliant`, which says whether the token has the MFA claim that the API demands.
                .header("ValidateMfa", "true")
        };
        let ids = [format!("MS-RequestId {request_id}"), format!("MS-CorrelationId {correlation_id}")];
        let response = self.center.http.send(endpoint, request, Retries::ByPolicy).await;
        let mut response = response.map_err(|error| error.with_ids(&ids))?;
        // The API repeats the ids. A gateway or a proxy does not, but may log them.
        for (name, id) in [("ms-requestid", request_id), ("ms-correlationid", correlation_id)] {
            let id = HeaderValue::from_maybe_shared(id).expect("an id is plain ASCII");
            response.headers.entry(name).or_insert(id);
        }
        let compliant = response.headers.get("isMfaCompliant").and_then(|value| value.to_str().ok());
        if let Some(compliant) = compliant.and_then(|text| text.to_ascii_lowercase().parse().ok()) {
            self.center.ledger.write(|status| status.credentials.mfa_compliant = Some(compliant));
        }
        Ok(response)
    }

    /// Requests a page, not before the end of a pause that the server asked for since the poll began. An access token may
    /// be refused before it expires: it is renewed once per poll.
    async fn get_with_valid_token(
        &mut self,
        endpoint: Endpoint,
        page: &PageRequest,
    ) -> Result<HttpResponse, FetchError> {
        let is_refused = |response: &HttpResponse| response.status == StatusCode::UNAUTHORIZED;
        self.wait_until_allowed().await?;
        let tokens = &self.center.access_tokens;
        let mut response = self.get(endpoint, page).await?;
        if is_refused(&response) && response.retry_after.is_none() && !self.renewed {
            self.renewed = true;
            tokens.discard(&self.token).await;
            self.token = tokens.token().await?;
            response = self.get(endpoint, page).await?;
        }
        if is_refused(&response) {
            tokens.discard(&self.token).await;
        }
        Ok(response)
    }
}

impl Source for PartnerCenter {
    async fn fetch(&self, collection: Collection, turn: &mut Turn) -> Result<Collected, FetchError> {
        Ok(self.fetch_with_ids(collection, turn).await?.0)
    }

    async fn credentials_changed(&self) -> bool {
        self.access_tokens.credentials_changed().await
    }

    async fn drain(&self) {
        self.access_tokens.drain().await;
    }
}

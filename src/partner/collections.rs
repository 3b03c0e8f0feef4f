//! Fetches the collections, page by page, from whichever source has them.

use std::time::Duration;
use std::{fmt, mem};

use reqwest::header::HeaderValue;
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::config::SourceChoice;
use crate::domain::collection::{Collected, Collection};
use crate::domain::failure::FailureReason;
use crate::domain::row::{Row, Rows};
use crate::domain::status::Endpoint;

use super::access_token::AccessToken;
use super::blocking::on_one_thread;
use super::commercial::{self, PAGE_ROWS, Sums};
use super::error::FetchError;
use super::http::Retries;
use super::known_server::Known;
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

/// The two sources of a collection.
struct Sources<R, L, const N: usize> {
    /// The path below the version, which differs in its middle.
    name: &'static str,
    endpoints: [Endpoint; 2],
    licenses: L,
    commercial: NewSums<R, N>,
    /// The labels by which the commercial source is asked to sum.
    group: &'static str,
}

/// How often a page is asked for again after the server asked for a pause.
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
}

/// The endpoints of a collection: the old one, and its successor.
const fn endpoints(collection: Collection) -> [Endpoint; 2] {
    match collection {
        Collection::Usage => [Endpoint::Usage, Endpoint::CommercialUsage],
        Collection::Deployment => [Endpoint::Deployment, Endpoint::CommercialDeployment],
    }
}

impl PartnerCenter {
    /// The endpoints to which requests for a collection may be sent.
    pub fn endpoints(&self, collection: Collection) -> impl Iterator<Item = Endpoint> {
        let choice = self.account.collections.source;
        let [old, new] = endpoints(collection);
        let old = (choice != SourceChoice::Commercial).then_some(old);
        old.into_iter().chain((choice != SourceChoice::Licenses).then_some(new))
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
        let token = self.access_tokens.token().await?;
        let held = self.ledger.read().hold_until;
        let mut session = Session { center: self, turn, token, renewed: false, held };
        let limit = self.account.label_value_length_limit;
        match collection {
            Collection::Usage => {
                let sources = Sources {
                    name: "usage",
                    endpoints: endpoints(collection),
                    licenses: wire::usage(limit),
                    commercial: commercial::usage,
                    group: "serviceCode,serviceName,workloadName,channel",
                };
                session.either(sources).await.map(|(rows, ids)| (rows.into(), ids))
            }
            Collection::Deployment => {
                let sources = Sources {
                    name: "deployment",
                    endpoints: endpoints(collection),
                    licenses: wire::deployment(limit),
                    commercial: commercial::deployment,
                    group: "serviceCode,serviceName,channel",
                };
                session.either(sources).await.map(|(rows, ids)| (rows.into(), ids))
            }
        }
    }
}

impl Session<'_> {
    /// Fetches from the source that is configured, or from the second one where the first is gone or has no row.
    async fn either<R: Row + Send + 'static, L: Decode<Output = Rows<R>>, const N: usize>(
        &mut self,
        sources: Sources<R, L, N>,
    ) -> Result<Fetched<R>, FetchError> {
        let Sources { name, endpoints: [old, new], licenses, commercial, group } = sources;
        let choice = self.center.account.collections.source;
        if choice == SourceChoice::Commercial {
            return self.commercial(name, new, commercial, group).await;
        }
        let pages =
            Pages::begin(&self.center.account.cloud.api_base_url, &format!("analytics/licenses/{name}"));
        let first = match self.pages(old, pages, licenses).await {
            Ok((decoder, response)) => self.finish(decoder, &response).await,
            Err(error) => Err(error),
        };
        let status = first.as_ref().err().and_then(|error| error.status);
        let is_gone = matches!(status, Some(StatusCode::NOT_FOUND | StatusCode::GONE));
        let has_nothing = match &first {
            Ok((rows, _)) => rows.rows().is_empty(),
            Err(error) => is_gone || status == Some(StatusCode::NO_CONTENT) || !error.rejected.is_empty(),
        };
        if choice == SourceChoice::Licenses || !has_nothing {
            self.center.commercial.set(new, |known| known.told.clear());
            return first;
        }
        match self.commercial(name, new, commercial, group).await {
            Ok(second) if is_gone || !second.0.rows().is_empty() => Ok(second),
            Ok(_) => first,
            Err(error) => {
                self.tell(new, &error);
                first
            }
        }
    }

    /// Logs why the second source failed, once for each reason.
    fn tell(&self, endpoint: Endpoint, error: &FetchError) {
        let is_new = self.center.commercial.set(endpoint, |known| {
            let is_new = !known.told.contains(&error.reason());
            if is_new {
                known.told.push(error.reason());
            }
            is_new
        });
        if is_new {
            let (account, reason) = (self.center.account.display_name(), error.reason().as_str());
            let (endpoint, remedy) = (endpoint.as_str(), error.remedy());
            tracing::warn!(account, endpoint, reason, err = %error, remedy, "The second source cannot be used");
        }
    }

    /// Fetches from the commercial source, grouped by the server where it does that.
    async fn commercial<R: Row + Send + 'static, const N: usize>(
        &mut self,
        name: &'static str,
        endpoint: Endpoint,
        sums: NewSums<R, N>,
        group: &'static str,
    ) -> Result<Fetched<R>, FetchError> {
        let (mut sums, response) = self.commercial_pages(name, endpoint, sums, group).await?;
        self.note_discrepancy(endpoint, sums.discrepancy());
        if sums.lacks_dates() {
            // Grouped rows have no date. The server answers for one date, that of any row.
            let version = self.center.commercial.get(endpoint).version.unwrap_or(PARTNER_VERSION);
            let pages = self.commercial_begin(name, version, &[("top", "1")]);
            let dated = self.get_with_valid_token(endpoint, pages.current()).await?;
            if !dated.status.is_success() {
                return Err(self.refused(&dated));
            }
            let date = on_one_thread(move || commercial::first_date(dated.json())).await;
            sums.set_date(date.ok().flatten());
        }
        let fetched = self.finish(sums, &response).await?;
        self.center.commercial.set(endpoint, |known| known.told.clear());
        Ok(fetched)
    }

    /// Logs that the number of rows is not the announced one, unless that is known.
    fn note_discrepancy(&self, endpoint: Endpoint, found: Option<(usize, u64)>) {
        let before =
            self.center.commercial.set(endpoint, |known| mem::replace(&mut known.discrepancy, found));
        if let Some((received, announced)) = found.filter(|_| before != found) {
            let (account, endpoint) = (self.center.account.display_name(), endpoint.as_str());
            let text = "The number of rows is not the announced one; a page may have left some out";
            tracing::warn!(account, endpoint, received, announced, "{text}");
        }
    }

    /// Requests all pages by the path that exists, grouped unless the server refuses to.
    async fn commercial_pages<R: Row + Send + 'static, const N: usize>(
        &mut self,
        name: &'static str,
        endpoint: Endpoint,
        sums: NewSums<R, N>,
        group: &'static str,
    ) -> Result<(Sums<R, N>, HttpResponse), FetchError> {
        let limit = self.center.account.label_value_length_limit;
        let top = PAGE_ROWS.to_string();
        let query = [("top", &*top), ("skip", "0"), ("groupby", group)];
        let Known { version, ungrouped, .. } = self.center.commercial.get(endpoint);
        let (mut version, mut ungrouped, mut tried_other) =
            (version.unwrap_or(PARTNER_VERSION), ungrouped, false);
        loop {
            let query = if ungrouped { &query[..2] } else { &query[..] };
            let pages = self.commercial_begin(name, version, query);
            let outcome = self.pages(endpoint, pages, sums(limit)).await;
            match outcome.as_ref().map_err(|error| error.status) {
                Ok(_) => {
                    self.center.commercial.set(endpoint, |known| {
                        known.version = Some(version);
                        known.ungrouped = ungrouped;
                    });
                    return outcome;
                }
                Err(Some(StatusCode::NOT_FOUND | StatusCode::GONE)) if !tried_other => {
                    version = if version == VERSION { PARTNER_VERSION } else { VERSION };
                    tried_other = true;
                }
                Err(Some(StatusCode::BAD_REQUEST)) if !ungrouped => ungrouped = true,
                Err(_) => return outcome,
            }
        }
    }

    fn commercial_begin(&self, name: &str, version: &str, query: &[(&str, &str)]) -> Pages {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let path = format!("analytics/commercial/{name}/license/?{query}");
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
            let mut response = self.get_with_valid_token(endpoint, pages.current()).await?;
            if !response.status.is_success() {
                // The pages before it are not fetched again because of a short pause, where there may be a hundred.
                let may_wait = pages.has_begun() && decoder.received().is_some() && pauses < MAX_PAUSES;
                if may_wait && response.retry_after.is_some() && self.wait_until_allowed().await.is_ok() {
                    pauses += 1;
                    continue;
                }
                return Err(self.refused(&response));
            }
            let is_empty = response.json().is_empty();
            // A large page takes a tenth of a second, in which scrapes would wait.
            let read = move || {
                let next = decoder.read(response.json());
                // The rows are sorted without it.
                response.body = Vec::new();
                decoder.settle();
                (next, decoder, response)
            };
            let (next, so_far, response) = on_one_thread(read).await;
            decoder = so_far;
            let redactor = self.redactor();
            let unusable = |why: &dyn fmt::Display| refusal::unusable(&why.to_string(), &response, &redactor);
            if response.status == StatusCode::NO_CONTENT {
                let error = unusable(&"the response has no content");
                return Err(FetchError { status: Some(StatusCode::NO_CONTENT), ..error });
            }
            let next = next.map_err(|error| FetchError {
                status: is_empty.then_some(StatusCode::NO_CONTENT),
                ..unusable(&error)
            });
            match next? {
                Next::End => return Ok((decoder, response)),
                Next::Link(link) => pages.follow(&link).or_else(|error| match (error, decoder.received()) {
                    (LinkError::Unusable | LinkError::ForeignOrigin, Some(rows)) => pages.skip(rows),
                    (error, _) => Err(error),
                }),
                Next::Skip(rows) => pages.skip(rows),
            }
            .map_err(|error| unusable(&error))?;
            self.turn.pass().await;
        }
    }

    /// Waits for the end of a pause that the server asked for since this poll began.
    async fn wait_until_allowed(&self) -> Result<(), FetchError> {
        let asked = self.center.ledger.read().hold_until.filter(|until| Some(*until) > self.held);
        let Some(until) = asked else { return Ok(()) };
        if until.saturating_duration_since(Instant::now()) > LONGEST_PAUSE {
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

    /// What all pages bring, of which this is the last response, and its ids.
    async fn finish<R: Row + Send + 'static>(
        &self,
        decoder: impl Decode<Output = Rows<R>>,
        response: &HttpResponse,
    ) -> Result<Fetched<R>, FetchError> {
        let redactor = self.redactor();
        let rows = on_one_thread(move || decoder.finish()).await.map_err(|error| {
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

//! Renders one account: whether its collections work, its credentials, and each collection.

use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};

use crate::domain::account::AccountName;
use crate::domain::collection::Collection;
use crate::domain::failure::FailureReason;
use crate::domain::polled::CollectionStatus;
use crate::domain::status::{AccountStatus, Credentials};
use crate::metrics::Accounts;

use super::collection::{CollectionState, CollectionView};
use super::context::Context;
use super::fact::fact;
use super::limits::{CERTIFICATE_EXPIRES_SOON, REFRESH_TOKEN_EXPIRES_SOON};
use super::table::RowCounts;
use super::text::{Length, time, visible};

/// An account as the page shows it.
pub(super) struct AccountView {
    /// Its place in the configuration, from 1.
    pub(super) number: usize,
    /// The state of the collection that most needs a person.
    pub(super) state: CollectionState,
    /// The rows of the usage collection.
    pub(super) counts: RowCounts,
    collections: Vec<CollectionView>,
    status: AccountStatus,
}

impl AccountView {
    pub(super) fn new(number: usize, status: AccountStatus, accounts: &Accounts, now: Timestamp) -> Self {
        let limits = status.customers;
        let view = |(collection, status): (&_, &Box<_>)| {
            CollectionView::new(*collection, (CollectionStatus::clone(status), limits), accounts, now)
        };
        let collections: Vec<_> = status.collections.iter().map(view).collect();
        let state = collections.iter().map(|view| view.state).min().unwrap_or(CollectionState::Waiting);
        let counts = collections.iter().find(|view| view.collection == Collection::Usage);
        let counts = counts.map(|view| view.counts).unwrap_or_default();
        Self { number, state, counts, collections, status }
    }

    /// The name, isolated from the direction of the text around it.
    pub(super) fn name(&self) -> Markup {
        let name = self.status.name.as_ref().map_or("Account", |name| name.as_str());
        html! { bdi { (visible(name)) } }
    }

    /// The reasons under which its failures are counted.
    pub(super) fn reasons(&self) -> impl Iterator<Item = FailureReason> {
        self.collections.iter().filter_map(CollectionView::reason)
    }

    /// Renders the section of the account, with at most `most` rows of each collection.
    pub(super) fn section(&self, accounts: &Accounts, context: &Context, most: usize) -> Markup {
        let (now, id) = (context.now, format!("account-{}", self.number));
        let name = self.status.name.as_ref().map(AccountName::as_str);
        html! {
            section aria-labelledby=(id) {
                @if let [only] = &*self.collections {
                    div.head { h2 id=(id) { (self.name()) } (only.head(now)) }
                    @if let Some(failure) = only.failure(now) { (failure) }
                    dl { (only.facts(accounts, now)) (self.credentials(now)) }
                    (only.notes(accounts, context))
                    @if let Some(rows) = only.rows(name, accounts, (most, now)) { (rows) }
                } @else {
                    div.head {
                        h2 id=(id) { (self.name()) }
                        p { strong.state.(self.state.class()) { (self.state.word()) } }
                    }
                    dl { (self.credentials(now)) }
                    @for view in &self.collections {
                        div.head { h3 { (view.title()) } (view.head(now)) }
                        @if let Some(failure) = view.failure(now) { (failure) }
                        dl { (view.facts(accounts, now)) }
                        (view.notes(accounts, context))
                        @if let Some(rows) = view.rows(name, accounts, (most, now)) { (rows) }
                    }
                }
            }
        }
    }

    fn credentials(&self, now: Timestamp) -> Markup {
        let Credentials { client_certificate_expires_at, mfa_compliant, .. } = self.status.credentials;
        html! {
            (refresh_token(&self.status.credentials, now))
            @if let Some(end) = client_certificate_expires_at {
                (credential("Client certificate", end, CERTIFICATE_EXPIRES_SOON, now))
            }
            @match mfa_compliant {
                // What the API said before it, or the sign-in service, demanded a second factor.
                _ if self.reasons().any(|reason| reason == FailureReason::Mfa) => {
                    (fact("MFA", attention("demanded"), Some(html! { "sign in again with MFA" })))
                }
                Some(true) => (fact("MFA", "compliant", None)),
                Some(false) => {
                    (fact("MFA", attention("not compliant"), Some(html! { "sign in again with MFA" })))
                }
                None => (fact("MFA", "not known yet", None)),
            }
        }
    }
}

fn refresh_token(credentials: &Credentials, now: Timestamp) -> Markup {
    const NAME: &str = "Refresh token";
    match (credentials.refresh_token_expires_at(now), credentials.refresh_token_issued_at) {
        (Some(end), _) => credential(NAME, end, REFRESH_TOKEN_EXPIRES_SOON, now),
        (None, issued_at) if credentials.refresh_token_refused => {
            let detail = issued_at.map(|at| html! { "issued " (time(at)) });
            fact(NAME, attention("refused"), detail)
        }
        (None, _) => fact(NAME, "not renewed yet", Some(html! { "expiry not known" })),
    }
}

/// Renders the expiry of a credential, marked if it is less than `soon` away.
fn credential(name: &str, end: Timestamp, soon: Duration, now: Timestamp) -> Markup {
    let left = Length::between(now, end);
    let text = if end <= now {
        attention(&format!("expired {} ago", Length::between(end, now)))
    } else if now.saturating_add(soon).is_ok_and(|soon| end < soon) {
        attention(&format!("expires soon, in {left}"))
    } else {
        html! { "expires in " (left) }
    };
    fact(name, text, Some(time(end)))
}

fn attention(text: &str) -> Markup {
    html! { strong.attention { (text) } }
}

//! Serves the customers of all accounts, whether they are published or not: as a page, and as CSV.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};

use crate::domain::collection::Collection;
use crate::sheet;

use super::page::{self, customers};
use super::selection::{Found, OfAccount, Selection};
use super::site::Site;

/// The names and values of a query.
type Pairs = Query<Vec<(String, String)>>;

/// Answers `/customers`.
pub(super) async fn html(State(site): State<Arc<Site>>, Query(query): Pairs) -> Response {
    let selection = match Selection::parse(query) {
        Ok(selection) => selection,
        Err(problem) => return bad_request(&problem),
    };
    page::off_thread(move || {
        let (accounts, now) = (Arc::clone(&site.accounts.borrow()), site.clock.now());
        let all = OfAccount::all(&accounts, now);
        if all.is_empty() { not_found() } else { customers::respond(&all, &accounts, &selection, &site) }
    })
    .await
}

/// Answers `/customers.csv` with all rows that the query selects.
pub(super) async fn csv(State(site): State<Arc<Site>>, Query(query): Pairs) -> Response {
    let selection = match Selection::parse(query) {
        Ok(selection) => selection,
        Err(problem) => return bad_request(&problem),
    };
    page::off_thread(move || {
        let accounts = Arc::clone(&site.accounts.borrow());
        let all = OfAccount::all(&accounts, site.clock.now());
        if all.is_empty() {
            return not_found();
        }
        let mut rows = selection.rows(&all, &accounts);
        selection.sort(&mut rows, usize::MAX);
        let has_accounts = all.iter().any(|of| of.account.is_some());
        let columns = sheet::columns(Collection::Customers, has_accounts);
        let mut body = Vec::new();
        // One by one, since all lines together take more memory than the file.
        let lines =
            rows.iter().map(
                |Found { account, row }| {
                    if has_accounts { sheet::of_account(*account, row.line()) } else { row.line() }
                },
            );
        sheet::write_csv(&mut body, &columns, lines).expect("a vector takes everything");
        let headers = [
            (CONTENT_TYPE, "text/csv; charset=utf-8"),
            (CONTENT_DISPOSITION, "attachment; filename=\"customers.csv\""),
            (CACHE_CONTROL, "no-store"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (headers, Bytes::from(body)).into_response()
    })
    .await
}

fn not_found() -> Response {
    let text = "404 no account has customers; enable them with collections.customers\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

fn bad_request(problem: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("400 {problem}\n")).into_response()
}

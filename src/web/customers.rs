//! Serves the customers of all accounts, whether they are published or not: as a page, and as CSV.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};

use crate::domain::collection::Collection;
use crate::metrics::Accounts;
use crate::sheet;

use super::page::{self, customers};
use super::selection::{Found, OfAccount, Selection};
use super::site::Site;

/// The names and values of a query.
type Pairs = Query<Vec<(String, String)>>;

/// Answers `/customers`.
pub(super) async fn html(State(site): State<Arc<Site>>, Query(query): Pairs) -> Response {
    answer(site, query, customers::respond).await
}

/// Answers `/customers.csv` with all rows that the query selects.
pub(super) async fn csv(State(site): State<Arc<Site>>, Query(query): Pairs) -> Response {
    answer(site, query, file).await
}

/// Makes an answer of the customers of all accounts.
type Answer = fn(&[OfAccount], &Accounts, &Selection, &Site) -> Response;

/// Answers with what `make` makes of the selection, or says why there is nothing to select from.
async fn answer(site: Arc<Site>, query: Vec<(String, String)>, make: Answer) -> Response {
    let selection = match Selection::parse(query) {
        Ok(selection) => selection,
        Err(problem) => return (StatusCode::BAD_REQUEST, format!("400 {problem}\n")).into_response(),
    };
    page::off_thread(move || {
        let accounts = Arc::clone(&site.accounts.borrow());
        let all = OfAccount::all(&accounts, site.clock.now());
        if all.is_empty() {
            let text = "404 no account has customers; enable them with collections.customers\n";
            return (StatusCode::NOT_FOUND, text).into_response();
        }
        make(&all, &accounts, &selection, &site)
    })
    .await
}

fn file(all: &[OfAccount], accounts: &Accounts, selection: &Selection, _: &Site) -> Response {
    let mut rows = selection.rows(all, accounts);
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
}

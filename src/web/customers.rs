//! Serves the customers of all accounts, whether they are published or not: as a page, and as CSV.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};

use crate::domain::collection::Collection;
use crate::large_buffer;
use crate::metrics::Accounts;
use crate::sheet::{self, Column, Line};

use super::page::{self, customers};
use super::selection::{By, Found, OfAccount, Selection, Sorted};
use super::site::Site;

/// The size in bytes of a line with names of usual length.
const TYPICAL_LINE: usize = 160;

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
        if selection.by == By::Product && all.iter().all(|of| of.customers().products().is_none()) {
            let text = if accounts.prices.is_empty() {
                "404 licences are counted by product only if there are prices in the configuration\n"
            } else {
                "404 licences are counted by product from the next poll of customers on\n"
            };
            return (StatusCode::NOT_FOUND, text).into_response();
        }
        make(&all, &accounts, &selection, &site)
    })
    .await
}

fn file(all: &[OfAccount], accounts: &Accounts, selection: &Selection, _: &Site) -> Response {
    let has_accounts = all.iter().any(|of| of.account.is_some());
    let (name, body) = match selection.by {
        By::Workload => {
            let columns = sheet::columns(Collection::Customers, has_accounts);
            let rows = sorted(selection, selection.rows(all, accounts));
            ("customers.csv", written(&columns, rows.iter().map(|it| (it.account, it.row.line()))))
        }
        By::Product => {
            let columns = sheet::product_columns(has_accounts);
            let rows = sorted(selection, selection.products(all, accounts));
            ("customers-by-product.csv", written(&columns, rows.iter().map(|it| (it.account, it.row.line()))))
        }
    };
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (CACHE_CONTROL, "no-store".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, Bytes::from(body)).into_response()
}

fn sorted<'a, R: Sorted>(selection: &Selection, mut rows: Vec<Found<'a, R>>) -> Vec<Found<'a, R>> {
    let all = 0..rows.len();
    selection.sort(&mut rows, all);
    rows
}

/// Writes lines with their accounts one by one, since all lines together take more memory than the file.
fn written<'a>(
    columns: &[Column],
    lines: impl ExactSizeIterator<Item = (Option<&'a str>, Line<'a>)>,
) -> Vec<u8> {
    let mut body = Vec::new();
    large_buffer::reserve(&mut body, lines.len() * TYPICAL_LINE);
    let has_accounts = columns.iter().any(|column| column.key == "account");
    let lines =
        lines.map(|(account, line)| if has_accounts { sheet::of_account(account, line) } else { line });
    let written = sheet::write_csv_keys(&mut body, columns);
    written.and_then(|()| sheet::write_csv_lines(&mut body, lines)).expect("a vector takes everything");
    body
}

//! Serves the customers of all accounts, whether they are published or not: as a page, and as CSV, which is written while
//! it is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinError;

use crate::domain::collection::Collection;
use crate::large_buffer;
use crate::metrics::Accounts;
use crate::sheet::{self, CustomerRow, Line, ProductRow};

use super::doubt::Doubt;
use super::page::{self, customers};
use super::selection::{By, Found, OfAccount, Selection, Sorted};
use super::site::Site;

/// How many lines a piece of a file has: some 64 KiB with names of usual length.
const PIECE_LINES: usize = 400;

/// The names and values of a query.
type Pairs = Query<Vec<(String, String)>>;

/// Answers `/customers`.
pub(super) async fn html(State(site): State<Arc<Site>>, Query(query): Pairs) -> Response {
    answer(site, query, |all, accounts, selection, site| {
        customers::respond(&all, &accounts, &selection, site)
    })
    .await
}

/// Answers `/customers.csv` with all rows that the query selects.
pub(super) async fn csv(State(site): State<Arc<Site>>, Query(query): Pairs) -> Response {
    answer(site, query, file).await
}

/// Makes an answer of the customers of all accounts.
type Answer = fn(Vec<OfAccount>, Arc<Accounts>, Selection, &Site) -> Response;

/// Answers with what `make` makes of the selection, or says why there is nothing to select from.
async fn answer(site: Arc<Site>, query: Vec<(String, String)>, make: Answer) -> Response {
    let selection = match Selection::parse(query) {
        Ok(selection) => selection,
        Err(problem) => return (StatusCode::BAD_REQUEST, format!("400 {problem}\n")).into_response(),
    };
    page::answer_off_thread(move || {
        let accounts = Arc::clone(&site.accounts.borrow());
        let all = OfAccount::all(&accounts, site.clock.now());
        if all.is_empty() {
            return none(&Doubt::all(&accounts, site.clock.now()));
        }
        if selection.by == By::Product && all.iter().all(|of| of.customers().products().is_none()) {
            let text = if accounts.prices.is_empty() {
                "404 licences are counted by product only if there are prices in the configuration\n"
            } else {
                "404 licences are counted by product from the next poll of customers on\n"
            };
            return (StatusCode::NOT_FOUND, text).into_response();
        }
        make(all, accounts, selection, &site)
    })
    .await
}

/// Says why no account has customers.
fn none(doubts: &[Doubt]) -> Response {
    if doubts.is_empty() {
        let text = "404 no account has customers; enable them with collections.customers\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    let doubts: Vec<String> = doubts.iter().map(ToString::to_string).collect();
    let text = format!("503 {}; the status page says more\n", doubts.join("; "));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

fn file(all: Vec<OfAccount>, accounts: Arc<Accounts>, selection: Selection, _: &Site) -> Response {
    let (name, order) = match selection.by {
        By::Workload => ("customers.csv", sorted(&selection, selection.rows(&all, &accounts))),
        By::Product => ("customers-by-product.csv", sorted(&selection, selection.products(&all, &accounts))),
    };
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (CACHE_CONTROL, "no-store".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let has_accounts = all.iter().any(|of| of.account.is_some());
    let rest = Rest { all, accounts, selection, has_accounts, order: order.into_iter() };
    (headers, Body::new(Pieces::of(rest))).into_response()
}

/// The places of rows in the order of the file, in few bytes, since slow readers keep them long.
fn sorted<R: Sorted>(selection: &Selection, mut rows: Vec<Found<'_, R>>) -> Vec<u32> {
    let all = 0..rows.len();
    selection.sort(&mut rows, all);
    let mut order = Vec::new();
    large_buffer::reserve(&mut order, rows.len());
    order.extend(rows.iter().map(|found| u32::try_from(found.at).expect("there are fewer than 2^32 rows")));
    order
}

/// The lines that are still to be written, and what they are made of.
struct Rest {
    all: Vec<OfAccount>,
    accounts: Arc<Accounts>,
    selection: Selection,
    has_accounts: bool,
    order: std::vec::IntoIter<u32>,
}

impl Rest {
    fn keys(&self) -> Vec<u8> {
        let columns = match self.selection.by {
            By::Workload => sheet::columns(Collection::Customers, self.has_accounts),
            By::Product => sheet::product_columns(self.has_accounts),
        };
        let mut piece = Vec::new();
        sheet::write_csv_keys(&mut piece, &columns).expect("a vector takes everything");
        piece
    }

    /// The next lines; nothing after the last one.
    fn next_lines(&mut self) -> Vec<u8> {
        let places: Vec<_> = self.order.by_ref().take(PIECE_LINES).collect();
        let mut piece = Vec::new();
        sheet::write_csv_lines(&mut piece, places.into_iter().map(|place| self.line(place)))
            .expect("a vector takes everything");
        piece
    }

    fn line(&self, place: u32) -> Line<'_> {
        let mut place = place as usize;
        for of in self.selection.of_accounts(&self.all) {
            let customers = of.customers();
            let (number, line) = match self.selection.by {
                By::Workload => {
                    let row = CustomerRow::at(place, customers, of.limits, &self.accounts.thresholds);
                    (customers.rows().len(), row.map(|row| row.line()))
                }
                By::Product => {
                    let row = ProductRow::at(place, customers, &self.accounts.prices);
                    (customers.products().map_or(0, |it| it.rows().len()), row.map(|row| row.line()))
                }
            };
            match line {
                Some(line) if self.has_accounts => return sheet::of_account(of.account.as_deref(), line),
                Some(line) => return line,
                None => place -= number,
            }
        }
        unreachable!("each place is that of a row")
    }
}

/// A body whose pieces are written shortly before they are sent, so that a slow reader does not keep the whole file in
/// memory.
struct Pieces(Receiver<Result<Bytes, JoinError>>);

impl Pieces {
    fn of(mut rest: Rest) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut piece = rest.keys();
            // Until the last line, or until the reader has gone.
            while !piece.is_empty() {
                // Copied on this thread: glibc keeps what many threads have allocated for a while.
                let copy = Bytes::copy_from_slice(&piece);
                drop(piece);
                if sender.send(Ok(copy)).await.is_err() {
                    return;
                }
                match page::off_thread(move || (rest.next_lines(), rest)).await {
                    Ok(next) => (piece, rest) = next,
                    Err(error) => {
                        // The reader must not take the file for complete.
                        sender.send(Err(error)).await.ok();
                        return;
                    }
                }
            }
        });
        Self(receiver)
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = JoinError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, JoinError>>> {
        self.0.poll_recv(context).map(|piece| Some(piece?.map(Frame::data)))
    }
}

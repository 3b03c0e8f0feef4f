//! Says why an account has no customers, or that its polls of them have failed since.

use std::fmt::{self, Display, Formatter};

use jiff::Timestamp;

use crate::domain::collection::Collection;
use crate::domain::failure::FailureReason;
use crate::domain::status::Ledger;
use crate::metrics::Accounts;

/// What a reader of an account's customers has to know. As text it is a clause without a full stop.
pub(super) struct Doubt {
    account: Option<String>,
    /// Why polls fail, and since when.
    failing: Option<(FailureReason, Option<Timestamp>)>,
    lack: Option<Lack>,
}

/// Why there are no customers of an account.
enum Lack {
    NotPolled,
    /// The last ones are too old to be served, or there never were any.
    NoneServed,
}

impl Doubt {
    /// The doubts about all accounts that poll customers.
    pub(super) fn all(accounts: &Accounts, now: Timestamp) -> Vec<Self> {
        accounts.ledgers.iter().filter_map(|ledger| Self::of(ledger, accounts, now)).collect()
    }

    fn of(ledger: &Ledger, accounts: &Accounts, now: Timestamp) -> Option<Self> {
        let status = ledger.read();
        let customers = status.of(Collection::Customers)?;
        let failing = customers.failure().map(|failure| (failure.reason, customers.outcome_since));
        let lack = match customers.visible(now, accounts.stale_after) {
            Some(_) => None,
            None if customers.was_polled() => Some(Lack::NoneServed),
            None => Some(Lack::NotPolled),
        };
        let account = status.name.as_ref().map(ToString::to_string);
        (failing.is_some() || lack.is_some()).then_some(Self { account, failing, lack })
    }
}

impl Display for Doubt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(account) = &self.account {
            write!(f, "{account}: ")?;
        }
        match self.lack {
            Some(Lack::NotPolled) => return write!(f, "customers have not been polled yet"),
            Some(Lack::NoneServed) => write!(f, "no customers")?,
            None => {}
        }
        match self.failing {
            Some((reason, since)) => {
                let (comma, reason) = (if self.lack.is_some() { ", " } else { "" }, reason.as_str());
                write!(f, "{comma}polls of customers fail")?;
                if let Some(since) = since {
                    write!(f, " since {}", since.strftime("%Y-%m-%d %H:%M UTC"))?;
                }
                write!(f, ": {reason}")
            }
            None => write!(f, ", the last ones are older than stale_after"),
        }
    }
}

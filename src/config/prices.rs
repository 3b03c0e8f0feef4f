//! What a licence of each product costs a month. No price is ever in a series.

use std::collections::BTreeMap;

use exporter_toolkit::yaml::{Problems, Section};

use crate::domain::money::{Amount, Currency, Money};

/// The prices of products, by their names in lower case and without white space around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Money>);

/// The highest price, far above that of any licence.
const MAX_PER_MONTH: &str = "1000000";

impl Prices {
    /// What a licence of a product costs a month, if that is configured. Letter case and white space around the name are
    /// ignored, since Microsoft's own vary.
    pub fn of(&self, product: &str) -> Option<&Money> {
        self.0.get(&folded(product))
    }

    /// Whether there is no price.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn read(root: &mut Section, problems: &mut Problems) -> Self {
        let (mut prices, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (n, mut section) in root.sections("prices", problems).unwrap_or_default().into_iter().enumerate()
        {
            let path = section.path("product");
            let product = required(&mut section, "product", problems).map(|product| folded(&product));
            let price = read_price(&mut section, problems);
            section.finish(problems);
            let Some(product) = product else { continue };
            match places.get(&product) {
                Some(first) => problems.add(path, format!("is the product of prices[{first}] already")),
                None => drop(places.insert(product.clone(), n)),
            }
            prices.extend(price.map(|price| (product, price)));
        }
        Self(prices)
    }
}

fn folded(product: &str) -> String {
    product.trim().to_lowercase()
}

fn read_price(section: &mut Section, problems: &mut Problems) -> Option<Money> {
    let amount = required(section, "per_month", problems).and_then(|text| {
        let amount = Amount::parse(text.trim());
        let most = Amount::parse(MAX_PER_MONTH);
        let problem = match amount {
            None => "is not an amount of money; write it without sign and currency and with two decimals at most, as in \
                     36.00"
                .to_owned(),
            amount if amount > most => format!("is more than {MAX_PER_MONTH}"),
            amount => return amount,
        };
        problems.add(section.path("per_month"), problem);
        None
    });
    let currency = required(section, "currency", problems).and_then(|text| {
        let currency = Currency::parse(text.trim());
        if currency.is_none() {
            let problem = "is not a currency; write the three capital letters of ISO 4217, as in EUR";
            problems.add(section.path("currency"), problem);
        }
        currency
    });
    Some(Money { amount: amount?, currency: currency? })
}

/// Takes a value of any kind as it is written, which must be there.
fn required(section: &mut Section, key: &'static str, problems: &mut Problems) -> Option<String> {
    let before = problems.len();
    let text = section.scalar(key, problems).filter(|text| !text.trim().is_empty());
    if text.is_none() && problems.len() == before {
        problems.add(section.path(key), "is missing or empty");
    }
    text
}

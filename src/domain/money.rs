//! Amounts of money: exact, each of one currency, and never added to an amount of another one.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// A currency, by the three capital letters of ISO 4217.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

/// An amount of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// The currency.
    pub currency: Currency,
    /// The amount.
    pub amount: Amount,
}

/// An amount in hundredths, which is written with two decimals, such as `36.00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u128);

/// A sum for each currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<Currency, Amount>);

impl Currency {
    /// The currency with this code, if the text has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let code = <[u8; 3]>::try_from(text.as_bytes()).ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("capital letters are UTF-8")
    }
}

impl Amount {
    /// Parses an amount such as `36`, `36.5` or `36.00`.
    pub fn parse(text: &str) -> Option<Self> {
        let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Fewer digits than would overflow.
        if !are_digits(units) || !are_digits(decimals) || units.len() > 30 || decimals.len() > 2 {
            return None;
        }
        format!("{units}{decimals:0<2}").parse().ok().map(Self)
    }
}

impl Money {
    /// What this many cost together.
    #[must_use]
    pub fn times(self, number: u64) -> Self {
        let Amount(hundredths) = self.amount;
        Self { amount: Amount(hundredths.saturating_mul(number.into())), ..self }
    }
}

impl Totals {
    /// Adds to the sum of the amount's currency.
    pub fn add(&mut self, money: Money) {
        let Amount(sum) = self.0.entry(money.currency).or_default();
        *sum = sum.saturating_add(money.amount.0);
    }

    /// The sums, by currency.
    pub fn iter(&self) -> impl Iterator<Item = Money> {
        self.0.iter().map(|(currency, amount)| Money { currency: *currency, amount: *amount })
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Display for Amount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl Display for Money {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency.as_str())
    }
}

/// The sums, separated by commas.
impl Display for Totals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (n, money) in self.iter().enumerate() {
            write!(f, "{}{money}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: &str, currency: &str) -> Money {
        Money { currency: Currency::parse(currency).unwrap(), amount: Amount::parse(amount).unwrap() }
    }

    #[test]
    fn an_amount_has_two_decimals_at_most_and_no_sign_or_exponent() {
        for (text, shown) in [("36", "36.00"), ("36.5", "36.50"), ("0.07", "0.07"), ("007.10", "7.10")] {
            assert_eq!(Amount::parse(text).map(|it| it.to_string()).as_deref(), Some(shown), "{text}");
        }
        for text in ["", ".", "1.", ".5", "1.234", "-1", "+1", "1e3", "0x1F", "NaN", "1,50", "1 000", "٣"] {
            assert_eq!(Amount::parse(text), None, "{text}");
        }
        assert_eq!(Amount::parse(&"9".repeat(31)), None);
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::parse("EUR").unwrap().as_str(), "EUR");
        for text in ["", "EU", "EURO", "eur", "E1R", "€"] {
            assert_eq!(Currency::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sums_are_exact_and_each_of_one_currency() {
        // As floating-point numbers, ten times a tenth is not one.
        let mut totals = Totals::default();
        for money in std::iter::repeat_n(money("0.10", "EUR"), 10).chain([money("19.99", "USD").times(3)]) {
            totals.add(money);
        }
        assert_eq!(totals.to_string(), "1.00 EUR, 59.97 USD");
        assert_eq!(money("1000000", "EUR").times(1 << 53).to_string(), "9007199254740992000000.00 EUR");
        assert!(Totals::default().is_empty());
    }
}

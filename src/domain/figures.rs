//! The figures of rows: percentages and numbers of licences.

use super::row::RowError;

/// A percentage on the scale 0–100. It may exceed 100 (Microsoft documents "inflated" usage, for example after
/// a licence moved between employees) and is never clamped.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// Accepts finite numbers ≥ 0.
    ///
    /// # Errors
    /// [`RowError::InvalidNumber`] for anything else.
    pub fn new(value: f64) -> Result<Self, RowError> {
        // JSON can contain a negative zero; `+ 0.0` makes it positive.
        if value.is_finite() && value >= 0.0 { Ok(Self(value + 0.0)) } else { Err(RowError::InvalidNumber) }
    }

    /// The share of `part` in `whole`.
    ///
    /// # Errors
    /// [`RowError::NoLicenses`] if `whole` is 0.
    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers of licences are at most 2^53, and sums far below"
    )]
    pub fn of(part: u64, whole: u64) -> Result<Self, RowError> {
        if whole == 0 { Err(RowError::NoLicenses) } else { Self::new(part as f64 * 100.0 / whole as f64) }
    }

    /// The number, on the scale 0–100.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// The largest number of licences that is accepted: beyond it not every whole number is a float.
pub const MAX_LICENSES: u64 = 1 << 53;

/// A number of licences, which may be written as `206.0`.
///
/// # Errors
/// [`RowError::InvalidNumber`] unless it is a whole number from 0 to [`MAX_LICENSES`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "only whole numbers in the range are cast"
)]
pub fn licenses(value: f64) -> Result<u64, RowError> {
    /// What arithmetic may add to a whole number.
    const ROUNDING: f64 = 1e-6;
    let whole = value.round();
    let is_whole = (value - whole).abs() <= ROUNDING && (0.0..=MAX_LICENSES as f64).contains(&whole);
    if is_whole { Ok(whole as u64) } else { Err(RowError::InvalidNumber) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_over_a_hundred_is_kept_and_a_negative_or_infinite_one_is_not() {
        assert_eq!(Percent::new(104.5).map(Percent::get), Ok(104.5));
        for bad in [-0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Percent::new(bad), Err(RowError::InvalidNumber));
        }
        assert!(Percent::new(-0.0).unwrap().get().is_sign_positive());
    }

    #[test]
    fn a_number_of_licences_is_whole_and_fits_into_a_float() {
        for (value, expected) in
            [(0.0, 0), (-0.0, 0), (206.0, 206), (1e-9, 0), (9_007_199_254_740_992.0, 1 << 53)]
        {
            assert_eq!(licenses(value), Ok(expected), "{value}");
        }
        for bad in [-1.0, 0.5, 206.001, 9_007_199_254_740_994.0, f64::NAN, f64::INFINITY] {
            assert_eq!(licenses(bad), Err(RowError::InvalidNumber), "{bad}");
        }
    }

    #[test]
    fn the_share_of_licences_may_exceed_a_hundred_percent_and_needs_a_licence() {
        assert_eq!(Percent::of(3, 8).map(Percent::get), Ok(37.5));
        assert_eq!(Percent::of(9, 8).map(Percent::get), Ok(112.5));
        assert_eq!(Percent::of(1127, 1840).map(Percent::get), Ok(61.25), "without an error of rounding");
        assert_eq!(Percent::of(1, 0), Err(RowError::NoLicenses));
    }
}

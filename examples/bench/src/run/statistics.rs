//! Medians.

/// The median; of nothing, not a number.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        Some(&value) if values.len() % 2 == 1 => value,
        Some(&value) => (value + values.get(middle - 1).copied().unwrap_or(value)) / 2.0,
        None => f64::NAN,
    }
}

/// The least and the greatest.
pub(super) fn extremes(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    values.into_iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
        assert_eq!(extremes([2.0, 1.0, 3.0]), (1.0, 3.0));
    }
}

/// At most `most` of the numbers from `first` to `last`, evenly spaced: all of them, if there are no more.
pub(crate) fn sampled(first: i64, last: i64, most: u64) -> Vec<i64> {
    let count = last.abs_diff(first) + 1;
    let step = count.div_ceil(most.max(1)).max(1);
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    if most == 0 { Vec::new() } else { (first..=last).step_by(step).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_evenly_spaced() {
        assert_eq!(sampled(5, 8, 4), [5, 6, 7, 8]);
        assert_eq!(sampled(5, 9, 4), [5, 7, 9]);
        assert_eq!(sampled(1, 1_000_000, 4), [1, 250_001, 500_001, 750_001]);
        assert_eq!(sampled(1, 9, 0), [0; 0]);
    }
}

//! Ranges of numbers, such as `20000-20099`.

/// Maximum number of tokens in `tokens_range` or `tokens_generated`. More are probably a typo.
pub const MAX_RANGE: u64 = 100_000;

/// The numbers of `text`: ranges and single numbers, separated by commas.
///
/// # Errors
///
/// The rule that the text breaks, with the remedy.
pub(crate) fn numbers(text: &str) -> Result<impl Iterator<Item = u64>, String> {
    let mut ranges =
        text.split(',').map(|part| range(part.trim())).collect::<Result<Vec<_>, _>>()?;
    let count = ranges
        .iter()
        .fold(0, |sum: u64, (first, last)| sum.saturating_add(last - first).saturating_add(1));
    if count > MAX_RANGE {
        return Err(format!("has {count} numbers, and the limit is {MAX_RANGE}"));
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let [(_, end), (start, last)] = [pair[0], pair[1]];
        if start <= end {
            let end = end.min(last);
            return Err(format!("has {start}-{end} twice: ranges must not overlap"));
        }
    }
    Ok(ranges.into_iter().flat_map(|(first, last)| first..=last))
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first.trim())?, number(last.trim())?);
    if first > last {
        return Err(format!("is reversed: write {last}-{first}"));
    }
    Ok((first, last))
}

fn number(text: &str) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err("must be ranges of numbers, such as \"20000-20099\" or \"1-5,8\"".to_owned());
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err("must have no number with leading zeros: list such tokens by name".to_owned());
    }
    text.parse().map_err(|_| format!("has a number above {}", u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<u64>, String> {
        numbers(text).map(Iterator::collect)
    }

    #[test]
    fn ranges_are_listed_in_order() {
        assert_eq!(all("20000-20002"), Ok(vec![20_000, 20_001, 20_002]));
        assert_eq!(all("8, 1 - 3"), Ok(vec![1, 2, 3, 8]));
        assert_eq!(all("0"), Ok(vec![0]));
        assert_eq!(all("1-100000").map(|numbers| numbers.len()), Ok(100_000));
    }

    #[test]
    fn wrong_ranges_are_refused() {
        for (text, why) in [
            ("", "such as"),
            ("a-b", "such as"),
            ("1-", "such as"),
            ("-5", "such as"),
            ("1,,2", "such as"),
            ("1-2-3", "such as"),
            ("007", "leading zeros"),
            ("20099-20000", "write 20000-20099"),
            ("1-10,5-20", "has 5-10 twice"),
            ("1-10,3", "has 3-3 twice"),
            ("1-1000000", "has 1000000 numbers, and the limit is 100000"),
            ("0-18446744073709551615", "the limit is 100000"),
            ("18446744073709551616", "above 18446744073709551615"),
        ] {
            let refused = all(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}

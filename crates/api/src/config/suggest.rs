//! Which name was meant by a misspelt one.

/// The name nearest to `wrong`, if at most a third of its letters differ: swapped, missing, superfluous or other ones.
pub fn closest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong: Vec<char> = wrong.chars().collect();
    let limit = wrong.len().div_ceil(3).min(6);
    let nearest = names
        .into_iter()
        .map(|name| (distance(&wrong, &name.chars().collect::<Vec<_>>()), name))
        .min_by_key(|(d, _)| *d)?;
    (nearest.0 <= limit).then_some(nearest.1)
}

/// Edits from one text to the other, a swap of neighbours counting as one.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["file", "topic", "batch.size", "kurier.line.max.bytes"];
        let cases = [
            ("fiel", Some("file")),
            ("topics", Some("topic")),
            ("batch_size", Some("batch.size")),
            ("kurier.max.line.bytes", None),
            ("connection.url", None),
        ];
        for (wrong, expected) in cases {
            assert_eq!(closest(wrong, names), expected, "{wrong}");
        }
    }
}

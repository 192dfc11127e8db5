//! Which name was meant by a misspelt one.

/// Beyond so many bytes a name is nobody's misspelling, and comparing costs its square.
const LONGEST_NAME: usize = 200;

/// The name nearest to `wrong`, if at most a quarter of its letters differ: swapped, missing, superfluous or other ones. Case does not matter.
pub fn closest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.is_empty() || wrong.len() > LONGEST_NAME {
        return None;
    }
    let length = wrong.chars().count();
    let wrong: Vec<char> = wrong.to_lowercase().chars().collect();
    names
        .into_iter()
        .filter(|name| name.len() <= LONGEST_NAME)
        .filter_map(|name| {
            let other = name.chars().count();
            let most = other.min(length).div_ceil(4);
            if other.abs_diff(length) > most {
                return None;
            }
            let other: Vec<char> = name.to_lowercase().chars().collect();
            Some((distance(&wrong, &other, most)?, name))
        })
        .min()
        .map(|(_, name)| name)
}

/// Edits from one text to the other, a swap of neighbours counting as one; none if there are more than `most`.
fn distance(a: &[char], b: &[char], most: usize) -> Option<usize> {
    let is_far = |row: &[usize]| row.iter().all(|edits| *edits > most);
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
        // A row is made of the two before it, and no number is smaller than what it is made of.
        if is_far(&before) && is_far(&last) {
            return None;
        }
    }
    Some(last[b.len()]).filter(|edits| *edits <= most)
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
            ("TOPIC", Some("topic")),
            ("tpoic", Some("topic")),
            ("tpics", Some("topic")),
            ("xxfil", None),
            ("topicxxx", None),
            ("batch.sise", Some("batch.size")),
            ("x", None),
            ("", None),
        ];
        for (wrong, expected) in cases {
            assert_eq!(closest(wrong, names), expected, "{wrong}");
        }
    }
}

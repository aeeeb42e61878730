//! The nearest of some allowed words to one that was mistyped.

/// The allowed word that was most likely meant: within a third of its length in edits, or longer by a few letters.
pub fn nearest<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase().replace('-', "_");
    let mut best: Option<(usize, &str)> = None;
    for candidate in allowed {
        let distance = edits(&folded, &candidate.to_lowercase().replace('-', "_"));
        let within = distance <= (candidate.chars().count().max(folded.chars().count()) / 3).max(1);
        if within && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Advice for a mistyped word: the nearest, or else all that are allowed.
pub fn advise<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(near) = nearest(word, allowed.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = allowed.into_iter().collect();
    if all.is_empty() {
        return None;
    }
    Some(format!("allowed here: {}", all.join(", ")))
}

/// Edits (insert, delete, replace, swap two neighbours) that make one word of another. Long words are cut: nobody mistypes
/// a page.
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(64).collect();
    let to: Vec<char> = to.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replace = above[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replace.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

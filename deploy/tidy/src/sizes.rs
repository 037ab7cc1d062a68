//! Files that people can read: a ratchet.

use crate::{Source, Violation};

/// No file of code is longer.
pub const MOST_LINES: usize = 800;
/// Half of the files of code are at most this long.
pub const MEDIAN_LINES: usize = 200;

/// Files that were longer when the rule came, with the most they may have: they only shrink.
const LONGER: &[(&str, usize)] = &[("account-service/tests/api/catalogue.rs", 850)];

fn most_lines(path: &str) -> usize {
    let longer = LONGER.iter().find(|(longer, _)| *longer == path);
    longer.map_or(MOST_LINES, |(_, most)| *most)
}

fn lines(sources: &[Source]) -> Vec<(usize, &Source)> {
    let code = sources
        .iter()
        .filter(|s| s.is_rust() || s.path.ends_with(".sol"));
    let mut lines: Vec<_> = code
        .map(|source| (source.text.lines().count(), source))
        .collect();
    lines.sort_by_key(|(lines, _)| *lines);
    lines
}

/// Files that are too long, and half of them if the median is.
pub fn sizes(sources: &[Source]) -> Vec<Violation> {
    let lines = lines(sources);
    let long = lines
        .iter()
        .filter(|(lines, source)| *lines > most_lines(&source.path));
    let mut found: Vec<_> = long
        .map(|(lines, source)| {
            let most = most_lines(&source.path);
            let message = format!("{lines} lines; split it by concept, {most} are the most");
            Violation::new(&source.path, *lines, message)
        })
        .collect();
    if let Some((median, source)) = lines.get(lines.len() / 2)
        && *median > MEDIAN_LINES
    {
        let message =
            format!("the median file has {median} lines, more than {MEDIAN_LINES}; split some");
        found.push(Violation::new(&source.path, *median, message));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_801_lines_is_found_and_a_high_median_as_well() {
        let long = Source::new("a.rs", &"x\n".repeat(801));
        let short = Source::new("b.sol", "x\n");
        let other = Source::new("c.json", &"x\n".repeat(5_000));
        let found = sizes(&[long.clone(), short.clone(), short, other]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].line), ("a.rs", 801));
        let middling = Source::new("d.rs", &"x\n".repeat(201));
        assert_eq!(sizes(&[middling]).len(), 1);
    }
}

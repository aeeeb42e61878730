//! Globs over names: both readers of globs agree, whatever stands in them.
//!
//! An input is a glob a line, an empty line, a name a line.

use rosterd::config::glob::Glob;
use rosterd::reconcile::pattern::NameSet;

/// Matches each name.
pub fn run(data: &[u8]) {
    let (globs, names) = super::halves(data);
    let (globs, names) = (String::from_utf8_lossy(globs), String::from_utf8_lossy(names));
    let texts: Vec<&str> = globs.split('\n').filter(|text| !text.is_empty()).take(20).collect();
    let built: Result<Vec<Glob>, String> = texts.iter().map(|text| Glob::new(text)).collect();
    let set = NameSet::new(&texts);
    let (built, set) = match (built, set) {
        (Ok(built), Ok(set)) => (built, set),
        (Err(_), Err((at, _))) => {
            assert!(at < texts.len());
            return;
        }
        (Ok(_), Err(why)) => panic!("checked, and not built: {why:?}"),
        (Err(why), Ok(_)) => panic!("built, and refused by the check: {why}"),
    };
    for name in names.split('\n').take(20) {
        let by_one = built.iter().any(|glob| glob.is_match(name));
        assert_eq!(set.matches(name), by_one, "{texts:?} and {name:?}");
        assert!(NameSet::new(&["*"]).is_ok_and(|all| all.matches(name)), "{name:?} is not among all");
    }
}

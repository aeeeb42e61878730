//! Names for seeded worlds.

use fastrand::Rng;

const FIRST: &[&str] = &[
    "Anna",
    "Ben",
    "Chloé",
    "Dieter",
    "Elif",
    "Françoise",
    "Grzegorz",
    "Håkon",
    "Inês",
    "Jörg",
    "Katarína",
    "Liam",
    "Marie-Luise",
    "Niamh",
    "Øyvind",
    "Priya",
    "Quentin",
    "Renée",
    "Seán",
    "Tomás",
    "Ursula",
    "Václav",
    "Wei",
    "Ximena",
    "Yusuf",
    "Zoë",
    "Álvaro",
    "Björn",
    "Ciarán",
    "Dana",
    "Emre",
    "Farah",
    "Giulia",
    "Hiroshi",
    "Ingrid",
    "Jae-won",
    "Kofi",
    "Łucja",
    "Mia",
    "Noah",
];

const LAST: &[&str] = &[
    "Müller",
    "O'Brien",
    "García López",
    "van der Berg",
    "Šimek",
    "D'Angelo",
    "Nguyễn",
    "Smith",
    "Łukasiewicz",
    "Özdemir",
    "Jensen",
    "Kowalska",
    "Strauß",
    "Fernández",
    "Okafor",
    "Johnson",
    "Dvořák",
    "Bjørnsen",
    "Rossi",
    "Tanaka",
    "Singh",
    "Becker",
    "Lefèvre",
    "Andersson",
    "Papadopoulos",
    "Weiß",
    "O'Neill",
    "Costa",
    "Yılmaz",
    "Chen",
    "Novak",
    "Schäfer",
    "Murphy",
    "Ibrahim",
    "Kim",
    "Peña",
    "Virtanen",
    "Horvat",
    "Silva",
    "Clark",
    "Krüger",
    "Moreau",
    "Adeyemi",
    "Bauer",
    "Lindqvist",
    "Petrov",
    "Hughes",
    "Sato",
    "Marín",
    "Walker",
];

const DEPARTMENTS: &[&str] =
    &["Engineering", "Sales", "Marketing", "Finance", "People & Culture", "Support", "Legal", "IT", "Research", "Vertrieb Süd"];

const TITLES: &[&str] = &["Engineer", "Senior Engineer", "Manager", "Analyst", "Director", "Specialist", "Assistant"];

/// Names that an address has to escape, or that a careless parser splits.
const ODD: &[&str] = &[
    "R&D / Core",
    "C# Guild",
    "A+B Testing",
    "50% Club",
    "🚀 Launch Crew",
    "Müller's Team",
    "Vertrieb Süd",
    "Ops (on call)",
    "Jira: Admins?",
    "say \"hi\"",
    "a,b;c",
    "Straße=Weg",
    "100%25 sure",
    "<b>bold</b>",
    "back\\slash",
    "Ñandú & Søn",
];

const AREAS: &[&str] = &["eng", "sales", "jira", "confluence", "bitbucket", "data", "finance", "ops"];
const TEAMS: &[&str] = &["users", "backend", "frontend", "platform", "readers", "reviewers", "leads", "tools"];

pub(super) fn person(rng: &mut Rng) -> (&'static str, &'static str) {
    (FIRST[rng.usize(..FIRST.len())], LAST[rng.usize(..LAST.len())])
}

pub(super) fn department(rng: &mut Rng) -> &'static str {
    DEPARTMENTS[rng.usize(..DEPARTMENTS.len())]
}

pub(super) fn title(rng: &mut Rng) -> &'static str {
    TITLES[rng.usize(..TITLES.len())]
}

/// The name of the group at a place: every third is an odd one, as long as they last.
pub(super) fn group(at: usize) -> String {
    if at % 3 == 2
        && let Some(odd) = ODD.get(at / 3)
    {
        return (*odd).to_owned();
    }
    let (area, team, round) = (AREAS[at % 8], TEAMS[at / 8 % 8], at / 64);
    if round == 0 { format!("{area}-{team}") } else { format!("{area}-{team}-{round}") }
}

/// A name as it stands in a login: lower case, plain letters, the apostrophe kept.
pub(super) fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'ä' => slug.push_str("ae"),
            'ö' | 'ø' => slug.push_str("oe"),
            'ü' => slug.push_str("ue"),
            'ß' => slug.push_str("ss"),
            'å' | 'á' | 'à' => slug.push('a'),
            'é' | 'è' | 'ë' | 'ê' | 'ễ' => slug.push('e'),
            'í' | 'ı' => slug.push('i'),
            'ó' => slug.push('o'),
            'ł' => slug.push('l'),
            'ñ' => slug.push('n'),
            'ç' => slug.push('c'),
            'š' => slug.push('s'),
            'ř' => slug.push('r'),
            'ž' => slug.push('z'),
            ' ' => slug.push('-'),
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '\'') => slug.push(c),
            _ => {}
        }
    }
    slug
}

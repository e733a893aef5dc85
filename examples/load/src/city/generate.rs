//! Random books and readers.

use library::domain::{BookData, BookId, ReaderId};
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use uuid::Builder;

/// Generates a random copy.
pub fn book(rng: &mut SmallRng) -> (BookId, BookData) {
    let id = Builder::from_random_bytes(rng.random()).into_uuid().into();
    let (title, authors) = pick(&WORKS, rng);
    let data = BookData {
        isbn: format!("978-{:010}", rng.random_range(0..10_000_000_000_u64)),
        title: title.to_owned(),
        authors: authors.to_owned(),
        edition: pick(&["1st", "2nd", "3rd", "4th, revised"], rng).to_owned(),
        publisher: pick(&PUBLISHERS, rng).to_owned(),
        publication_year: rng.random_range(1950..=2026),
    };
    (id, data)
}

/// Generates a random reader: an id and a name.
pub fn reader(rng: &mut SmallRng) -> (ReaderId, String) {
    let id = Builder::from_random_bytes(rng.random()).into_uuid().into();
    (id, format!("{} {}", pick(&FIRST_NAMES, rng), pick(&LAST_NAMES, rng)))
}

/// Returns a random element.
fn pick<T: Copy, const N: usize>(choices: &[T; N], rng: &mut SmallRng) -> T {
    *choices.choose(rng).expect("the lists are not empty")
}

const WORKS: [(&str, &str); 12] = [
    ("Middlemarch", "George Eliot"),
    ("The Trial", "Franz Kafka"),
    ("Orlando", "Virginia Woolf"),
    ("The Master and Margarita", "Mikhail Bulgakov"),
    ("Pedro Páramo", "Juan Rulfo"),
    ("The Left Hand of Darkness", "Ursula K. Le Guin"),
    ("Things Fall Apart", "Chinua Achebe"),
    ("The Tale of Genji", "Murasaki Shikibu"),
    ("Structure and Interpretation of Computer Programs", "Harold Abelson, Gerald Jay Sussman"),
    ("Gödel, Escher, Bach", "Douglas R. Hofstadter"),
    ("The Radetzky March", "Joseph Roth"),
    ("Beloved", "Toni Morrison"),
];
const PUBLISHERS: [&str; 5] = ["Penguin", "Faber & Faber", "Suhrkamp", "Gallimard", "MIT Press"];
const FIRST_NAMES: [&str; 10] =
    ["Ada", "Amir", "Chiara", "Dmitri", "Elif", "Grace", "José", "Mei", "Noor", "Søren"];
const LAST_NAMES: [&str; 10] = [
    "Byron", "Fischer", "García", "Hopper", "Kowalski", "Nguyen", "Okafor", "O'Neill", "Rossi",
    "Yılmaz",
];

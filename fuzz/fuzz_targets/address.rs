//! An address is taken or refused, and what is said of it repeats no word of it.

#![no_main]

use eddyline::{Config, Error};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|password: &str| {
    let addresses = [
        password.to_owned(),
        format!("postgres://ada:{password}@localhost/library"),
        format!("postgres://localhost/library?password={password}"),
        format!("host=localhost password={password}"),
    ];
    // Only such a word cannot be one of the crate's own.
    let is_foreign = password.len() > 3 && password.chars().all(|c| "JQXZ".contains(c));
    for address in addresses {
        if let Err(error) = Config::new(&address) {
            assert!(matches!(error, Error::InvalidConfig { setting: "url", .. }));
            assert!(!is_foreign || !error.to_string().contains(password), "{error}");
        }
    }
});

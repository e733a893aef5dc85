//! An address is accepted or refused, and the error contains no password.

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
    // Only such words cannot occur in the crate's own text.
    let is_distinctive = password.len() > 3 && password.chars().all(|c| "JQXZ".contains(c));
    for address in addresses {
        if let Err(error) = Config::new(&address) {
            assert!(matches!(error, Error::InvalidConfig { setting: "url", .. }));
            assert!(!is_distinctive || !error.to_string().contains(password), "{error}");
        }
    }
});

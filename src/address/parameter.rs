use std::str;

use super::Reason;
use super::draft::Draft;

/// What becomes of a parameter that an address may not set freely.
enum Rule {
    /// Only values that ask for what a store does anyway are taken.
    Only(&'static [&'static str]),
    /// No value is taken.
    Refused,
}

/// Sets what a parameter says.
pub(super) fn apply(draft: &mut Draft, name: &str, value: &[u8]) -> Result<(), Reason> {
    if name == "password" {
        draft.driver.password(value);
        return Ok(());
    }
    let value = str::from_utf8(value).ok();
    if let Some((name, expected)) = HONOURED.iter().find(|(honoured, _)| *honoured == name) {
        let taken = value.and_then(|value| draft.set(name, value));
        return taken.ok_or_else(|| format!("the value of {name} is none of {expected}").into());
    }
    let Some((name, rule, advice)) = OTHERS.iter().find(|(other, ..)| *other == name) else {
        return Err(UNKNOWN.into());
    };
    match rule {
        Rule::Only(values) if value.is_some_and(|value| values.contains(&value)) => Ok(()),
        Rule::Only(values) => {
            let values = values.join(", ");
            Err(format!("{name} takes only {values} here: {advice}").into())
        }
        Rule::Refused => Err(format!("{name} is not taken from an address: {advice}").into()),
    }
}

/// The parameters that are honoured, with the values that they take.
const HONOURED: [(&str, &str); 23] = [
    ("application_name", "the texts of UTF-8"),
    ("channel_binding", "disable, prefer, require"),
    ("connect_timeout", "1 to 2073600 seconds; Config::connect_timeout takes fractions"),
    ("dbname", "the texts of UTF-8"),
    ("fallback_application_name", "the texts of UTF-8"),
    ("host", "the names of hosts, with commas between"),
    ("hostaddr", "the addresses of hosts, with commas between"),
    ("keepalives", "0, 1"),
    ("keepalives_count", "1 to 1000"),
    ("keepalives_idle", "1 to 2073600 seconds"),
    ("keepalives_interval", "1 to 2073600 seconds"),
    ("keepalives_retries", "1 to 1000"),
    ("load_balance_hosts", "disable, random"),
    ("options", "the texts of UTF-8"),
    ("password", "all texts"),
    ("port", "the numbers from 1 to 65535, with commas between"),
    ("ssl", "true, which is sslmode=require; for others set Config::tls"),
    (
        "sslmode",
        "disable, prefer, require: for verify-ca and verify-full set \
         Config::tls(Tls::Verify { ca_file }), for allow take prefer",
    ),
    ("sslnegotiation", "postgres, direct"),
    ("target_session_attrs", "any, primary, read-write, read-only, standby, prefer-standby"),
    ("tcp_user_timeout", "1 to 2073600000 milliseconds"),
    ("tty", "the texts of UTF-8, and ignored"),
    ("user", "the texts of UTF-8"),
];

/// The other parameters of libpq, and some of other drivers, with what to do instead.
const OTHERS: [(&str, Rule, &str); 47] = [
    (
        "client_encoding",
        Rule::Only(&["UTF8", "UTF-8", "utf8", "utf-8", "auto"]),
        "events are UTF-8",
    ),
    ("connection_limit", Rule::Refused, "set Config::max_connections"),
    ("currentSchema", Rule::Refused, "set Config::schema"),
    ("gssdelegation", Rule::Only(&["0"]), NO_GSS),
    ("gssencmode", Rule::Only(&["disable", "prefer"]), "to demand encryption set Config::tls"),
    ("gsslib", Rule::Refused, NO_GSS),
    ("krbsrvname", Rule::Refused, NO_GSS),
    ("lock_timeout", Rule::Refused, "set Config::lock_timeout"),
    ("max_connections", Rule::Refused, "set Config::max_connections"),
    ("max_protocol_version", Rule::Only(&["3.0", "3.2", "latest"]), "a store speaks version 3.0"),
    ("min_protocol_version", Rule::Only(&["3.0"]), "a store speaks version 3.0"),
    ("oauth_client_id", Rule::Refused, NO_OAUTH),
    ("oauth_client_secret", Rule::Refused, NO_OAUTH),
    ("oauth_issuer", Rule::Refused, NO_OAUTH),
    ("oauth_scope", Rule::Refused, NO_OAUTH),
    ("passfile", Rule::Refused, "read the file, and set password"),
    ("pgbouncer", Rule::Only(&["false"]), "set Config::pooler(Pooler::Transaction)"),
    ("pool_max_conns", Rule::Refused, "set Config::max_connections"),
    ("pool_size", Rule::Refused, "set Config::max_connections"),
    ("pool_timeout", Rule::Refused, "set Config::acquire_timeout"),
    (
        "prepared_statements",
        Rule::Refused,
        "behind a pooler set Config::pooler(Pooler::Transaction)",
    ),
    ("prepareThreshold", Rule::Refused, "behind a pooler set Config::pooler(Pooler::Transaction)"),
    (
        "replication",
        Rule::Only(&["0", "false", "no", "off"]),
        "a store reads no replication stream",
    ),
    ("require_auth", Rule::Refused, "set channel_binding=require, which only SCRAM meets"),
    ("requirepeer", Rule::Refused, "protect the directory of the socket"),
    ("requiressl", Rule::Only(&["0"]), "set sslmode=require"),
    ("schema", Rule::Refused, "set Config::schema"),
    ("scram_client_key", Rule::Refused, "set password"),
    ("scram_server_key", Rule::Refused, "set password"),
    ("search_path", Rule::Refused, "set Config::schema"),
    ("service", Rule::Refused, "write out what the service file says"),
    ("servicefile", Rule::Refused, "write out what the service file says"),
    ("socket_timeout", Rule::Refused, "set Config::statement_timeout"),
    ("ssl_max_protocol_version", Rule::Only(&["TLSv1.3"]), "limit the version on the server"),
    (
        "ssl_min_protocol_version",
        Rule::Only(&["TLSv1", "TLSv1.1", "TLSv1.2"]),
        "a store speaks TLSv1.2 and TLSv1.3; limit the version on the server",
    ),
    ("sslcert", Rule::Refused, NO_CLIENT_CERTIFICATE),
    ("sslcertmode", Rule::Only(&["disable", "allow"]), NO_CLIENT_CERTIFICATE),
    ("sslcompression", Rule::Only(&["0"]), "TLS compresses nothing any more"),
    ("sslcrl", Rule::Refused, NO_REVOCATION),
    ("sslcrldir", Rule::Refused, NO_REVOCATION),
    ("sslkey", Rule::Refused, NO_CLIENT_CERTIFICATE),
    ("sslkeylogfile", Rule::Refused, "a store writes no keys to files"),
    ("sslpassword", Rule::Refused, NO_CLIENT_CERTIFICATE),
    ("sslrootcert", Rule::Refused, "set Config::tls(Tls::Verify { ca_file })"),
    ("sslsni", Rule::Only(&["1"]), "name the host by hostaddr alone, and no name is sent"),
    (
        "statement_cache_size",
        Rule::Refused,
        "behind a pooler set Config::pooler(Pooler::Transaction)",
    ),
    ("statement_timeout", Rule::Refused, "set Config::statement_timeout"),
];

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    HONOURED.iter().map(|(name, _)| *name).chain(OTHERS.iter().map(|(name, ..)| *name))
}

const NO_GSS: &str = "a store does not log in by GSSAPI; set password";
const NO_OAUTH: &str = "a store does not log in by OAuth; set password";
const NO_CLIENT_CERTIFICATE: &str = "a store shows no certificate; set password";
const NO_REVOCATION: &str = "revocations are not looked up; set Config::tls(Tls::Verify { ca_file }) with an authority of your own";
const UNKNOWN: &str = "has a parameter that neither PostgreSQL's libpq nor this crate knows: \
    docs/connections.md has those that an address may set";

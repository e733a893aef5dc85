use std::str;

use super::Reason;
use super::builder::AddressBuilder;

/// The rule for a parameter that is not honored.
enum Rule {
    /// Only these values are accepted: they ask for what a store does anyway.
    Only(&'static [&'static str]),
    /// Every value is refused.
    Refused,
}

/// Applies a parameter to the address.
pub(super) fn apply(builder: &mut AddressBuilder, name: &str, value: &[u8]) -> Result<(), Reason> {
    if name == "password" {
        builder.driver.password(value);
        return Ok(());
    }
    let value = str::from_utf8(value).ok();
    if let Some((name, expected)) = HONORED.iter().find(|(honored, _)| *honored == name) {
        let applied = value.and_then(|value| builder.set(name, value));
        return applied
            .ok_or_else(|| format!("{name} has an invalid value, allowed are: {expected}").into());
    }
    let Some((name, rule, advice)) = OTHERS.iter().find(|(other, ..)| *other == name) else {
        return Err(UNKNOWN.into());
    };
    match rule {
        Rule::Only(values) if value.is_some_and(|value| values.contains(&value)) => Ok(()),
        Rule::Only(values) => {
            let values = values.join(", ");
            Err(format!("{name} accepts only {values} here: {advice}").into())
        }
        Rule::Refused => Err(format!("{name} is not accepted in an address: {advice}").into()),
    }
}

/// The parameters that are honored, with the values that they accept.
const HONORED: [(&str, &str); 27] = [
    ("application_name", "any UTF-8 text"),
    ("channel_binding", "disable, prefer, require"),
    ("connect_timeout", "1 to 2073600 seconds; for fractions set Config::connect_timeout"),
    ("dbname", "any UTF-8 text"),
    ("fallback_application_name", "any UTF-8 text"),
    ("host", "a comma-separated list of hosts"),
    ("hostaddr", "a comma-separated list of IP addresses"),
    ("keepalives", "0, 1"),
    ("keepalives_count", "1 to 1000"),
    ("keepalives_idle", "1 to 2073600 seconds"),
    ("keepalives_interval", "1 to 2073600 seconds"),
    ("keepalives_retries", "1 to 1000"),
    ("load_balance_hosts", "disable, random"),
    ("options", "any UTF-8 text"),
    ("password", "any text"),
    ("port", "a comma-separated list of numbers from 1 to 65535"),
    ("ssl", "true, which is sslmode=require; for others set Config::tls"),
    ("sslcert", "the paths of PEM files"),
    (
        "sslcertmode",
        "allow, disable: a store cannot require that the server asks for its certificate; if the \
         server must not accept a password, leave out password",
    ),
    ("sslkey", "the paths of PEM files"),
    (
        "sslmode",
        "disable, prefer, require, verify-full: instead of verify-ca set verify-full or \
         Config::tls(Tls::Verify { ca_file }), instead of allow set prefer",
    ),
    ("sslnegotiation", "postgres, direct"),
    ("sslrootcert", "system and the paths of PEM files"),
    ("target_session_attrs", "any, primary, read-write, read-only, standby, prefer-standby"),
    ("tcp_user_timeout", "1 to 2073600000 milliseconds"),
    ("tty", "any UTF-8 text, which is ignored"),
    ("user", "any UTF-8 text"),
];

/// The other parameters of libpq, and some of other drivers, with the alternative to each.
const OTHERS: [(&str, Rule, &str); 43] = [
    (
        "client_encoding",
        Rule::Only(&["UTF8", "UTF-8", "utf8", "utf-8", "auto"]),
        "events are UTF-8",
    ),
    ("connection_limit", Rule::Refused, "set Config::max_connections"),
    ("currentSchema", Rule::Refused, "set Config::schema"),
    ("gssdelegation", Rule::Only(&["0"]), NO_GSS),
    ("gssencmode", Rule::Only(&["disable", "prefer"]), "to require encryption set Config::tls"),
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
    ("service", Rule::Refused, "write out the parameters of the service file"),
    ("servicefile", Rule::Refused, "write out the parameters of the service file"),
    ("socket_timeout", Rule::Refused, "set Config::statement_timeout"),
    ("ssl_max_protocol_version", Rule::Only(&["TLSv1.3"]), "limit the version on the server"),
    (
        "ssl_min_protocol_version",
        Rule::Only(&["TLSv1", "TLSv1.1", "TLSv1.2"]),
        "a store speaks TLSv1.2 and TLSv1.3; limit the version on the server",
    ),
    ("sslcompression", Rule::Only(&["0"]), "TLS no longer compresses data"),
    ("sslcrl", Rule::Refused, NO_REVOCATION),
    ("sslcrldir", Rule::Refused, NO_REVOCATION),
    ("sslkeylogfile", Rule::Refused, "a store writes no keys to files"),
    ("sslpassword", Rule::Refused, "set sslkey to a file that is not encrypted, or set password"),
    ("sslsni", Rule::Only(&["1"]), "set hostaddr instead of host, and no name is sent"),
    (
        "statement_cache_size",
        Rule::Refused,
        "behind a pooler set Config::pooler(Pooler::Transaction)",
    ),
    ("statement_timeout", Rule::Refused, "set Config::statement_timeout"),
];

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    HONORED.iter().map(|(name, _)| *name).chain(OTHERS.iter().map(|(name, ..)| *name))
}

const NO_GSS: &str = "a store does not log in by GSSAPI; set password";
const NO_OAUTH: &str = "a store does not log in by OAuth; set password";
const NO_REVOCATION: &str = "a store does not check revocation lists; set \
    Config::tls(Tls::Verify { ca_file }) with the certificate of your own authority";
const UNKNOWN: &str = "has a parameter that neither PostgreSQL's libpq nor this crate knows: \
    docs/connections.md lists the parameters of an address";

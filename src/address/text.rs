use std::iter::Peekable;
use std::str::Chars;

use super::Reason;

/// A parameter of an address, with its decoded value.
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) value: Vec<u8>,
}

/// Splits an address into its parameters, among them the parts of a URL: `host`, `port`, `user`,
/// `password` and `dbname`. If a parameter is set twice, the last value counts.
pub(super) fn pairs(text: &str) -> Result<Vec<Pair>, Reason> {
    let text = text.trim();
    for prefix in ["postgres://", "postgresql://"] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return of_url(rest);
        }
    }
    match text.split(['=', ' ']).next().is_some_and(|start| start.contains("://")) {
        true => Err(OTHER_SCHEME.into()),
        false => of_list(text),
    }
}

/// Splits a URL without its scheme.
///
/// A raw `@` after the first `/` or `?` is refused, because it is ambiguous. It may belong to the
/// path or to a value, as libpq reads it. Or the text before it is a password with a raw `/` or
/// `?`, whose first part would be read as a host or a port, and appear in error messages.
fn of_url(url: &str) -> Result<Vec<Pair>, Reason> {
    let (authority, rest) = url.split_at(url.find(['/', '?']).unwrap_or(url.len()));
    let (credentials, hosts) = match authority.split_once('@') {
        Some((credentials, hosts)) => (Some(credentials), hosts),
        None => (None, authority),
    };
    if hosts.contains('@') || rest.contains('@') {
        return Err(RAW_AT.into());
    }
    let mut pairs = Vec::new();
    if let Some(credentials) = credentials {
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        pairs.push(pair("user", decode(user)?));
        pairs.push(pair("password", decode(password)?));
    }
    split_hosts(hosts, &mut pairs)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    pairs.push(pair("dbname", decode(path.strip_prefix('/').unwrap_or(path))?));
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or(NO_VALUE)?;
        let name = String::from_utf8(decode(name)?).map_err(|_| NO_VALUE)?;
        pairs.push(Pair { name, value: decode(value)? });
    }
    Ok(pairs)
}

/// Splits `host:port,[address]:port`.
fn split_hosts(hosts: &str, pairs: &mut Vec<Pair>) -> Result<(), Reason> {
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(host) => {
                let (address, port) = host.split_once(']').ok_or(BAD_BRACKETS)?;
                let port = match port.strip_prefix(':') {
                    None if !port.is_empty() => return Err(BAD_BRACKETS.into()),
                    port => port.unwrap_or_default(),
                };
                (address, port)
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decode(name)?);
        ports.push(decode(port)?);
    }
    pairs.push(pair("host", names.join(&b',')));
    // A port in the query applies to all hosts, unless the hosts have ports of their own.
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.push(pair("port", ports.join(&b',')));
    }
    Ok(())
}

fn pair(name: &str, value: Vec<u8>) -> Pair {
    Pair { name: name.to_owned(), value }
}

/// Decodes `%` and two hexadecimal digits.
fn decode(text: &str) -> Result<Vec<u8>, Reason> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit().ok_or(RAW_PERCENT)?, digit().ok_or(RAW_PERCENT)?);
                u8::try_from(high << 4 | low).map_err(|_| RAW_PERCENT)?
            }
            byte => byte,
        });
    }
    Ok(decoded)
}

/// Splits a list of `name = value`. A value may be in single quotes; `\` escapes the next
/// character.
fn of_list(text: &str) -> Result<Vec<Pair>, Reason> {
    let mut pairs = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        skip_blanks(&mut chars);
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|&c| c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        skip_blanks(&mut chars);
        if name.is_empty() || chars.next() != Some('=') {
            return Err(NO_ADDRESS.into());
        }
        skip_blanks(&mut chars);
        let value = match chars.next_if_eq(&'\'') {
            Some(_) => quoted(&mut chars)?,
            None => unquoted(&mut chars),
        };
        pairs.push(Pair { name, value: value.into_bytes() });
    }
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<String, Reason> {
    let mut value = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\'' => return Ok(value),
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    Err("a quoted value has no closing quote".into())
}

fn unquoted(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
        match c {
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    value
}

const OTHER_SCHEME: &str = "begins with neither postgres:// nor postgresql://";
const NO_ADDRESS: &str = "is neither a URL like postgres://user:password@host:5432/database nor a \
    list like host=localhost dbname=library: write a value with a blank in single quotes";
const NO_VALUE: &str = "a parameter after the ? has no value: write ?name=value&name=value, with \
    %26 for & and %3F for ? within a value or a password";
const RAW_AT: &str = "has an @ that is not between the password and the host: write %40 for \
    @, %2F for / and %3F for ? within a user name, a password, a database name or a value";
const RAW_PERCENT: &str = "has a % without two hexadecimal digits after it: write %25 for %";
const BAD_BRACKETS: &str = "has brackets that do not contain an address: write [::1] or [::1]:5432";

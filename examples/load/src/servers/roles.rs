use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The name of a server during a load. After a promotion, the promoted replica is the primary.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ServerName {
    /// The current primary.
    Primary,
    /// A replica. A server that becomes a replica gets a number that no other one had.
    Replica(u16),
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.pad("primary"),
            Self::Replica(number) => f.pad(&format!("{REPLICA}{number}")),
        }
    }
}

impl FromStr for ServerName {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        if word == "primary" {
            return Ok(Self::Primary);
        }
        let number = word.strip_prefix(REPLICA).filter(|digits| !digits.starts_with('+'));
        number.and_then(|digits| digits.parse().ok()).map(Self::Replica).ok_or(UnknownName)
    }
}

/// The error of a word that is not the name of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("servers are named `primary`, `replica-0`, `replica-1`, …")]
pub struct UnknownName;

/// The roles of servers, each of which has an index. The server that is the primary at first has
/// the index 0, and the server that is `replica-0` at first has the index 1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Roles {
    primary: usize,
    /// The indexes of the replicas by their numbers.
    replicas: BTreeMap<u16, usize>,
    /// The names that each server has had, in this order.
    names: Vec<Vec<ServerName>>,
    next_number: u16,
}

impl Roles {
    /// Returns the roles of a primary with some replicas.
    pub fn new(replicas: u16) -> Self {
        let replica_names = (0..replicas).map(ServerName::Replica);
        let names = [ServerName::Primary].into_iter().chain(replica_names);
        Self {
            primary: 0,
            replicas: (0..replicas).map(|number| (number, usize::from(number) + 1)).collect(),
            names: names.map(|name| vec![name]).collect(),
            next_number: replicas,
        }
    }

    /// Returns the index of the primary.
    pub fn primary(&self) -> usize {
        self.primary
    }

    /// Iterates over the replicas: their numbers and indexes.
    pub fn replicas(&self) -> impl Iterator<Item = (u16, usize)> + '_ {
        self.replicas.iter().map(|(&number, &index)| (number, index))
    }

    /// Returns the index of the server that has a name now.
    pub fn index(&self, name: ServerName) -> Option<usize> {
        match name {
            ServerName::Primary => Some(self.primary),
            ServerName::Replica(number) => self.replicas.get(&number).copied(),
        }
    }

    /// Returns the names that a server has had, in this order.
    pub fn names(&self, index: usize) -> &[ServerName] {
        self.names.get(index).map_or(&[], Vec::as_slice)
    }

    /// Makes a replica the primary. The former primary has no role then. Returns its index, or
    /// `None` if there is no such replica.
    pub fn promote(&mut self, replica: u16) -> Option<usize> {
        let promoted = self.replicas.remove(&replica)?;
        self.names[promoted].push(ServerName::Primary);
        Some(std::mem::replace(&mut self.primary, promoted))
    }

    /// Adds a server without a role to the replicas. Returns its number.
    pub fn add_replica(&mut self, index: usize) -> u16 {
        let number = self.next_number;
        self.next_number += 1;
        self.replicas.insert(number, index);
        self.names[index].push(ServerName::Replica(number));
        number
    }
}

const REPLICA: &str = "replica-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_displayed_as_it_is_parsed() {
        for word in ["primary", "replica-0", "replica-65535"] {
            let name: ServerName = word.parse().unwrap();

            assert_eq!(name.to_string(), word);
        }
    }

    #[test]
    fn other_words_are_not_names() {
        for word in
            ["", "Primary", "replica", "replica-", "replica--1", "replica-+1", "replica-65536"]
        {
            assert_eq!(word.parse::<ServerName>(), Err(UnknownName), "{word}");
        }
    }

    #[test]
    fn a_former_primary_becomes_a_replica_of_a_new_number() {
        let mut roles = Roles::new(2);

        let former = roles.promote(0).unwrap();
        let number = roles.add_replica(former);

        assert_eq!((roles.primary(), former, number), (1, 0, 2));
        assert_eq!(roles.replicas().collect::<Vec<_>>(), [(1, 2), (2, 0)]);
        assert_eq!(roles.names(0), [ServerName::Primary, ServerName::Replica(2)]);
        assert_eq!(roles.names(1), [ServerName::Replica(0), ServerName::Primary]);
        assert_eq!(roles.index(ServerName::Replica(0)), None);
    }
}

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Error, SequenceNumber};

/// A period in which one run of one server appended to a log.
///
/// After a restart or a promotion, the first append begins a new epoch and records the head at
/// which the last one ended. So the epoch shows whether a position is one of the log's own, or one
/// of events that were lost. SAFETY.md, Lemma 8.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Epoch(Uuid);

impl Epoch {
    pub(crate) const fn new(id: Uuid) -> Self {
        Self(id)
    }

    pub(crate) const fn id(self) -> Uuid {
        self.0
    }
}

/// A position of a log, with the epoch in which it was seen.
///
/// A position is assigned again if its event is lost: in a failover to a standby that does not have
/// it, in a restore, or on a copy of the log. A bookmark from before is then refused, however many
/// events the log has since ([`Error::PositionLost`]). A [`SequenceNumber`] alone does not
/// show that another event has replaced its own.
///
/// It is displayed as a short token that is safe in a URL, a header and a cookie, and can be parsed
/// from it. The token is neither secret nor protected from forgery: with a forged one a read may
/// wait or fail.
///
/// ```no_run
/// # use eddyline::{Bookmark, Error, Event, Filter, AppendCondition, ReadOnly, ReadWrite, Store};
/// # async fn example(
/// #     writer: Store<ReadWrite>, reader: Store<ReadOnly>, filter: Filter, event: Event
/// # ) -> Result<(), Error> {
/// let history = writer.query(&filter).await?;
/// let token = history.bookmark().to_string();
///
/// // Later, in another process:
/// let bookmark: Bookmark = token.parse()?;
/// let history = reader.at_least(bookmark).query(&filter).await?;
/// assert!(history.position() >= bookmark.position());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Bookmark {
    position: SequenceNumber,
    epoch: Option<Epoch>,
}

impl Bookmark {
    pub(crate) const fn new(position: SequenceNumber, epoch: Epoch) -> Self {
        Self { position, epoch: Some(epoch) }
    }

    /// Returns the position.
    pub const fn position(self) -> SequenceNumber {
        self.position
    }

    /// Returns the epoch that has to be verified where the bookmark is used. There is none for the
    /// position before the first event, which is the same in every log.
    pub(crate) fn epoch(self) -> Option<Epoch> {
        self.epoch.filter(|_| self.position > SequenceNumber::ZERO)
    }

    /// Returns the bookmark of another position in the same epoch.
    pub(crate) fn at(self, position: SequenceNumber) -> Self {
        Self { position, ..self }
    }
}

impl Default for Bookmark {
    /// Returns the bookmark before the first event.
    fn default() -> Self {
        SequenceNumber::ZERO.into()
    }
}

/// Makes a bookmark without an epoch, for a position that came without one. It is not protected:
/// if its event was lost, the bookmark means the event that got its position.
impl From<SequenceNumber> for Bookmark {
    fn from(position: SequenceNumber) -> Self {
        Self { position, epoch: None }
    }
}

/// Renders the token.
impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&[*self]))
    }
}

/// Parses the token.
///
/// # Errors
///
/// [`Error::InvalidBookmark`] if the text is not a token, or is damaged.
impl FromStr for Bookmark {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match decode(text)?.as_slice() {
            [bookmark] => Ok(*bookmark),
            _ => Err(Error::invalid_bookmark("it is not the token of one bookmark")),
        }
    }
}

/// Serializes the token.
impl Serialize for Bookmark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Deserializes the token.
impl<'de> Deserialize<'de> for Bookmark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Encodes bookmarks as a token: base64url of the version, the bookmarks, and a checksum.
///
/// A bookmark with an epoch has 25 bytes, so that the token of one has 40 characters.
pub(crate) fn encode(bookmarks: &[Bookmark]) -> String {
    let mut bytes = vec![VERSION];
    for Bookmark { position, epoch } in bookmarks {
        bytes.push(epoch.is_some().into());
        bytes.extend(position.value().to_be_bytes());
        bytes.extend(epoch.iter().flat_map(|epoch| epoch.0.into_bytes()));
    }
    bytes.extend(checksum(&bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a token of any number of bookmarks.
pub(crate) fn decode(text: &str) -> Result<Vec<Bookmark>, Error> {
    if text.len() > MAX_TOKEN {
        return Err(Error::invalid_bookmark("it is too long"));
    }
    let bytes = URL_SAFE_NO_PAD.decode(text);
    let bytes = bytes.map_err(|_| Error::invalid_bookmark("it is not in base64url"))?;
    let (contents, sum) = bytes.split_last_chunk().ok_or_else(cut_off)?;
    if *sum != checksum(contents) {
        return Err(Error::invalid_bookmark("its checksum is wrong: it was changed or cut off"));
    }
    let Some((&VERSION, mut rest)) = contents.split_first() else {
        return Err(Error::invalid_bookmark("another version of eddyline made it"));
    };
    let mut bookmarks = Vec::new();
    while let Some((flag, fields)) = rest.split_first() {
        let (position, fields) = fields.split_first_chunk().ok_or_else(cut_off)?;
        let position = SequenceNumber::new(u64::from_be_bytes(*position));
        let (epoch, fields) = match flag {
            0 => (None, fields),
            1 => {
                let (epoch, fields) = fields.split_first_chunk().ok_or_else(cut_off)?;
                (Some(Epoch(Uuid::from_bytes(*epoch))), fields)
            }
            _ => return Err(Error::invalid_bookmark("another version of eddyline made it")),
        };
        bookmarks.push(Bookmark { position, epoch });
        rest = fields;
    }
    Ok(bookmarks)
}

fn cut_off() -> Error {
    Error::invalid_bookmark("it is cut off")
}

/// Returns a checksum against damage. It is no protection from forgery.
fn checksum(contents: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&Sha256::digest(contents)[..CHECKSUM]);
    sum
}

/// The version of the token.
const VERSION: u8 = 1;
/// The length of the checksum in bytes.
const CHECKSUM: usize = 4;
/// The length of the longest token that is decoded.
const MAX_TOKEN: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bookmark() -> impl Strategy<Value = Bookmark> {
        (any::<u64>(), any::<Option<u128>>()).prop_map(|(position, epoch)| Bookmark {
            position: SequenceNumber::new(position),
            epoch: epoch.map(|id| Epoch(Uuid::from_u128(id))),
        })
    }

    proptest! {
        /// A bookmark is equal to its parsed token, and to its token in JSON.
        #[test]
        fn parses_what_it_displays(bookmark in bookmark()) {
            let token = bookmark.to_string();

            prop_assert_eq!(token.parse::<Bookmark>().unwrap(), bookmark);
            prop_assert!(token.len() <= 40, "{}", token);
            prop_assert!(token.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
            let json = serde_json::to_string(&bookmark).unwrap();
            prop_assert_eq!(serde_json::from_str::<Bookmark>(&json).unwrap(), bookmark);
        }

        /// Any number of bookmarks is equal to the decoded token.
        #[test]
        fn decodes_what_it_encodes(bookmarks in prop::collection::vec(bookmark(), 0..9)) {
            prop_assert_eq!(decode(&encode(&bookmarks)).unwrap(), bookmarks);
        }

        /// A token in which a character was changed, or which was cut off, is refused.
        #[test]
        fn refuses_a_damaged_token(
            bookmark in bookmark(),
            at in any::<prop::sample::Index>(),
            new in "[A-Za-z0-9_-]",
        ) {
            let token = bookmark.to_string();
            let at = at.index(token.len());
            let damaged = format!("{}{new}{}", &token[..at], &token[at + 1..]);

            if damaged != token {
                let error = damaged.parse::<Bookmark>().unwrap_err();
                prop_assert!(matches!(error, Error::InvalidBookmark { .. }), "{:?}", error);
            }
            prop_assert!(token[..at].parse::<Bookmark>().is_err());
        }

        /// Any contents with a right checksum are decoded or refused.
        #[test]
        fn decodes_or_refuses_any_contents(mut contents in prop::collection::vec(any::<u8>(), 0..99)) {
            contents.insert(0, VERSION);
            contents.extend(checksum(&contents));
            let token = URL_SAFE_NO_PAD.encode(&contents);

            if let Ok(bookmarks) = decode(&token) {
                prop_assert_eq!(encode(&bookmarks), token);
            }
        }

        /// Any text is parsed or refused, and an accepted text is the token of its bookmark.
        #[test]
        fn accepts_only_tokens(text in ".*|[A-Za-z0-9_-]*") {
            if let Ok(bookmark) = text.parse::<Bookmark>() {
                prop_assert_eq!(bookmark.to_string(), text);
            }
        }
    }

    #[test]
    fn the_position_before_the_first_event_needs_no_epoch() {
        let epoch = Epoch(Uuid::from_u128(7));

        assert_eq!(Bookmark::new(SequenceNumber::ZERO, epoch).epoch(), None);
        assert_eq!(Bookmark::new(SequenceNumber::new(1), epoch).epoch(), Some(epoch));
        assert_eq!(Bookmark::from(SequenceNumber::new(1)).epoch(), None);
    }
}

//! The query of a request target: names and values, percent-decoded.
//!
//! Inside: reading it (RFC 3986 section 3.4, with `&` and `=` as everyone uses them). Kept out: which names there are.

/// Names and values in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("The query is not percent-encoded UTF-8: each % needs two hexadecimal digits after it.")]
    Encoding,
    /// A name that may be there once.
    #[error("The parameter {0} is there more than once; give it once.")]
    Repeated(String),
}

impl Query {
    /// Reads what stands after the `?`.
    pub(super) fn parse(text: &str) -> Result<Self, QueryError> {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        };
        let parts = text.split('&').filter(|part| !part.is_empty());
        Ok(Self { pairs: parts.map(pair).collect::<Result<_, _>>()? })
    }

    /// Whether the name is there, with whatever value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(found, _)| found == name)
    }

    /// The value of a name that may be there once.
    pub(super) fn only(&self, name: &str) -> Result<Option<&str>, QueryError> {
        let mut values = self.pairs.iter().filter(|(found, _)| found == name).map(|(_, value)| &**value);
        let first = values.next();
        if values.next().is_some() { Err(QueryError::Repeated(name.to_owned())) } else { Ok(first) }
    }

    /// The first name that is none of these.
    pub(super) fn other_than(&self, names: &[&str]) -> Option<&str> {
        self.pairs.iter().map(|(name, _)| &**name).find(|name| !names.contains(name))
    }
}

fn decode(text: &str) -> Result<String, QueryError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { hexadecimal(rest.next(), rest.next())? } else { byte });
    }
    String::from_utf8(bytes).map_err(|_| QueryError::Encoding)
}

fn hexadecimal(high: Option<u8>, low: Option<u8>) -> Result<u8, QueryError> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let value = digit(high).zip(digit(low)).map(|(high, low)| high * 16 + low);
    value.and_then(|value| u8::try_from(value).ok()).ok_or(QueryError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let query = Query::parse("host=b%C3%BCcher.example&verbose&a=1=2&&b=x+y").expect("well formed");
        assert_eq!(query.only("host"), Ok(Some("bücher.example")));
        assert_eq!((query.only("a"), query.only("b")), (Ok(Some("1=2")), Ok(Some("x+y"))));
        assert!(query.has("verbose") && !query.has("host2"));
        assert_eq!(query.other_than(&["host", "verbose", "a"]), Some("b"));
    }

    #[test]
    fn broken_encoding_is_an_error() {
        for text in ["host=%", "host=%4", "host=%zz", "host=%+1", "host=%ff", "%C3=1"] {
            assert_eq!(Query::parse(text), Err(QueryError::Encoding), "{text}");
        }
    }

    #[test]
    fn a_repeated_name_is_an_error_where_it_may_be_there_once() {
        let query = Query::parse("host=a&host=b").expect("well formed");
        assert_eq!(query.only("host"), Err(QueryError::Repeated("host".to_owned())));
    }
}

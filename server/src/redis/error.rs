//! The error replies of Redis, word for word: client libraries know some of them by their text.

use std::borrow::Cow;

use super::reply::Reply;

macro_rules! errors {
    ($($name:ident = $text:literal;)*) => {
        $(pub(super) const $name: Reply = Reply::Error(Cow::Borrowed($text));)*
    };
}

errors! {
    WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
    NOT_AN_INTEGER = "ERR value is not an integer or out of range";
    NOT_A_FLOAT = "ERR value is not a valid float";
    OVERFLOW = "ERR increment or decrement would overflow";
    DECREMENT_OVERFLOW = "ERR decrement would overflow";
    NOT_FINITE = "ERR increment would produce NaN or Infinity";
    SYNTAX = "ERR syntax error";
    NO_SUCH_KEY = "ERR no such key";
    INDEX_OUT_OF_RANGE = "ERR index out of range";
    OFFSET_OUT_OF_RANGE = "ERR offset is out of range";
    NOT_POSITIVE = "ERR value is out of range, must be positive";
    OUT_OF_RANGE = "ERR value is out of range";
    TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    HASH_NOT_AN_INTEGER = "ERR hash value is not an integer";
    HASH_NOT_A_FLOAT = "ERR hash value is not a float";
    SCORE_IS_NAN = "ERR resulting score is not a number (NaN)";
    RANGE_NOT_A_FLOAT = "ERR min or max is not a float";
    RANGE_NOT_LEXICAL = "ERR min or max not valid string range item";
    NX_AND_XX = "ERR XX and NX options at the same time are not compatible";
    GT_LT_NX = "ERR GT, LT, and/or NX options at the same time are not compatible";
    INCR_PAIR = "ERR INCR option supports a single increment-element pair";
    EXPIRE_NX = "ERR NX and XX, GT or LT options at the same time are not compatible";
    EXPIRE_GT_LT = "ERR GT and LT options at the same time are not compatible";
    INVALID_CURSOR = "ERR invalid cursor";
    RANK_IS_ZERO = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second \
                    ... or use negative to start from the end of the list";
    RANK_TOO_SMALL = "ERR value is out of range, value must between -9223372036854775807 and \
                      9223372036854775807";
    COUNT_NEGATIVE = "ERR COUNT can't be negative";
    MAXLEN_NEGATIVE = "ERR MAXLEN can't be negative";
    LIMIT_NEGATIVE = "ERR LIMIT can't be negative";
    NUMKEYS_NOT_POSITIVE = "ERR numkeys should be greater than 0";
    NUMKEYS_TOO_MANY = "ERR Number of keys can't be greater than number of args";
    WEIGHT_NOT_A_FLOAT = "ERR weight value is not a float";
    LIMIT_ALONE = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
                   BYLEX";
    WITHSCORES_BYLEX = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
    DB_INDEX = "ERR DB index is out of range";
    SAME_OBJECT = "ERR source and destination objects are the same";
}

/// The error of a command that was given too few or too many arguments.
pub(super) fn arity(name: &str) -> Reply {
    Reply::error(format!("ERR wrong number of arguments for '{name}' command"))
}

/// The error of a time to live that makes no sense.
pub(super) fn expire_time(name: &str) -> Reply {
    Reply::error(format!("ERR invalid expire time in '{name}' command"))
}

//! Close codes: what one end tells the other when it ends a connection or resets a stream.

use std::fmt;

use quinn::VarInt;

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why one end closed a connection. The numbers are part of the wire format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseCode {
            $($(#[$doc])* $name,)*
            /// A code this version does not know.
            Other(u64),
        }

        impl CloseCode {
            /// The number on the wire.
            pub fn code(self) -> u64 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other(code) => code,
                }
            }

            /// The meaning of a number from the wire.
            pub fn from_code(code: u64) -> Self {
                match code {
                    $($code => Self::$name,)*
                    other => Self::Other(other),
                }
            }
        }

        impl fmt::Display for CloseCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str($text),)*
                    Self::Other(code) => write!(f, "code {code:#x}"),
                }
            }
        }
    };
}

close_codes! {
    /// The other end let go without a word (quinn's code for a dropped connection).
    Dropped = 0x00, "dropped";
    /// Orderly end of the process.
    Shutdown = 0x01, "shutting down";
    /// A newer connection between the same two nodes took over.
    Superseded = 0x02, "superseded by a newer connection";
    /// The peer was removed from the configuration.
    Removed = 0x03, "peer removed";
    /// The certificate is not acceptable for this use.
    Certificate = 0x10, "certificate refused";
    /// The certificate or the hello names another cluster.
    Cluster = 0x11, "other cluster";
    /// The certificate or the hello names another node than was meant.
    Node = 0x12, "wrong node";
    /// The node is not configured as a peer.
    UnknownPeer = 0x13, "not a configured peer";
    /// No protocol in common.
    Alpn = 0x14, "no common protocol";
    /// The hello was malformed, late, or of another version.
    Hello = 0x15, "bad hello";
    /// At a limit of connections.
    Overloaded = 0x16, "overloaded";
    /// A frame announced more bytes than the limit.
    FrameTooLarge = 0x20, "frame over the limit";
    /// A frame of another version.
    FrameVersion = 0x21, "unknown frame version";
    /// A stream or datagram that the protocol does not have.
    Protocol = 0x22, "protocol violation";
    /// A request longer than the limit.
    RequestTooLarge = 0x30, "request over the limit";
    /// A transfer in which nothing moved for the stall timeout.
    Stalled = 0x31, "stalled";
}

impl From<CloseCode> for VarInt {
    fn from(code: CloseCode) -> Self {
        VarInt::from_u64(code.code()).unwrap_or(VarInt::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_wire() {
        for code in [CloseCode::Shutdown, CloseCode::FrameTooLarge, CloseCode::Other(0x99)] {
            assert_eq!(CloseCode::from_code(VarInt::from(code).into_inner()), code);
        }
    }
}

//! The three protocols under one roof.

use panchayat_consensus::Protocol;
use panchayat_epaxos::EPaxos;
use panchayat_fastpaxos::FastPaxos;
use panchayat_multipaxos::MultiPaxos;

use crate::epoch::Order;
use crate::message::Body;
use crate::record::RecordBody;

/// The configuration of an epoch's protocol.
#[derive(Clone, Debug)]
pub enum OrderConfig {
    /// Of EPaxos*.
    EPaxos(panchayat_epaxos::Config),
    /// Of Multi-Paxos.
    MultiPaxos(panchayat_multipaxos::Config),
    /// Of Fast Paxos.
    FastPaxos(panchayat_fastpaxos::Config),
}

impl OrderConfig {
    /// The protocol that it configures.
    pub fn order(&self) -> Order {
        match self {
            Self::EPaxos(_) => Order::EPaxos,
            Self::MultiPaxos(_) => Order::MultiPaxos,
            Self::FastPaxos(_) => Order::FastPaxos,
        }
    }
}

/// The protocol of an epoch at work.
#[derive(Clone, Copy, Debug)]
pub enum Ordering<'a> {
    /// EPaxos*.
    EPaxos(&'a EPaxos),
    /// Multi-Paxos.
    MultiPaxos(&'a MultiPaxos),
    /// Fast Paxos.
    FastPaxos(&'a FastPaxos),
}

/// How a protocol's messages and records are told from those of others.
pub(crate) trait Ordered: Protocol {
    fn body(message: Self::Message) -> Body;
    fn message(body: Body) -> Option<Self::Message>;
    fn record(record: Self::Record) -> RecordBody;
    fn of_record(body: RecordBody) -> Option<Self::Record>;
}

macro_rules! ordered {
    ($($protocol:ident),*) => {$(
        impl Ordered for $protocol {
            fn body(message: Self::Message) -> Body {
                Body::$protocol(message)
            }

            fn message(body: Body) -> Option<Self::Message> {
                if let Body::$protocol(message) = body { Some(message) } else { None }
            }

            fn record(record: Self::Record) -> RecordBody {
                RecordBody::$protocol(record)
            }

            fn of_record(body: RecordBody) -> Option<Self::Record> {
                if let RecordBody::$protocol(record) = body { Some(record) } else { None }
            }
        }
    )*};
}

ordered!(EPaxos, MultiPaxos, FastPaxos);

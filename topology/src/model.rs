//! What a topology file says, as plain data.

/// A city a replica or a client can be in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Site {
    /// The name used everywhere else in the file and on command lines.
    pub name: String,
    /// The name to show to people; the same as `name` unless the file says otherwise.
    pub label: String,
    /// Latitude and longitude in degrees, for maps. No formula uses them.
    pub coordinates: Option<(f64, f64)>,
}

/// The distance between two sites.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pair {
    /// The two sites, in the order of the file; the distance is the same both ways.
    pub between: [String; 2],
    /// Round trip in microseconds. Even, so that one way is exactly half.
    pub rtt_us: u64,
    /// Distance between the city centres, if the file says.
    pub great_circle_km: Option<f64>,
    /// Round trip in microseconds of light in a fibre along the great circle: what no network
    /// can beat. Even. Computed from the distance if only that is given.
    pub fibre_rtt_us: Option<u64>,
    /// Who measured the round trip, and when.
    pub source: String,
}

impl Pair {
    /// Whether this is the pair of `a` and `b`, in either order.
    pub fn joins(&self, a: &str, b: &str) -> bool {
        let [x, y] = &self.between;
        (x == a && y == b) || (x == b && y == a)
    }
}

/// The cities that hold the replicas of a group. Their order is the order of the replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteSet {
    /// The set's name.
    pub name: String,
    /// Site names, no two equal, at least one.
    pub sites: Vec<String>,
}

/// The weather on the links: jitter, loss, outages, bandwidth.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The profile's name.
    pub name: String,
    /// What situation it stands for.
    pub note: String,
    /// Where the numbers come from.
    pub source: String,
    /// Median of the lognormal jitter stated for the round trip, in microseconds. Even; each
    /// direction draws its own at half of it.
    pub jitter_median_us: u64,
    /// Sigma of the lognormal jitter, per direction.
    pub jitter_sigma: f64,
    /// Fraction of packets lost, per packet and direction, 0 to 1.
    pub loss: f64,
    /// Mean length of a run of lost packets; 1 means each packet is lost on its own.
    pub burst_packets: f64,
    /// How links fail and come back; `None` if they never fail.
    pub flap: Option<Flap>,
    /// Bits per second, per link and direction.
    pub bandwidth_bits_per_s: u64,
}

/// A link works, is dead, works again, and so on.
///
/// A cut cable takes both directions with it: draw one schedule per pair of sites, not one per
/// direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flap {
    /// How long the link works between two failures.
    pub up: TimeRange,
    /// How long a failure lasts.
    pub down: TimeRange,
}

/// A time drawn evenly between two bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Shortest, in microseconds.
    pub min_us: u64,
    /// Longest, in microseconds; not below `min_us`, and not 0.
    pub max_us: u64,
}

//! Members that stay away and come back, at the worst of moments.
//!
//! Collection goes on without members that are counted as absent. Each test here is a schedule
//! that once lost an acknowledged command, broke Visibility, or stopped a cluster in which enough
//! members were alive and connected. The messages are delivered, delayed and lost by hand, so that
//! the schedule is the same every time.

mod cluster;
mod lost_ack;
mod progress;
mod visibility;

//! Bulk transfers: whole or an error, whatever happens; bounded; and never before votes.

#[path = "common/archive.rs"]
mod archive;
mod common;
#[path = "common/raw.rs"]
mod raw;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use archive::{Server, ask, check, end, linked, pair_with, read};
use bytes::Bytes;
use common::{CLUSTER, Plan, Recorder, figure, until};
use panchayat_consensus::NodeId;
use panchayat_transport::wan::{LinkParams, WanControl};
use panchayat_transport::{CloseCode, FetchError, Lane, Mesh, TransferStats};
use raw::{Claim, connect, say};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const MIB: u64 = 1 << 20;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn served(node: &Server) -> TransferStats {
    node.mesh.stats().served()
}

fn fetched(node: &Server) -> TransferStats {
    node.mesh.stats().fetched()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_of_any_size_arrives_whole_in_both_directions() {
    let [a, b] = pair_with(&mut Plan::new(2), |_| {}).await;
    let sizes = [0, 1, 5, 256 * 1024, 256 * 1024 + 1, 3_333_333, 256 * MIB];
    let mut sum = 0;
    for (i, bytes) in sizes.into_iter().enumerate() {
        // From the one that dialled, and from the one that accepted.
        for (from, to) in [(&a, &b), (&b, &a)] {
            if bytes == 256 * MIB && from.id == B {
                continue;
            }
            let start = Instant::now();
            let mut reader = to.mesh.fetch(from.id, ask("send", 0, bytes)).await.unwrap();
            assert_eq!(read(&mut reader, 0).await, (bytes, Ok(())));
            if bytes > 100 * MIB {
                let rate = bytes as f64 / start.elapsed().as_secs_f64() / 1e6;
                figure("bulk transfer, checked", rate, "MB/s", 50.0..=5000.0);
                let stats = from.mesh.stats().peers[&to.id].clone();
                println!("{} of {} packets lost", stats.packets_lost, stats.packets_sent);
            }
        }
        sum += bytes;
        let done = i as u64 + 1;
        let bytes = sum;
        let expected = TransferStats { begun: done, finished: done, bytes, ..Default::default() };
        assert_eq!(fetched(&b), expected);
        until("acknowledged", || served(&a) == expected).await;
    }
    until("acknowledged", || served(&b).active() == 0).await;
    assert_eq!(a.archive.dropped.load(Ordering::SeqCst), 0);
    end([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_run_side_by_side() {
    let [a, b] = pair_with(&mut Plan::new(2), |_| {}).await;
    let both = [0, 1].map(|i| {
        let mesh = b.mesh.clone();
        tokio::spawn(async move {
            let (from, to) = (i * 1000, 20 * MIB);
            let mut reader = mesh.fetch(A, ask("send", from, to)).await.unwrap();
            assert_eq!(read(&mut reader, from).await, (to - from, Ok(())));
        })
    });
    let mut back = a.mesh.fetch(B, ask("send", 7, 10 * MIB)).await.unwrap();
    assert_eq!(read(&mut back, 7).await, (10 * MIB - 7, Ok(())));
    for one in both {
        one.await.unwrap();
    }
    until("acknowledged", || served(&a).finished == 2 && served(&b).finished == 1).await;
    end([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_cut_in_the_middle_is_an_error_and_the_rest_is_fetched_from_there() {
    const BYTES: u64 = 24 * MIB;
    let wan = WanControl::new(1);
    let slow = LinkParams { bandwidth_bps: Some(200_000_000), ..LinkParams::delay(ms(2)) };
    wan.set_pair(A, B, slow);
    let mut plan = Plan::new(2);
    plan.wan = Some(wan.clone());
    let [a, b] = pair_with(&mut plan, |config| {
        config.timing.idle_timeout = ms(1000);
        config.limits.lane_window_bytes = 1 << 20;
    })
    .await;
    let (mut at, mut cuts) = (0, 0);
    while at < BYTES {
        let mut reader = match b.mesh.fetch(A, ask("send", at, BYTES)).await {
            Ok(reader) => reader,
            Err(error) => {
                assert!(matches!(error, FetchError::Down | FetchError::Lost(_)), "{error}");
                tokio::time::sleep(ms(20)).await;
                continue;
            }
        };
        if cuts < 2 {
            while reader.received() < 5 * MIB {
                let before = reader.received();
                check(at + before, &reader.chunk().await.unwrap().unwrap());
            }
            wan.partition_pair(A, B, true);
            cuts += 1;
        }
        let before = reader.received();
        let (rest, result) = read(&mut reader, at + before).await;
        at += before + rest;
        match result {
            Ok(()) => assert_eq!(at, BYTES),
            Err(error) => {
                println!("cut at {at}: {error}");
                assert!(matches!(error, FetchError::Lost(_)) && at < BYTES, "{error} at {at}");
            }
        }
        wan.partition_pair(A, B, false);
        linked(&a, &b).await;
    }
    assert_eq!((cuts, fetched(&b).finished), (2, 1));
    until("all over", || served(&a).active() == 0).await;
    assert!(served(&a).failed >= 2, "{:?}", served(&a));
    end([a, b]).await;
}

/// A raced reconnect replaces the connection although both nodes live.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_on_a_replaced_link_breaks() {
    let wan = WanControl::new(1);
    wan.set_pair(A, B, LinkParams::delay(ms(12)));
    let mut plan = Plan::new(2);
    plan.wan = Some(wan.clone());
    plan.rtt = Some(ms(24));
    let [a, b] = pair_with(&mut plan, |_| {}).await;
    let mut reader = b.mesh.fetch(A, ask("1000000", 0, 100 * MIB)).await.unwrap();
    wan.partition_pair(A, B, true);
    tokio::time::sleep(ms(3000)).await;
    wan.partition_pair(A, B, false);
    until("replaced", || b.mesh.stats().peers[&A].superseded > 0).await;
    let (bytes, result) = read(&mut reader, 0).await;
    assert!(matches!(result, Err(FetchError::Lost(_))), "{result:?} after {bytes}");
    until("over", || served(&a).failed == 1).await;
    assert_eq!(a.archive.dropped.load(Ordering::SeqCst), 1);
    end([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_ends_in_the_middle_is_an_error() {
    for orderly in [true, false] {
        let [a, b] = pair_with(&mut Plan::new(2), |_| {}).await;
        let mut reader = b.mesh.fetch(A, ask("send", 0, 1 << 40)).await.unwrap();
        check(0, &reader.chunk().await.unwrap().unwrap());
        let dropped = Arc::clone(&a.archive.dropped);
        if orderly {
            a.mesh.shutdown().await;
            assert_eq!(a.mesh.stats().tasks, 0);
        } else {
            drop(a.mesh);
        }
        let (at, start) = (reader.received(), Instant::now());
        let (_, result) = read(&mut reader, at).await;
        println!("orderly {orderly}: {result:?} after {:?}", start.elapsed());
        match result {
            // A node that ends in order breaks off what it serves before it closes its links.
            Err(FetchError::BrokenOff(code)) if orderly => assert_eq!(code, CloseCode::Dropped),
            result => assert!(matches!(result, Err(FetchError::Lost(_))), "{result:?}"),
        }
        until("the owner's future is dropped", || dropped.load(Ordering::SeqCst) == 1).await;
        until("down", || !b.mesh.is_up(A)).await;
        if orderly {
            figure("told of a shutdown", start.elapsed().as_secs_f64(), "s", 0.0..=1.0);
        }
        let again = b.mesh.fetch(A, ask("send", 0, 1)).await;
        assert_eq!(again.unwrap_err(), FetchError::Down);
        assert_eq!(fetched(&b), TransferStats { begun: 1, failed: 1, ..fetched(&b) });
        end([b]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_does_not_wait_for_a_reader() {
    let [a, b] = pair_with(&mut Plan::new(2), |_| {}).await;
    let mut reader = b.mesh.fetch(A, ask("hang", 0, 10)).await.unwrap();
    let start = Instant::now();
    b.mesh.shutdown().await;
    assert_eq!(b.mesh.stats().tasks, 0);
    figure("shutdown with a reader", start.elapsed().as_secs_f64(), "s", 0.0..=1.1);
    let (_, result) = read(&mut reader, 0).await;
    assert!(matches!(result, Err(FetchError::Lost(_))), "{result:?}");
    assert_eq!(b.mesh.fetch(A, Bytes::new()).await.unwrap_err(), FetchError::UnknownPeer);
    until("over", || served(&a).failed == 1).await;
    drop(reader);
    end([a]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_reaches_the_fetcher_with_its_text() {
    let [a, b] = pair_with(&mut Plan::new(2), |_| {}).await;
    let refusal = |how: &str| {
        let (mesh, request) = (b.mesh.clone(), ask(how, 0, 100_000));
        async move { mesh.fetch(A, request).await.map(|_| ()) }
    };
    let rejected = |why: &str| Err(FetchError::Rejected(why.into()));
    assert_eq!(refusal("refuse").await, rejected("no such snapshot"));
    assert_eq!(refusal("overload").await, Err(FetchError::Overloaded));
    let expected = TransferStats { begun: 2, refused: 2, ..TransferStats::default() };
    until("counted", || (served(&a), fetched(&b)) == (expected, expected)).await;

    // After data it is a failure, and what came before is good.
    let mut reader = b.mesh.fetch(A, ask("fail", 0, MIB)).await.unwrap();
    let told = FetchError::Rejected("the disk is gone".into());
    assert_eq!(read(&mut reader, 0).await, (MIB, Err(told)));
    let expected = TransferStats { begun: 3, failed: 1, bytes: MIB, ..expected };
    until("counted", || (served(&a), fetched(&b)) == (expected, expected)).await;
    end([a, b]).await;

    // Whoever does not implement it refuses everything.
    let nodes = Plan::new(2).start_all();
    common::all_up(&nodes).await;
    let refused = nodes[0].mesh.fetch(B, Bytes::from_static(b"anything")).await;
    assert!(matches!(&refused, Err(FetchError::Rejected(why)) if why.contains("no transfers")));
    assert_eq!(nodes[0].mesh.fetch(NodeId(9), Bytes::new()).await.unwrap_err(), {
        FetchError::UnknownPeer
    });
    common::end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_panics_breaks_its_own_transfer_only() {
    let [a, b] = pair_with(&mut Plan::new(2), |_| {}).await;
    let mut other = b.mesh.fetch(A, ask("send", 0, 20 * MIB)).await.unwrap();
    match b.mesh.fetch(A, ask("panic", 0, MIB)).await {
        Ok(mut reader) => {
            let (bytes, result) = read(&mut reader, 0).await;
            assert!(bytes <= MIB);
            assert_eq!(result, Err(FetchError::BrokenOff(CloseCode::Dropped)));
        }
        Err(error) => assert_eq!(error, FetchError::BrokenOff(CloseCode::Dropped)),
    }
    assert_eq!(read(&mut other, 0).await, (20 * MIB, Ok(())));
    until("counted", || (served(&a).finished, served(&a).failed) == (1, 1)).await;
    assert_eq!(b.mesh.stats().peers[&A].links, 1);
    end([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetcher_that_gives_up_frees_the_owner() {
    let [a, b] = pair_with(&mut Plan::new(2), |_| {}).await;
    let dropped = || a.archive.dropped.load(Ordering::SeqCst);
    // While data flows, and while the owner is silent.
    for (i, how) in ["send", "hang"].into_iter().enumerate() {
        let to = if how == "send" { 1 << 40 } else { 10 };
        let mut reader = b.mesh.fetch(A, ask(how, 0, to)).await.unwrap();
        reader.chunk().await.unwrap().unwrap();
        assert_eq!(dropped(), i);
        drop(reader);
        until("dropped", || dropped() == i + 1).await;
    }
    // Before the first byte.
    let waiting = tokio::time::timeout(ms(200), b.mesh.fetch(A, ask("hang", 0, 0))).await;
    assert!(waiting.is_err(), "nothing was answered");
    until("dropped", || dropped() == 3).await;
    until("counted", || served(&a).failed == 3 && fetched(&b).failed == 3).await;
    end([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_comes_when_the_sink_goes_even_if_the_future_was_ready_before() {
    let [a, b] = pair_with(&mut Plan::new(2), |_| {}).await;
    let mut reader = b.mesh.fetch(A, ask("aside", 0, 5 * MIB)).await.unwrap();
    assert_eq!(read(&mut reader, 0).await, (5 * MIB, Ok(())));
    until("acknowledged", || served(&a).finished == 1).await;
    end([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_transfers_as_the_limits_say_and_no_more() {
    let mut plan = Plan::new(3);
    // Node 1 serves one to each peer and two in all; node 2 fetches three at a time from each.
    let a = plan.serve_with(A, |config| {
        config.limits.transfers_per_peer_max = 1;
        config.limits.transfers_max = 2;
        config.limits.transfer_request_bytes_max = 1000;
    });
    let b = plan.serve_with(B, |config| config.limits.transfers_per_peer_max = 3);
    let c = plan.serve_with(NodeId(3), |config| {
        config.limits.transfers_per_peer_max = 3;
        config.limits.transfers_max = 4;
    });
    linked(&a, &b).await;
    linked(&a, &c).await;
    linked(&b, &c).await;
    let first = b.mesh.fetch(A, ask("hang", 0, 10)).await.unwrap();
    let one_more = b.mesh.fetch(A, ask("hang", 0, 10)).await;
    assert_eq!(one_more.unwrap_err(), FetchError::Overloaded, "one to each");
    let second = c.mesh.fetch(A, ask("hang", 0, 10)).await.unwrap();

    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(c.mesh.fetch(B, ask("hang", 0, 10)).await.unwrap());
    }
    let one_more = c.mesh.fetch(B, ask("hang", 0, 10)).await;
    assert_eq!(one_more.unwrap_err(), FetchError::Busy, "three from each");
    let one_more = c.mesh.fetch(A, ask("hang", 0, 10)).await;
    assert_eq!(one_more.unwrap_err(), FetchError::Busy, "four in all");
    assert_eq!(a.mesh.stats().refused.overloaded, 1);
    until("counted", || (served(&a).begun, served(&a).refused) == (3, 1)).await;

    // A place that is free is free for the next one.
    drop((first, second, held));
    until("free", || [&a, &b].iter().all(|node| served(node).active() == 0)).await;
    for _ in 0..5 {
        let mut reader = b.mesh.fetch(A, ask("send", 0, 1000)).await.unwrap();
        assert_eq!(read(&mut reader, 0).await, (1000, Ok(())));
    }
    let limit = 64 << 10;
    let long = b.mesh.fetch(A, vec![7; limit + 1].into()).await.unwrap_err();
    assert_eq!(long, FetchError::RequestTooLarge { bytes: limit + 1, limit });
    // Node 1's own limit is lower.
    let long = b.mesh.fetch(A, vec![7; limit].into()).await.unwrap_err();
    assert!(matches!(&long, FetchError::Rejected(why) if why.contains("1000 bytes")), "{long}");
    assert_eq!(a.mesh.stats().refused.transfer_request, 1);
    // At the limit it reaches the owner, who cannot read it.
    let asked = a.archive.asked.load(Ordering::SeqCst);
    let exact = b.mesh.fetch(A, vec![b'7'; 1000].into()).await.unwrap_err();
    assert!(matches!(&exact, FetchError::Rejected(why) if why.contains("cannot read")), "{exact}");
    assert_eq!(a.archive.asked.load(Ordering::SeqCst), asked + 1);
    end([a, b, c]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_places_means_no_transfers() {
    let [a, b] =
        pair_with(&mut Plan::new(2), |config| config.limits.transfers_per_peer_max = 0).await;
    assert_eq!(b.mesh.fetch(A, ask("send", 0, 1)).await.unwrap_err(), FetchError::Busy);
    assert_eq!(a.archive.asked.load(Ordering::SeqCst), 0);
    end([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unread_transfer_costs_a_window_and_stalls_on_both_sides() {
    const WINDOW: u64 = MIB;
    let [a, b] = pair_with(&mut Plan::new(2), |config| {
        config.limits.lane_window_bytes = WINDOW as u32;
        config.timing.transfer_stall_timeout = ms(1500);
    })
    .await;
    let mut reader = b.mesh.fetch(A, ask("send", 0, 1 << 40)).await.unwrap();
    check(0, &reader.chunk().await.unwrap().unwrap());
    tokio::time::sleep(ms(700)).await;
    // At most what QUIC's window holds, and what waits in front of it: pieces, and what the owner
    // is writing.
    let written = || a.archive.written.load(Ordering::SeqCst) as u64;
    let bound = reader.received() + WINDOW + (4 << 16) + 1_000_003;
    assert!(written() <= bound, "{} bytes written, bound {bound}", written());
    assert_eq!(served(&a).active(), 1, "not yet stalled");
    // The lanes go on meanwhile.
    a.mesh.send(B, Lane::Urgent, Bytes::from_static(&[0; 4])).unwrap();
    until("the vote", || b.archive.frames.lock().len() == 1).await;

    until("stalled", || served(&a).failed == 1).await;
    until("dropped", || a.archive.dropped.load(Ordering::SeqCst) == 1).await;
    let at = reader.received();
    let (_, result) = read(&mut reader, at).await;
    assert_eq!(result, Err(FetchError::BrokenOff(CloseCode::Stalled)));
    assert_eq!(fetched(&b).failed, 1);
    end([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_owner_stalls_on_both_sides() {
    let [a, b] = pair_with(&mut Plan::new(2), |config| {
        config.timing.transfer_stall_timeout = ms(700);
    })
    .await;
    // In the middle, and before anything was said. Whichever side's timer is first ends it.
    let stalled = |error: FetchError| match error {
        FetchError::Stalled(after) => assert_eq!(after, ms(700)),
        error => assert_eq!(error, FetchError::BrokenOff(CloseCode::Stalled)),
    };
    let mut reader = b.mesh.fetch(A, ask("hang", 0, MIB)).await.unwrap();
    let start = Instant::now();
    let (_, result) = read(&mut reader, 0).await;
    stalled(result.unwrap_err());
    stalled(b.mesh.fetch(A, ask("hang", 0, 0)).await.unwrap_err());
    assert!(start.elapsed() >= ms(1300), "{:?}", start.elapsed());
    until("stalled", || served(&a).failed == 2 && fetched(&b).failed == 2).await;
    assert_eq!(a.archive.dropped.load(Ordering::SeqCst), 2);
    assert_eq!(b.mesh.stats().peers[&A].links, 1);

    // Slow but steady is no stall.
    let mut reader = b.mesh.fetch(A, ask("20000", 0, 30_000)).await.unwrap();
    assert_eq!(read(&mut reader, 0).await, (30_000, Ok(())));
    until("acknowledged", || served(&a).finished == 1).await;
    end([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept() {
    let [a, b] = pair_with(&mut Plan::new(2), |_| {}).await;
    let start = Instant::now();
    let mut reader = b.mesh.fetch(A, ask("4000000", 0, 4_000_000)).await.unwrap();
    assert_eq!(read(&mut reader, 0).await, (4_000_000, Ok(())));
    let took = start.elapsed().as_secs_f64();
    figure("4 MB at 4 MB/s", took, "s", 0.92..=1.1);
    // The last piece and the burst go without waiting for their time.
    assert!(took > 0.9, "{took}");
    until("acknowledged", || served(&a).finished == 1).await;
    end([a, b]).await;
}

/// Plays node 1 towards node 2, and keeps no rules.
async fn impostor(plan: &Plan, b: &Server) -> quinn::Connection {
    let identity = plan.authority.issue_node(CLUSTER, A).unwrap();
    let raw = connect(b.mesh.local_addr(), &identity, true, b"panchayat-mesh/1").await.unwrap();
    let claim = Claim { versions: [2, 2], cluster: CLUSTER, from: A, to: B };
    assert!(say(&raw, &claim).await.is_some());
    until("accepted", || b.mesh.is_up(A)).await;
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_refused_and_the_link_goes_on() {
    let mut plan = Plan::new(2);
    let b = plan.serve_with(B, |config| {
        config.limits.transfers_per_peer_max = 1;
        config.timing.transfer_stall_timeout = ms(800);
    });
    let raw = impostor(&plan, &b).await;
    let garbage: [(&[u8], &str); 5] = [
        (&[], "cut short"),
        (&[1, 9, 0, 0, 0, b's', b'e'], "cut short"),
        (&[99, 0, 0, 0, 0], "version 99"),
        (&[0xff; 3000], "version 255"),
        (&[1; 100_000], "over the limit"),
    ];
    for (i, (bytes, why)) in garbage.into_iter().enumerate() {
        let (mut send, mut receive) = raw.open_bi().await.unwrap();
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
        let answer = receive.read_to_end(2000).await.unwrap();
        assert_eq!(answer[0], 3, "refused");
        let text = String::from_utf8(answer[5..].to_vec()).unwrap();
        assert!(text.contains(why), "{text}");
        assert_eq!(b.mesh.stats().refused.transfer_request, i as u64 + 1);
    }
    assert_eq!(b.archive.asked.load(Ordering::SeqCst), 0);
    // One that never ends holds its place for the stall timeout only; one more is told so.
    let (mut endless, mut cut) = raw.open_bi().await.unwrap();
    endless.write_all(&[1, 2, 3]).await.unwrap();
    until("begun", || served(&b).active() == 1).await;
    let (mut send, mut receive) = raw.open_bi().await.unwrap();
    send.write_all(&[1]).await.unwrap();
    assert_eq!(receive.read_to_end(2000).await.unwrap(), [2, 0, 0, 0, 0], "overloaded");
    let reset = quinn::VarInt::from(CloseCode::Stalled);
    let ended = cut.read_to_end(10).await.unwrap_err();
    assert_eq!(ended, quinn::ReadToEndError::Read(quinn::ReadError::Reset(reset)));
    // One that is taken back before its end never reaches the owner.
    let (mut taken, mut nothing) = raw.open_bi().await.unwrap();
    taken.write_all(&[1, 2, 0, 0, 0, b's']).await.unwrap();
    taken.reset(7u32.into()).unwrap();
    let ended = nothing.read_to_end(10).await.unwrap_err();
    assert!(matches!(ended, quinn::ReadToEndError::Read(quinn::ReadError::Reset(_))), "{ended}");
    // More streams than there are places for are not opened at all, and harm nobody.
    let mut open = Vec::new();
    while let Ok(stream) = tokio::time::timeout(ms(300), raw.open_bi()).await {
        let (mut send, receive) = stream.unwrap();
        send.write_all(&[1]).await.unwrap();
        open.push((send, receive));
        assert!(open.len() < 50, "no limit of streams");
    }
    drop(open);
    assert_eq!(b.archive.asked.load(Ordering::SeqCst), 0);
    assert!(b.mesh.is_up(A) && raw.close_reason().is_none());
    assert_eq!(b.mesh.stats().refused.protocol, 0);
    until("over", || served(&b).active() == 0).await;
    end([b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_make_no_sense_are_errors() {
    let mut plan = Plan::new(2);
    let b = plan.serve_with(B, |_| {});
    let raw = impostor(&plan, &b).await;
    let data = |bytes: &[u8]| [&[0, bytes.len() as u8, 0, 0, 0], bytes].concat();
    let cases: [(&str, Vec<u8>, usize); 8] = [
        ("nothing", vec![], 0),
        ("no end", data(b"abc"), 3),
        ("half a record", data(b"abcdef")[..8].to_vec(), 3),
        ("half a header", [&data(b"ab")[..], &[1, 0]].concat(), 2),
        ("an empty record", vec![0, 0, 0, 0, 0], 0),
        ("an unknown record", [&data(b"ab")[..], &[9, 0, 0, 0, 0]].concat(), 2),
        ("more after the end", [&data(b"ab")[..], &[1, 0, 0, 0, 0, 0]].concat(), 2),
        ("a reason of 4 GiB", vec![3, 255, 255, 255, 255], 0),
    ];
    for (what, answer, good) in cases {
        let mesh = b.mesh.clone();
        let fetching = tokio::spawn(async move {
            let mut reader = match mesh.fetch(A, Bytes::new()).await {
                Ok(reader) => reader,
                Err(error) => return (0, error),
            };
            let mut bytes = 0;
            loop {
                match reader.chunk().await {
                    Ok(Some(chunk)) => bytes += chunk.len(),
                    Ok(None) => panic!("a clean end"),
                    Err(error) => return (bytes, error),
                }
            }
        });
        let (mut send, mut receive) = raw.accept_bi().await.unwrap();
        let mut request = [9; 5];
        receive.read_exact(&mut request).await.unwrap();
        assert_eq!(request, [1, 0, 0, 0, 0]);
        send.write_all(&answer).await.unwrap();
        send.finish().unwrap();
        let (bytes, error) = fetching.await.unwrap();
        assert!(matches!(error, FetchError::Malformed(_)), "{what}: {error}");
        assert_eq!(bytes, good, "{what}");
    }
    assert!(b.mesh.is_up(A));
    assert_eq!(fetched(&b).failed, 8);
    end([b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_cannot_fetch() {
    let mut plan = Plan::new(2);
    let [a, b] = pair_with(&mut plan, |_| {}).await;
    let identity = plan.authority.issue_client(CLUSTER, "curious").unwrap();
    let addr = b.mesh.local_addr();
    let raw = connect(addr, &identity, true, b"panchayat-client/1").await.unwrap();
    let claim = Claim { versions: [2, 2], cluster: CLUSTER, from: NodeId(0), to: B };
    assert!(say(&raw, &claim).await.is_some());
    // The bytes of a transfer's request are a client's request, and nothing else.
    let (mut send, mut receive) = raw.open_bi().await.unwrap();
    send.write_all(&[&[1, 8, 0, 0, 0][..], &ask("send", 0, 5)].concat()).await.unwrap();
    send.finish().unwrap();
    assert_eq!(receive.read_to_end(100).await.unwrap(), b"\0\x08\0\0\0send 0 5");
    assert_eq!(*b.archive.requests.lock(), [12]);
    assert_eq!((b.archive.asked.load(Ordering::SeqCst), served(&b).begun), (0, 0));
    raw.close(0u32.into(), b"");
    end([a, b]).await;
}

/// One-way times of votes from A to B, one every 2 ms until `over`; sorted.
async fn votes(a: &Server, b: &Server, over: impl Fn(usize) -> bool) -> Vec<Duration> {
    b.archive.frames.lock().clear();
    let mut sent = Vec::new();
    let mut ticks = tokio::time::interval(ms(2));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !over(sent.len()) {
        ticks.tick().await;
        let number = u32::try_from(sent.len()).unwrap();
        sent.push(Instant::now());
        let vote = Bytes::copy_from_slice(&[&number.to_le_bytes()[..], &[7; 60]].concat());
        a.mesh.send(B, Lane::Urgent, vote).unwrap();
    }
    until("all votes", || b.archive.frames.lock().len() == sent.len()).await;
    let frames = b.archive.frames.lock();
    let mut times: Vec<_> = frames.iter().map(|(i, at)| *at - sent[*i as usize]).collect();
    times.sort();
    times
}

fn report(what: &str, times: &[Duration]) -> Duration {
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let in_ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!(
        "{what}: {} votes one way, p50 {:.2} p99 {:.2} max {:.2} ms",
        times.len(),
        in_ms(at(0.5)),
        in_ms(at(0.99)),
        in_ms(at(1.0))
    );
    at(0.99)
}

/// Votes alone, then beside a transfer on the same link in the same direction.
async fn votes_beside(name: &str, wan: Option<LinkParams>, how: &str, bytes: u64) {
    let mut plan = Plan::new(2);
    if let Some(params) = wan {
        let control = WanControl::new(1);
        control.set_pair(A, B, params);
        plan.wan = Some(control);
        plan.rtt = Some((params.delay * 2).max(ms(1)));
    }
    let [a, b] = pair_with(&mut plan, |_| {}).await;
    let alone = votes(&a, &b, |sent| sent == 500).await;
    let before = report(&format!("{name}, alone"), &alone);
    let mut reader = b.mesh.fetch(A, ask(how, 0, bytes)).await.unwrap();
    let start = Instant::now();
    let transfer = tokio::spawn(async move {
        assert_eq!(read(&mut reader, 0).await, (bytes, Ok(())));
        start.elapsed()
    });
    let beside = votes(&a, &b, |_| transfer.is_finished()).await;
    let took = transfer.await.unwrap();
    let p99 = report(&format!("{name}, beside {} MiB", bytes / MIB), &beside);
    println!("{name}: {:.0} MB/s", bytes as f64 / took.as_secs_f64() / 1e6);
    let factor = p99.as_secs_f64() / before.as_secs_f64();
    // One process does everything here, so on loopback votes wait for the processor above all.
    figure(&format!("{name}: p99 beside / alone"), factor, "x", 0.0..=10.0);
    // Were votes queued behind the transfer, they would come with its end.
    assert!(beside.len() > 20, "{} votes in {took:?}", beside.len());
    let median = beside[beside.len() / 2];
    assert!(median < took / 4, "median vote {median:?} beside a transfer of {took:?}");
    until("acknowledged", || served(&a).finished == 1).await;
    end([a, b]).await;
}

/// Not a matter of clocks: while a lane has something to send, a transfer gets next to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lowest_lane_goes_before_a_transfer() {
    const LANE: u64 = 6_000_000;
    let narrow = LinkParams {
        bandwidth_bps: Some(80_000_000),
        queue_bytes_max: 200_000,
        ..LinkParams::delay(ms(5))
    };
    let wan = WanControl::new(1);
    wan.set_pair(A, B, narrow);
    let mut plan = Plan::new(2);
    plan.wan = Some(wan);
    plan.rtt = Some(ms(10));
    // It does not yield to delay here: only its priority holds it back.
    let [a, b] = pair_with(&mut plan, |config| {
        config.timing.transfer_delay_max = Duration::from_secs(60);
    })
    .await;
    let mut reader = b.mesh.fetch(A, ask("send", 0, 1 << 40)).await.unwrap();
    let came = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = Arc::clone(&came);
    let transfer = tokio::spawn(async move {
        while let Ok(Some(_)) = reader.chunk().await {
            count.store(reader.received(), Ordering::SeqCst);
        }
    });
    let came = || came.load(Ordering::SeqCst);
    until("the transfer at full speed", || came() > 4 * MIB).await;
    for _ in 0..LANE / 100_000 {
        a.mesh.send(B, Lane::Bulk, Bytes::from(vec![1; 100_000])).unwrap();
    }
    // From here on everything that was on its way before is there.
    let lane = || b.archive.bulk.load(Ordering::SeqCst) as u64;
    until("the lane's first part", || lane() >= LANE / 3).await;
    let (lane_before, before) = (lane(), came());
    until("all of the lane", || lane() == LANE).await;
    let (beside, all) = (came() - before, LANE - lane_before);
    println!("{beside} bytes of the transfer beside {all} of the lane");
    assert!(beside < all / 4, "{beside} beside {all}");
    until("the transfer goes on", || came() > before + beside + MIB).await;
    transfer.abort();
    end([a, b]).await;
}

/// One test, so that the measurements do not run beside each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_go_before_a_transfer() {
    let wan = LinkParams { bandwidth_bps: Some(400_000_000), ..LinkParams::delay(ms(12)) };
    votes_beside("loopback", None, "send", 256 * MIB).await;
    votes_beside("24 ms, 400 Mbit/s", Some(wan), "send", 256 * MIB).await;
    votes_beside("24 ms, 400 Mbit/s, at 20 MB/s", Some(wan), "20000000", 64 * MIB).await;
}

/// A handler in an older program, which knows nothing of transfers, and a mesh that has no link.
#[tokio::test]
async fn fetching_from_a_peer_that_is_not_there_says_so() {
    let mut plan = Plan::new(2);
    let mesh = Mesh::start(plan.config(A), Recorder::new()).unwrap();
    assert_eq!(mesh.fetch(B, Bytes::new()).await.unwrap_err(), FetchError::Down);
    assert_eq!(mesh.stats().fetched(), TransferStats::default());
    mesh.shutdown().await;
}

//! Redis clients over TLS: what is negotiated, who gets in, and certificates that change meanwhile.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::resp::{Raw, encoded};
use common::serve::{CITIES, Served};
use panchayat::identity::{Authority, Identity};
use panchayat::transport::{CertificateFacts, RedisCertificate};
use panchayat::{ClusterId, NodeId};
use rustix::process::Signal;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, NamedGroup, RootCertStore};

const TLS: &str = "  tls:\n    certificate: redis/server.pem\n    key: redis/server.key\n";

fn issue(authority: &Authority) -> RedisCertificate {
    authority.issue_redis_server(&["localhost".to_owned()]).unwrap()
}

/// A client that trusts `ca`, offers `groups` unless its library chooses, and shows a certificate.
fn client(
    ca: &str,
    groups: &[&'static dyn SupportedKxGroup],
    shows: Option<&RedisCertificate>,
) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    if !groups.is_empty() {
        provider.kx_groups = groups.to_vec();
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match shows {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let chain = vec![CertificateDer::from_pem_slice(shown.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

fn serial(raw: &Raw) -> String {
    let chain = raw.tls().peer_certificates().unwrap();
    CertificateFacts::of(&chain[0]).unwrap().serial
}

fn serial_of(pem: &str) -> String {
    CertificateFacts::of_pem(pem.as_bytes()).unwrap()[0].serial.clone()
}

/// Whether a client gets an answer. Under TLS 1.3 it learns only then that its certificate was refused.
fn is_let_in(served: &Served, config: &Arc<ClientConfig>) -> bool {
    let Ok(mut raw) = Raw::connect_tls(served.clients[0], config) else { return false };
    raw.send(&encoded(&["PING"])) && raw.at_once(b"+PONG\r\n")
}

#[test]
fn clients_over_tls_get_the_hybrid_exchange_and_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::prepare(dir.path(), TLS, "");
    let authority = Authority::create().unwrap();
    let issued = issue(&authority);
    issued.save(&dir.path().join("redis")).unwrap();
    (0..3).for_each(|seat| served.spawn(seat));
    let usual = client(&issued.ca, &[], None);
    let mut raw = Raw::connect_tls(served.clients[0], &usual).unwrap();
    let began = Instant::now();
    while raw.ask("SET ready yes") != "+OK\r\n" {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not serve");
    }

    // The hybrid group where the client has a share of it, the others from those that know no better.
    let group = |raw: &Raw| raw.tls().negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group(&raw), NamedGroup::X25519MLKEM768);
    for (groups, expected) in [
        (&[kx_group::X25519MLKEM768, kx_group::X25519][..], NamedGroup::X25519MLKEM768),
        (&[kx_group::X25519][..], NamedGroup::X25519),
        (&[kx_group::SECP256R1][..], NamedGroup::secp256r1),
    ] {
        let raw = Raw::connect_tls(served.clients[0], &client(&issued.ca, groups, None)).unwrap();
        assert_eq!(group(&raw), expected);
    }

    // Large values, and a pipeline whose replies are read late, when nothing more fits.
    let value = "x".repeat(4 << 20);
    assert_eq!(raw.ask(&format!("SET big {value}")), "+OK\r\n");
    raw.send(&encoded(&["GET", "big"]).repeat(8));
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..8 {
        assert_eq!(raw.reply().len(), value.len() + "$4194304\r\n\r\n".len());
    }
    for n in 1..=100 {
        assert_eq!(raw.ask("INCR n"), format!(":{n}\r\n"));
    }

    // Who speaks in clear is told nothing, and who stops in the handshake harms nobody.
    let mut clear = served.connect(0);
    clear.send(&encoded(&["PING"]));
    assert!(!clear.rest().starts_with(b"+PONG"));
    let stranger = Authority::create().unwrap();
    let wrong = client(&stranger.to_pem()[0], &[], None);
    assert!(Raw::connect_tls(served.clients[0], &wrong).is_err(), "whom does the client trust?");
    let _half = served.connect(0);
    assert!(raw.ask("INFO stats").contains("tls_handshakes_failed:"));

    // A clean stop says goodbye.
    served.signal(0, Signal::TERM);
    assert_eq!(served.wait(0), Some(0));
}

#[test]
fn only_clients_with_a_certificate_come_in_where_one_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let clients = format!("{TLS}    client_ca: redis/ca.pem\n");
    let mut served = Served::prepare(dir.path(), &clients, "");
    let authority = Authority::create().unwrap();
    let issued = issue(&authority);
    issued.save(&dir.path().join("redis")).unwrap();
    served.spawn(0);
    let ca = &issued.ca;
    let own = authority.issue_redis_client("shop").unwrap();
    let foreign = Authority::create().unwrap().issue_redis_client("shop").unwrap();
    assert!(is_let_in(&served, &client(ca, &[], Some(&own))));
    assert!(!is_let_in(&served, &client(ca, &[], None)), "without a certificate");
    assert!(!is_let_in(&served, &client(ca, &[], Some(&foreign))), "with somebody else's");
    assert!(!is_let_in(&served, &client(ca, &[], Some(&issued))), "with a server's");
}

fn put(dir: &Path, issued: &RedisCertificate) {
    std::fs::write(dir.join("redis/server.pem"), &issued.certificate).unwrap();
    std::fs::write(dir.join("redis/server.key"), &issued.key).unwrap();
}

/// Waits for a connection that shows a certificate with `expected`.
fn until_shown(served: &Served, config: &Arc<ClientConfig>, expected: &str) -> Raw {
    let began = Instant::now();
    loop {
        let raw = Raw::connect_tls(served.clients[0], config).unwrap();
        if serial(&raw) == expected {
            return raw;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the old certificate is still shown");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn new_connections_meet_the_new_certificate_and_old_ones_live_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::prepare(dir.path(), TLS, "");
    let authority = Authority::create().unwrap();
    let first = issue(&authority);
    first.save(&dir.path().join("redis")).unwrap();
    (0..3).for_each(|seat| served.spawn(seat));
    let config = client(&first.ca, &[], None);
    let mut old = until_shown(&served, &config, &serial_of(&first.certificate));
    assert_eq!(old.ask("PING"), "+PONG\r\n");

    // Noticed by itself.
    let second = issue(&authority);
    put(dir.path(), &second);
    let mut newer = until_shown(&served, &config, &serial_of(&second.certificate));
    assert_eq!(old.ask("PING"), "+PONG\r\n");
    assert_eq!(serial(&old), serial_of(&first.certificate));

    // A bad one is refused and the old one stays: nonsense, and half a pair.
    let third = issue(&authority);
    for (certificate, key) in [("nonsense", third.key.as_str()), (&third.certificate, &second.key)]
    {
        std::fs::write(dir.path().join("redis/server.pem"), certificate).unwrap();
        std::fs::write(dir.path().join("redis/server.key"), key).unwrap();
        served.signal(0, Signal::HUP);
        std::thread::sleep(Duration::from_millis(2_500));
        let raw = Raw::connect_tls(served.clients[0], &config).unwrap();
        assert_eq!(serial(&raw), serial_of(&second.certificate));
    }

    // At once when asked to.
    put(dir.path(), &third);
    served.signal(0, Signal::HUP);
    until_shown(&served, &config, &serial_of(&third.certificate));
    assert_eq!(newer.ask("PING"), "+PONG\r\n");
    assert_eq!(old.ask("PING"), "+PONG\r\n");
}

#[test]
fn members_show_their_new_certificate_on_new_links() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), "");
    (0..3).for_each(|seat| served.wait_until_it_serves(seat));
    let mut client = served.connect(0);
    let before = client.ask("INFO panchayat");
    assert!(before.contains("member_delhi:state=up,certificate="), "{before}");

    let authority = Authority::load(&dir.path().join("authority")).unwrap();
    let renewed = authority.issue_node(ClusterId(7), NodeId(2)).unwrap();
    let files = Identity::files(&dir.path().join(format!("certs-{}", CITIES[1])));
    for (file, text) in files.iter().zip(renewed.to_pem()) {
        std::fs::write(file, text).unwrap();
    }
    let serial = serial_of(&renewed.to_pem()[0]);
    served.signal(1, Signal::HUP);
    std::thread::sleep(Duration::from_secs(1));
    assert!(!client.ask("INFO panchayat").contains(&serial), "the link was cut");
    // Another one meets it.
    served.kill(0);
    served.spawn(0);
    served.wait_until_it_serves(0);
    let began = Instant::now();
    while !served.connect(0).ask("INFO panchayat").contains(&serial) {
        assert!(began.elapsed() < Duration::from_secs(20), "the old certificate is still shown");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(served.connect(0).ask("SET a 1") == "+OK\r\n");
}

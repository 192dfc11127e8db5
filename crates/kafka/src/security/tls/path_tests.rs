//! Certificates of every kind, judged here and, where there is a JDK, by Java.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};

use super::hostname::{self, Identification};
use super::path::{self, Anchors, Role};
use super::pem;
use super::x509::Certificate;

/// A certificate, its key, and what it was made from.
struct Made {
    pem: String,
    params: CertificateParams,
    key: KeyPair,
}

type Change = fn(&mut CertificateParams);

fn make(name: &str, by: Option<&Made>, change: Change) -> Made {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2100, 1, 1));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = match by {
        Some(by) => params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Made { pem: certificate.pem(), params, key }
}

fn ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

fn names(params: &mut CertificateParams, names: &[&str]) {
    params.subject_alt_names = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        .unwrap()
        .subject_alt_names;
}

fn store(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/stores/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

struct Case {
    what: &'static str,
    trust: String,
    chain: String,
    host: &'static str,
    expected: &'static str,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |what, trust: &str, chain: &[&str], host, expected| {
        cases.push(Case { what, trust: trust.to_owned(), chain: chain.concat(), host, expected });
    };
    let root = make("Root", None, ca);
    let stranger = make("Root", None, ca);
    // A leaf below the root, with this change, and asked for as this host.
    let leaves: &[(&'static str, &str, Change, &'static str, &'static str)] = &[
        ("a leaf with a name", "x", |p| names(p, &["a.example.org"]), "a.example.org", "ok"),
        ("case does not matter", "x", |p| names(p, &["A.Example.org"]), "a.eXample.org", "ok"),
        ("another name", "x", |p| names(p, &["a.example.org"]), "b.example.org", "host"),
        ("an address", "x", |p| names(p, &["10.0.0.1"]), "10.0.0.1", "ok"),
        ("another address", "x", |p| names(p, &["10.0.0.1"]), "10.0.0.2", "host"),
        ("an address is no DNS name", "10.0.0.1", |_| {}, "10.0.0.1", "host"),
        ("an address as a DNS name only", "x", |p| names(p, &["a.org"]), "10.0.0.1", "host"),
        ("a common name alone", "a.example.org", |_| {}, "a.example.org", "ok"),
        ("a common name beside DNS names", "a.example.org", |p| names(p, &["b.example.org"]), "a.example.org", "host"),
        ("a common name beside addresses", "a.example.org", |p| names(p, &["10.0.0.1"]), "a.example.org", "ok"),
        ("a wildcard", "x", |p| names(p, &["*.example.org"]), "a.example.org", "ok"),
        ("a wildcard is one label", "x", |p| names(p, &["*.example.org"]), "a.b.example.org", "host"),
        ("a wildcard is a label", "x", |p| names(p, &["*.example.org"]), "example.org", "host"),
        ("a wildcard in a label", "x", |p| names(p, &["kafka-*-eu.example.org"]), "kafka-1-eu.example.org", "ok"),
        ("a wildcard elsewhere", "x", |p| names(p, &["a.*.org"]), "a.example.org", "ok"),
        ("a wildcard of everything", "x", |p| names(p, &["*"]), "localhost", "host"),
        ("a wildcard common name", "*.example.org", |_| {}, "a.example.org", "ok"),
        ("expired", "a.org", |p| p.not_after = date_time_ymd(2001, 1, 1), "a.org", "path"),
        ("not yet valid", "a.org", |p| p.not_before = date_time_ymd(2099, 1, 1), "a.org", "path"),
        ("a CA as end entity", "a.org", ca, "a.org", "ok"),
        ("for servers", "a.org", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth], "a.org", "ok"),
        ("for anything", "a.org", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any], "a.org", "ok"),
        (
            "for clients only",
            "a.org",
            |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            "a.org",
            "path",
        ),
        ("for signatures", "a.org", |p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature], "a.org", "ok"),
        ("not for signatures", "a.org", |p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement], "a.org", "path"),
        ("a critical extension", "a.org", |p| p.custom_extensions.push(extension(true)), "a.org", "path"),
        ("an extension", "a.org", |p| p.custom_extensions.push(extension(false)), "a.org", "ok"),
    ];
    for (what, name, change, host, expected) in leaves {
        case(what, &root.pem, &[&make(name, Some(&root), *change).pem], host, expected);
    }
    let leaf = make("a.org", Some(&root), |_| {});
    case("by a namesake", &stranger.pem, &[&leaf.pem], "a.org", "path");
    case("by one of two namesakes", &format!("{}{}", stranger.pem, root.pem), &[&leaf.pem], "a.org", "ok");
    case("with its root", &root.pem, &[&leaf.pem, &root.pem], "a.org", "ok");
    let own = make("a.org", None, |_| {});
    case("trusted itself", &own.pem, &[&own.pem], "a.org", "ok");
    case("self-signed and not trusted", &root.pem, &[&own.pem], "a.org", "path");
    let old = make("a.org", None, |p| p.not_after = date_time_ymd(2001, 1, 1));
    case("trusted itself and expired", &old.pem, &[&old.pem], "a.org", "ok");
    // Whoever signs.
    let issuers: &[(&'static str, Change, &'static str)] = &[
        ("an anchor that is no CA", |_| {}, "path"),
        ("an anchor that says it is no CA", |p| p.is_ca = IsCa::ExplicitNoCa, "path"),
        (
            "an anchor that has expired",
            |p| {
                ca(p);
                p.not_after = date_time_ymd(2001, 1, 1);
            },
            "ok",
        ),
        (
            "an anchor that must not sign",
            |p| {
                ca(p);
                p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            },
            "path",
        ),
    ];
    for (what, change, expected) in issuers {
        let issuer = make("Issuer", None, *change);
        case(what, &issuer.pem, &[&make("a.org", Some(&issuer), |_| {}).pem], "a.org", expected);
    }
    let between: &[(&'static str, Change, &'static str)] = &[
        ("an intermediate", ca, "ok"),
        ("an intermediate that is no CA", |_| {}, "path"),
        (
            "an intermediate that has expired",
            |p| {
                ca(p);
                p.not_after = date_time_ymd(2001, 1, 1);
            },
            "path",
        ),
        (
            "an intermediate that must not sign",
            |p| {
                ca(p);
                p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            },
            "path",
        ),
        ("an intermediate for leaves", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), "ok"),
        ("an intermediate for this name", |p| constrained(p, &["a.org"], &[]), "ok"),
        ("an intermediate for another name", |p| constrained(p, &["b.org"], &[]), "path"),
        ("an intermediate for all but this name", |p| constrained(p, &[], &["org"]), "path"),
    ];
    for (what, change, expected) in between {
        let intermediate = make("Between", Some(&root), *change);
        let leaf = make("a.org", Some(&intermediate), |p| names(p, &["a.org"]));
        case(what, &root.pem, &[&leaf.pem, &intermediate.pem], "a.org", expected);
        if *expected == "ok" {
            case("without its intermediate", &root.pem, &[&leaf.pem], "a.org", "path");
            case("an intermediate as anchor", &intermediate.pem, &[&leaf.pem], "a.org", "ok");
        }
    }
    let first = make("First", Some(&root), |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let second = make("Second", Some(&first), ca);
    let deep = make("a.org", Some(&second), |_| {});
    case("a path that is too long for its CA", &root.pem, &[&deep.pem, &second.pem, &first.pem], "a.org", "path");
    let first = make("First", Some(&root), ca);
    let second = make("Second", Some(&first), ca);
    let deep = make("a.org", Some(&second), |_| {});
    case("in order", &root.pem, &[&deep.pem, &second.pem, &first.pem], "a.org", "ok");
    case("in any order", &root.pem, &[&deep.pem, &root.pem, &first.pem, &second.pem], "a.org", "ok");
    case("a CA of version 1", &store("v1-ca.pem"), &[&store("v1-leaf.pem")], "localhost", "ok");
    case(
        "below a CA of version 1 that is no anchor",
        &store("ca.pem"),
        &[&store("v1-leaf.pem"), &store("v1-intermediate.pem")],
        "localhost",
        "path",
    );
    cases
}

fn extension(critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    extension.set_criticality(critical);
    extension
}

fn constrained(params: &mut CertificateParams, permitted: &[&str], excluded: &[&str]) {
    let trees = |names: &[&str]| names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect();
    ca(params);
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: trees(permitted), excluded_subtrees: trees(excluded) });
}

fn parse(pem: &str) -> Vec<Certificate> {
    pem::certificates(pem).unwrap().iter().map(|bytes| Certificate::parse(bytes).unwrap()).collect()
}

/// `ok`, or what does not fit.
fn verdict(case: &Case) -> &'static str {
    #[expect(clippy::disallowed_methods, reason = "driver: Java's verdicts are of now")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
    let chain = parse(&case.chain);
    let anchors = Anchors { certificates: parse(&case.trust), are_public: false };
    match path::check(&chain, &anchors, Role::Server, now) {
        Err(_) => "path",
        Ok(()) => match hostname::check(&chain[0], case.host, Identification::Https, false) {
            Ok(()) => "ok",
            Err(_) => "host",
        },
    }
}

#[test]
fn certificates_are_judged_as_java_does() {
    let cases = cases();
    let here: Vec<&str> = cases.iter().map(verdict).collect();
    let others = cases.iter().zip(&here).filter(|(case, here)| case.expected != **here);
    let others: Vec<_> = others.map(|(case, here)| format!("{}: {here} here", case.what)).collect();
    assert_eq!(others, [""; 0]);
    if Command::new("java").arg("-version").output().is_err() {
        kurier_harness::say_skipped(
            "certificates_are_judged_as_java_does",
            "no java here; its verdicts were not asked for",
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (n, case) in cases.iter().enumerate() {
        let folder = folder.path().join(n.to_string());
        std::fs::create_dir(&folder).unwrap();
        for (name, text) in [("trust.pem", case.trust.as_str()), ("chain.pem", &case.chain), ("host", case.host)] {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/java/Verdicts.java");
    let args = ["--add-exports", "java.base/sun.security.util=ALL-UNNAMED", program, folder.path().to_str().unwrap()];
    let said = Command::new("java").args(args).output().unwrap();
    let verdicts = String::from_utf8(said.stdout).unwrap();
    assert_eq!(verdicts.lines().count(), cases.len(), "{}", String::from_utf8_lossy(&said.stderr));
    let others: Vec<_> = verdicts.lines().zip(&cases).filter(|(java, case)| *java != case.expected).collect();
    let others: Vec<_> = others.iter().map(|(java, case)| format!("{}: Java says {java}", case.what)).collect();
    assert_eq!(others, [""; 0]);
}

//! Stores by OpenSSL and keytool, old and new: those in `tests/stores`, and fresh ones where both programs are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::identity::Identity;
use super::stores::{self, StoreError, Stored};
use super::{ClientTls, ServerTls, pem};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores")
}

fn as_written(key: &str) -> String {
    key.to_owned()
}

/// Trusted certificates, and for each key how many certificates it has; keys are tried out.
fn told(stored: Result<Stored, StoreError>) -> String {
    let provider = rustls::crypto::ring::default_provider();
    let told = stored.and_then(|stored| {
        let trusted = stored.trusted.len();
        let chains: Vec<usize> = stored.keys.iter().map(|entry| entry.chain.len()).collect();
        if !stored.keys.is_empty() {
            Identity::new(stored.keys, &provider)?;
        }
        Ok(format!("trusts {trusted}, keys {chains:?}, hidden {}", stored.sealed))
    });
    told.unwrap_or_else(|error| error.to_string())
}

/// File, password of the store, password of the key, what comes of it.
const STORES: &[(&str, Option<&str>, Option<&str>, &str)] = &[
    ("openssl.p12", Some("storepass"), Some("storepass"), "trusts 0, keys [2], hidden 0"),
    ("openssl-legacy.p12", Some("storepass"), Some("storepass"), "trusts 0, keys [2], hidden 0"),
    ("openssl-sha512.p12", Some("storepass"), Some("storepass"), "trusts 0, keys [2], hidden 0"),
    ("openssl-clear.p12", Some("storepass"), Some("storepass"), "trusts 0, keys [2], hidden 0"),
    ("openssl-empty-password.p12", Some(""), Some(""), "trusts 0, keys [2], hidden 0"),
    ("openssl-legacy-empty-password.p12", Some(""), Some(""), "trusts 0, keys [2], hidden 0"),
    ("openssl-unmarked.p12", Some("storepass"), None, "trusts 0, keys [], hidden 0"),
    ("keytool.p12", Some("storepass"), Some("storepass"), "trusts 0, keys [2], hidden 0"),
    ("keytool-legacy.p12", Some("storepass"), Some("storepass"), "trusts 0, keys [2], hidden 0"),
    // Keys that keytool made itself are without their public half.
    ("keytool-ec.p12", Some("storepass"), Some("storepass"), "trusts 0, keys [1, 1], hidden 0"),
    ("keytool-ec.jks", Some("storepass"), Some("storepass"), "trusts 0, keys [1, 1], hidden 0"),
    ("key.jks", Some("storepass"), Some("keypass"), "trusts 0, keys [2], hidden 0"),
    ("key.jks", None, None, "trusts 0, keys [], hidden 1"),
    ("trust.p12", Some("storepass"), None, "trusts 1, keys [], hidden 0"),
    ("trust.p12", None, None, "trusts 0, keys [], hidden 1"),
    ("trust-no-password.p12", None, None, "trusts 1, keys [], hidden 0"),
    ("trust.jks", Some("storepass"), None, "trusts 1, keys [], hidden 0"),
    ("trust.jks", None, None, "trusts 1, keys [], hidden 0"),
    ("empty.p12", Some("storepass"), None, "trusts 0, keys [], hidden 0"),
    ("openssl.p12", Some("wrong"), Some("wrong"), "its password is wrong, or it was tampered with"),
    ("openssl-legacy.p12", Some("wrong"), Some("wrong"), "its password is wrong, or it was tampered with"),
    ("key.jks", Some("wrong"), Some("keypass"), "its password is wrong, or it was tampered with"),
    (
        "key.jks",
        Some("storepass"),
        Some("storepass"),
        "the password of its key `leaf` is wrong; it is in `ssl.key.password`, or that of the store if there is none",
    ),
    (
        "keytool.p12",
        Some("storepass"),
        Some("wrong"),
        "the password of its key `leaf` is wrong; it is in `ssl.key.password`, or that of the store if there is none",
    ),
    (
        "secret.jceks",
        Some("storepass"),
        None,
        "it is a JCEKS store; convert it with `keytool -importkeystore -deststoretype PKCS12`",
    ),
    ("plain.pem", Some("storepass"), None, "it is a PEM file; set its type to `PEM`"),
    ("make.sh", None, None, "it is damaged, or not what its name says"),
];

/// PEM file, password of the key, what comes of it.
const PEMS: &[(&str, Option<&str>, &str)] = &[
    ("plain.pem", None, "trusts 0, keys [2], hidden 0"),
    ("sec1.pem", None, "trusts 0, keys [2], hidden 0"),
    ("pkcs1.pem", None, "trusts 0, keys [1], hidden 0"),
    ("pbes2-aes.pem", Some("keypass"), "trusts 0, keys [1], hidden 0"),
    ("pbes2-3des.pem", Some("keypass"), "trusts 0, keys [1], hidden 0"),
    ("pbes2-sha512.pem", Some("keypass"), "trusts 0, keys [1], hidden 0"),
    ("pbe-3des.pem", Some("keypass"), "trusts 0, keys [1], hidden 0"),
    ("PBE-MD5-DES.pem", Some("keypass"), "trusts 0, keys [1], hidden 0"),
    ("PBE-SHA1-2DES.pem", Some("keypass"), "trusts 0, keys [1], hidden 0"),
    ("PBE-SHA1-RC2-128.pem", Some("keypass"), "trusts 0, keys [1], hidden 0"),
    ("PBE-SHA1-RC2-40.pem", Some("keypass"), "trusts 0, keys [1], hidden 0"),
    (
        "pbes2-aes.pem",
        Some("wrong"),
        "the password of its key `` is wrong; it is in `ssl.key.password`, or that of the store if there is none",
    ),
    (
        "PBE-MD5-DES.pem",
        Some("wrong"),
        "the password of its key `` is wrong; it is in `ssl.key.password`, or that of the store if there is none",
    ),
    ("pbes2-aes.pem", None, "its key is encrypted; set `ssl.key.password`"),
    ("plain.pem", Some("keypass"), "its key is not encrypted; leave `ssl.key.password` out"),
    (
        "old-encrypted.pem",
        Some("keypass"),
        "its key is encrypted in OpenSSL's old way; convert it with `openssl pkcs8 -topk8`",
    ),
    ("ca.pem", None, "there is no private key in it"),
    ("plain.key", None, "there is no certificate in it"),
];

fn check(folder: &Path) {
    for (name, password, key_password, expected) in STORES {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        assert_eq!(
            told(stores::read(&bytes, *password, *key_password)),
            *expected,
            "{name} {password:?} {key_password:?}"
        );
    }
    for (name, password, expected) in PEMS {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(told(stores::read_pem_keys(&text, *password)), *expected, "{name} {password:?}");
        // On one line, as it may stand in a properties file.
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !name.starts_with("old") {
            assert_eq!(told(pem::key_store(&line, &line, *password)), *expected, "{name} on a line");
        }
    }
}

#[test]
fn stores_of_every_age_are_read() {
    check(&folder());
}

#[test]
fn stores_of_this_machine_are_read() {
    let programs = ["keytool", "openssl"];
    if !programs.iter().all(|program| Command::new(program).arg("-help").output().is_ok()) {
        kurier_harness::say_skipped(
            "stores_of_this_machine_are_read",
            "no keytool or no openssl here; only the stores in tests/stores were read",
        );
        return;
    }
    let fresh = tempfile::tempdir().unwrap();
    let made = Command::new("sh").arg(folder().join("make.sh")).arg(fresh.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::copy(folder().join("make.sh"), fresh.path().join("make.sh")).unwrap();
    check(fresh.path());
}

/// Whatever is cut or changed, an answer comes.
#[test]
fn broken_stores_are_errors() {
    for (name, password, key_password, _) in STORES.iter().filter(|(_, password, ..)| *password == Some("storepass")) {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        for cut in (0..bytes.len()).step_by(7) {
            assert!(stores::read(&bytes[..cut], *password, *key_password).is_err(), "{name} cut at {cut}");
        }
        // Without its password nobody notices changes, and all of it is taken apart.
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x81;
            let _ = told(stores::read(&bytes, None, None));
        }
    }
}

fn properties(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(key, value)| ((*key).to_owned(), value.replace("{}", folder().to_str().unwrap()))).collect()
}

#[test]
fn settings_that_cannot_be_are_refused_in_javas_words() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("ssl.truststore.location", "{}/trust.p12"), ("ssl.truststore.password", "storepass")], ""),
        (&[("ssl.truststore.location", "{}/trust.jks")], ""),
        (&[("ssl.truststore.location", "{}/ca.pem"), ("ssl.truststore.type", "PEM")], ""),
        (
            &[("ssl.truststore.location", "{}/nothing")],
            "Failed to load SSL keystore {}/nothing of type JKS: cannot open it: No such file or directory (os error 2)",
        ),
        (
            &[("ssl.truststore.location", "{}/trust.p12"), ("ssl.truststore.type", "PKCS12")],
            "Failed to load SSL keystore {}/trust.p12 of type PKCS12: what it holds is encrypted; set its password",
        ),
        (
            &[("ssl.truststore.location", "{}/trust.p12"), ("ssl.truststore.password", "s3cret")],
            "Failed to load SSL keystore {}/trust.p12 of type JKS: its password is wrong, or it was tampered with",
        ),
        (
            &[("ssl.truststore.location", "{}/openssl-unmarked.p12"), ("ssl.truststore.password", "storepass")],
            "Failed to load SSL keystore {}/openssl-unmarked.p12 of type JKS: it has no trusted certificate; PKCS12 needs a mark on those, which \
             `keytool -importcert` and `openssl pkcs12 -jdktrust anyExtendedKeyUsage` write",
        ),
        (
            &[("ssl.truststore.password", "s3cret")],
            "SSL trust store is not specified, but trust store password is specified.",
        ),
        (
            &[("ssl.truststore.certificates", "s3cret")],
            "SSL trust store certs can be specified only for PEM, but trust store type is JKS.",
        ),
        (
            &[("ssl.truststore.certificates", "s3cret"), ("ssl.truststore.type", "PEM")],
            "Invalid PEM truststore configs: there is no certificate in it",
        ),
        (
            &[("ssl.keystore.location", "{}/openssl.p12")],
            "SSL key store is specified, but key store password is not specified.",
        ),
        (
            &[("ssl.keystore.location", "{}/trust.p12"), ("ssl.keystore.password", "storepass")],
            "Failed to load SSL keystore {}/trust.p12 of type JKS: there is no private key in it",
        ),
        (
            &[
                ("ssl.keystore.location", "{}/pbes2-aes.pem"),
                ("ssl.keystore.type", "PEM"),
                ("ssl.key.password", "s3cret"),
            ],
            "Failed to load PEM SSL keystore {}/pbes2-aes.pem: the password of its key `` is wrong; it is in `ssl.key.password`, or that of the store if \
             there is none",
        ),
        (
            &[("ssl.keystore.key", "s3cret"), ("ssl.keystore.type", "PEM")],
            "SSL private key is specified, but certificate chain is not specified.",
        ),
        (
            &[("ssl.truststore.type", "BCFKS"), ("ssl.truststore.location", "/x")],
            "Invalid value BCFKS for configuration ssl.truststore.type: Kurier reads stores of the types JKS, PKCS12 and PEM",
        ),
        (
            &[("ssl.enabled.protocols", "TLSv1.1,TLSv9")],
            "Invalid value TLSv9 for configuration ssl.enabled.protocols: Unsupported protocol; it must be TLSv1.2 or TLSv1.3\n\
             Invalid value TLSv1.1,TLSv9 for configuration ssl.enabled.protocols: one of TLSv1.2 and TLSv1.3 must be there; older versions are not safe",
        ),
        (
            &[("ssl.cipher.suites", "TLS_AES_256_GCM_SHA384"), ("ssl.enabled.protocols", "TLSv1.2")],
            "Invalid value TLSv1.2 for configuration ssl.enabled.protocols: no suite of `ssl.cipher.suites` belongs to these versions",
        ),
        (
            &[("ssl.endpoint.identification.algorithm", "foo")],
            "Invalid value foo for configuration ssl.endpoint.identification.algorithm: Unknown identification algorithm; it must be https, LDAPS or empty",
        ),
        (
            &[("ssl.engine.factory.class", "dev.x.Factory"), ("ssl.provider", "BCJSSE")],
            "Invalid value dev.x.Factory for configuration ssl.engine.factory.class: Kurier has its own TLS and knows \
             org.apache.kafka.common.security.ssl.DefaultSslEngineFactory only\n\
             Invalid value BCJSSE for configuration ssl.provider: Kurier has its own TLS and knows SunJSSE only",
        ),
    ];
    for (list, expected) in cases {
        let mut properties = properties(list);
        if !properties.keys().any(|key| key.starts_with("ssl.truststore.")) {
            properties
                .insert("ssl.truststore.location".to_owned(), folder().join("trust.jks").to_str().unwrap().to_owned());
        }
        let answer = ClientTls::read(&properties, &as_written);
        let said = format!("{answer:?}");
        assert!(!said.contains("s3cret") && !said.contains("storepass"), "{said}");
        let problems = answer.err().unwrap_or_default().join("\n");
        assert_eq!(problems, expected.replace("{}", folder().to_str().unwrap()), "{list:?}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let key = std::fs::read_to_string(folder().join("plain.key")).unwrap();
    let chain = std::fs::read_to_string(folder().join("leaf.pem")).unwrap();
    let properties = properties(&[
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.key", &key),
        ("ssl.keystore.certificate.chain", &chain),
        ("ssl.truststore.location", "{}/trust.jks"),
        ("ssl.truststore.password", "storepass"),
        ("ssl.client.auth", "required"),
    ]);
    let client = ClientTls::read(&properties, &as_written).unwrap();
    let server = ServerTls::read(&properties, &as_written).unwrap();
    let said = format!("{client:?} {server:?} {:?} {:?}", client.config, server.config());
    let body = key.lines().nth(1).unwrap();
    assert!(!said.contains("storepass") && !said.contains(body) && !said.contains(&body[20..40]), "{said}");
}

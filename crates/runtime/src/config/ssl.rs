//! The TLS settings that every Kafka client has: Java's `ConfigDef.withClientSslSupport`.

use kurier_api::config::{ConfigDef, Importance, Key, Type, Validator};

/// Adds them.
pub fn define(def: ConfigDef) -> ConfigDef {
    let key = |name: &str, kind, importance, doc: &str| Key::new(name, kind).importance(importance).doc(doc);
    let medium = |name: &str, text: &str, doc: &str| key(name, Type::String, Importance::Medium, doc).default(text);
    let low = |name: &str, text: &str, doc: &str| key(name, Type::String, Importance::Low, doc).default(text);
    let file = |name: &str, doc: &str| key(name, Type::String, Importance::High, doc).default_null();
    let secret = |name: &str, doc: &str| key(name, Type::Password, Importance::High, doc).default_null();
    let distinct = || Validator::ValidList { of: Vec::new(), empty: true, null: false };
    let keys = [
        medium("ssl.protocol", "TLSv1.3", "The version of TLS for connections."),
        key("ssl.provider", Type::String, Importance::Medium, "Java's security provider.").default_null(),
        key("ssl.cipher.suites", Type::List, Importance::Low, "Which cipher suites may be used; empty for all.")
            .default("")
            .validator(distinct()),
        key("ssl.enabled.protocols", Type::List, Importance::Medium, "Which versions of TLS may be used.")
            .default("TLSv1.2,TLSv1.3")
            .validator(distinct()),
        medium("ssl.keystore.type", "JKS", "Format of the key store."),
        file("ssl.keystore.location", "File with the client's key, where brokers ask for one."),
        secret("ssl.keystore.password", "Password of the key store."),
        secret("ssl.key.password", "Password of the key in the key store."),
        secret("ssl.keystore.key", "The client's key itself, as PEM."),
        secret("ssl.keystore.certificate.chain", "The client's certificates, as PEM."),
        secret("ssl.truststore.certificates", "The certificates that are trusted, as PEM."),
        medium("ssl.truststore.type", "JKS", "Format of the trust store."),
        file("ssl.truststore.location", "File with the certificates that are trusted."),
        secret("ssl.truststore.password", "Password of the trust store."),
        low("ssl.keymanager.algorithm", "SunX509", "Java's algorithm of key managers."),
        low("ssl.trustmanager.algorithm", "PKIX", "Java's algorithm of trust managers."),
        low("ssl.endpoint.identification.algorithm", "https", "How a broker's name is checked; empty for not at all."),
        key("ssl.secure.random.implementation", Type::String, Importance::Low, "Java's source of random numbers.")
            .default_null(),
        key("ssl.engine.factory.class", Type::Class, Importance::Low, "Java's class that makes TLS engines.")
            .default_null(),
    ];
    keys.into_iter().fold(def, ConfigDef::define)
}

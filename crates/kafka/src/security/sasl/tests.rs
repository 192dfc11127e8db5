//! Vectors of the RFCs, client against server, hostile input.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;

use super::oauthbearer::jwt::{self, ClaimNames, UnsecuredValidator};
use super::oauthbearer::{InitialResponse, Token};
use super::scram::{MIN_ITERATIONS, ScramClient, ScramCredential, ScramHash, ScramServer};
use super::server::{ServerExchange, Users};
use super::*;
use crate::security::jaas::JaasEntry;

const NOW: i64 = 1_700_000_000_000;

fn credentials(user: &str, password: &str) -> Credentials {
    Credentials { user: user.to_owned(), password: password.into() }
}

fn scram_credential(hash: ScramHash, password: &str, salt: &[u8]) -> ScramCredential {
    let iterations = NonZeroU32::new(MIN_ITERATIONS).unwrap();
    let salted = hash.salted_password(password, salt, iterations);
    ScramCredential::from_salted(hash, &salted, salt.to_vec(), MIN_ITERATIONS)
}

/// One user, of whom either the password or a SCRAM credential is known.
struct One<'a> {
    user: &'a str,
    password: &'a str,
    scram: Option<ScramCredential>,
}

impl Users for One<'_> {
    fn password(&self, user: &str) -> Option<&str> {
        (user == self.user).then_some(self.password)
    }

    fn scram(&self, _hash: ScramHash, user: &str) -> Option<ScramCredential> {
        self.scram.clone().filter(|_| user == self.user)
    }
}

/// Lets both sides speak until one fails or both are content; returns whom the server believes to see.
fn converse(client: &mut ClientExchange, server: &mut ServerExchange, users: &dyn Users) -> Result<String, SaslError> {
    let mut said = client.respond(b"")?.expect("clients begin");
    for _ in 0..5 {
        let answer = server.evaluate(&said, users, NOW)?;
        let reply = if client.is_complete() { None } else { client.respond(&answer)? };
        match reply {
            Some(next) => said = next,
            None => break,
        }
    }
    assert!(client.is_complete());
    Ok(server.user().expect("a server that does not know whom it let in").to_owned())
}

#[test]
fn scram_is_that_of_the_rfc() {
    // RFC 7677, section 3.
    let mut client =
        ScramClient::new(ScramHash::Sha256, credentials("user", "pencil"), false, "rOprNGfwEbeRWgbNEkqO".to_owned());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let first = client.respond(b"").unwrap().unwrap();
    assert_eq!(text(first.clone()), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let server_first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    let last = client.respond(server_first.as_bytes()).unwrap().unwrap();
    let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let expected = format!("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p={proof}");
    assert_eq!(text(last.clone()), expected);
    assert!(!client.is_complete());
    let server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let find = |user: &str| (user == "user").then(|| scram_credential(ScramHash::Sha256, "pencil", &salt));
    let mut server = ScramServer::new(ScramHash::Sha256, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned());
    assert_eq!(text(server.evaluate(&first, find).unwrap()), server_first);
    assert_eq!(server.user(), None);
    assert_eq!(text(server.evaluate(&last, find).unwrap()), server_final);
    assert_eq!(server.user(), Some("user"));

    assert_eq!(client.respond(server_final.as_bytes()).unwrap(), None);
    assert!(client.is_complete());
}

#[test]
fn a_client_believes_no_server_that_does_not_know_the_password() {
    let first = "r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    // What the server says first, then last, and what the client makes of it.
    let cases = [
        ("r=xbcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "", "does not start with client nonce"),
        (
            "r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095",
            "",
            "Requested iterations 4095 is less than the minimum 4096 for SCRAM_SHA_256",
        ),
        ("r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000", "", "more than the 1000000"),
        ("r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999", "", "invalid iterations"),
        ("r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0", "", "invalid iterations"),
        ("r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=+4096", "", "first message format"),
        ("r=abcdef,s=?,i=4096", "", "first message format"),
        ("r=abcdef,i=4096", "", "first message format"),
        ("", "", "first message format"),
        (first, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "Invalid server signature"),
        (first, "v=", "final message format"),
        (first, "v=?", "final message format"),
        (first, "", "final message format"),
        (first, "e=invalid-proof", "failed with error: invalid-proof"),
        (first, "e=a=b", "final message format"),
    ];
    for (first, last, expected) in cases {
        let mut client = ScramClient::new(ScramHash::Sha256, credentials("user", "pencil"), false, "abc".to_owned());
        client.respond(b"").unwrap();
        let mut outcome = client.respond(first.as_bytes());
        if outcome.is_ok() {
            outcome = client.respond(last.as_bytes());
        }
        let error = outcome.expect_err(expected).to_string();
        assert!(error.contains(expected) && !error.contains("pencil"), "{error}, not {expected}");
        assert!(!client.is_complete() && client.respond(b"").is_err());
    }
    let mut token = ScramClient::new(ScramHash::Sha512, credentials("t=1,2", "x"), true, "abc".to_owned());
    let first = token.respond(b"").unwrap().unwrap();
    assert_eq!(String::from_utf8(first).unwrap(), "n,,n=t=3D1=2C2,r=abc,tokenauth=true");
}

#[test]
fn a_server_lets_nobody_in_who_does_not_prove_it() {
    let users = One { user: "ada", password: "lovelace", scram: None };
    let cases: [(&[u8], &str); 8] = [
        (b"\0ada\0lovelace", ""),
        (b"ada\0ada\0lovelace", ""),
        (
            b"bob\0ada\0lovelace",
            "Authentication failed: Client requested an authorization id that is different from username",
        ),
        (b"\0ada\0wrong", "Authentication failed: Invalid username or password"),
        (b"\0bob\0lovelace", "Authentication failed: Invalid username or password"),
        (b"\0\0lovelace", "Authentication failed: username not specified"),
        (b"\0ada\0", "Authentication failed: password not specified"),
        (b"\0ada", "Invalid SASL/PLAIN response: expected 3 tokens, got 2"),
    ];
    for (message, expected) in cases {
        let mut server = ServerExchange::new(Mechanism::Plain, String::new(), UnsecuredValidator::default());
        match server.evaluate(message, &users, NOW) {
            Ok(answer) => assert_eq!((answer.as_slice(), server.user(), expected), (&b""[..], Some("ada"), "")),
            Err(error) => assert_eq!((error, server.user()), (SaslError::Denied(expected.to_owned()), None)),
        }
    }

    let credential = scram_credential(ScramHash::Sha256, "lovelace", b"salt");
    let users = One { scram: Some(credential), ..users };
    let cases = [
        ("n,,n=bob,r=abc", "Invalid user credentials"),
        ("n,a=bob,n=ada,r=abc", "authorization id that is different"),
        ("n,,n=ada,r=abc,tokenauth=true", "no delegation tokens"),
        ("n,,n=a=da,r=abc", "first message format"),
        ("p=tls,,n=ada,r=abc", "first message format"),
        ("n,,n=ada", "first message format"),
        ("n,,n=ada,r=", "first message format"),
        ("n,,n=ada,r=a b", "first message format"),
        ("n,,n=äda,r=abc", "first message format"),
    ];
    for (message, expected) in cases {
        let mut server =
            ServerExchange::new(Mechanism::Scram(ScramHash::Sha256), "xyz".to_owned(), UnsecuredValidator::default());
        let error = server.evaluate(message.as_bytes(), &users, NOW).expect_err(message).to_string();
        assert!(error.contains(expected), "{message}: {error}");
        assert!(server.evaluate(b"n,,n=ada,r=abc", &users, NOW).is_err(), "a failed exchange stays failed");
    }
    for (proof, expected) in [("AAAA", "Invalid client credentials"), ("?", "final message format")] {
        let mut server =
            ServerExchange::new(Mechanism::Scram(ScramHash::Sha256), "xyz".to_owned(), UnsecuredValidator::default());
        server.evaluate(b"n,,n=ada,r=abc", &users, NOW).unwrap();
        let error = server.evaluate(format!("c=biws,r=abcxyz,p={proof}").as_bytes(), &users, NOW).unwrap_err();
        assert!(error.to_string().contains(expected) && server.user().is_none(), "{error}");
    }
}

fn unsecured(options: &str) -> Result<Option<Token>, String> {
    let text = format!("org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required {options};");
    jwt::unsecured(&JaasEntry::parse(&text).unwrap(), NOW)
}

#[test]
fn unsigned_tokens_are_made_from_options() {
    assert_eq!(unsecured(""), Ok(None));
    let token = unsecured(
        "unsecuredLoginStringClaim_sub=\"ada\" unsecuredLoginListClaim_scope=\"|a|b\" unsecuredLoginLifetimeSeconds=\"60\" \
         unsecuredLoginNumberClaim_n=\"5\" unsecuredLoginExtension_traceId=\"123\"",
    );
    let token = token.unwrap().unwrap();
    assert_eq!((token.principal.as_str(), token.start_ms, token.expires_ms), ("ada", Some(NOW), NOW + 60_000));
    assert_eq!(token.extensions, [("traceId".to_owned(), "123".to_owned())]);
    let refusals = [
        ("unsecuredLoginExtension_a=\"b\"", "Extensions provided in login context without a token"),
        ("unsecuredLoginStringClaim_x=\"b\"", "No principal name in JWT claim: sub"),
        ("unsecuredLoginStringClaim_iat=\"b\"", "Cannot explicitly set the 'iat' claim"),
        ("unsecuredLoginStringClaim_sub=\"a\" unsecuredLoginLifetimeSeconds=\"x\"", "For input string: \"x\""),
        ("unsecuredLoginStringClaim_sub=\"a\" unsecuredLoginExtension_auth=\"x\"", "Extension name auth is invalid"),
        (
            "unsecuredLoginStringClaim_sub=\"a\" unsecuredLoginExtension_a=\"\"",
            "Extension value for extension a is invalid",
        ),
    ];
    for (options, expected) in refusals {
        assert_eq!(unsecured(options), Err(expected.to_owned()), "{options}");
    }
}

#[test]
fn unsigned_tokens_are_checked() {
    let entry = |options: &str| JaasEntry::parse(&format!("m required {options};")).unwrap();
    let token =
        unsecured("unsecuredLoginStringClaim_sub=\"ada\" unsecuredLoginListClaim_scope=\",a,b\"").unwrap().unwrap();
    // Options of the server, milliseconds after the token was made, what becomes of it.
    let cases = [
        ("", 0, ""),
        ("", 3_599_999, ""),
        ("", 3_600_000, "on or after the Expiration Time"),
        ("unsecuredValidatorAllowableClockSkewMs=\"1000\"", 3_600_000, ""),
        ("", -1, "Issued At value was after"),
        ("unsecuredValidatorRequiredScope=\"b a\"", 0, ""),
        ("unsecuredValidatorRequiredScope=\"c\"", 0, "missing a required scope (c)"),
        ("unsecuredValidatorPrincipalClaimName=\"who\"", 0, "No principal name"),
    ];
    for (options, after, expected) in cases {
        let validator = UnsecuredValidator::new(&entry(options)).unwrap();
        match validator.validate(&token.value, NOW + after) {
            Ok(found) => assert_eq!((found.principal.as_str(), expected), ("ada", ""), "{options} {after}"),
            Err(refusal) => {
                assert!(!expected.is_empty() && refusal.why.contains(expected), "{options} {after} {refusal:?}")
            }
        }
    }
    for value in ["", "...", "a.b.c", "e30.e30.", "e30.e30.x", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJub25lIn0.W10."] {
        assert!(UnsecuredValidator::default().validate(&value.into(), NOW).is_err(), "{value}");
    }
}

#[test]
fn a_client_looks_into_the_token_that_it_sends() {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as URL;
    let cases = [
        (r#"{"sub":"ada","exp":1700000060,"iat":1700000000.9,"scope":["a","b"]}"#, ""),
        (r#"{"sub":"ada","iat":1700000000}"#, "exp value must be non-null"),
        (r#"{"sub":"ada","exp":-1}"#, "exp value must be non-negative"),
        (r#"{"sub":"ada","exp":"x"}"#, "exp value must be non-null"),
        (r#"{"exp":1}"#, "sub value must be non-null"),
        (r#"{"sub":" ","exp":1}"#, "sub value must be non-empty"),
        (r#"{"sub":"ada","exp":1,"scope":["a","a"]}"#, "scope value must not contain duplicates - a already present"),
        (r#"{"#, "Could not validate the access token: malformed JSON"),
    ];
    for (claims, expected) in cases {
        let value = format!("{}.{}.sig", URL.encode("{}"), URL.encode(claims));
        match jwt::inspect(value.into(), &ClaimNames::default()) {
            Ok(token) => {
                assert_eq!((token.principal.as_str(), expected), ("ada", ""));
                assert_eq!((token.start_ms, token.expires_ms), (Some(NOW), NOW + 60_000));
            }
            Err(why) => assert!(!expected.is_empty() && why.contains(expected), "{claims}: {why}"),
        }
    }
    assert!(
        jwt::inspect("abc".into(), &ClaimNames::default()).unwrap_err().contains("Malformed JWT provided (1 parts)")
    );
}

#[test]
fn a_refused_token_is_refused_in_two_steps() {
    let token =
        unsecured("unsecuredLoginStringClaim_sub=\"ada\" unsecuredLoginLifetimeSeconds=\"-5\"").unwrap().unwrap();
    let mut client = ClientExchange::bearer(&token);
    let mut server = ServerExchange::new(Mechanism::OauthBearer, String::new(), UnsecuredValidator::default());
    let users = One { user: "", password: "", scram: None };
    let error = converse(&mut client, &mut server, &users).unwrap_err();
    assert_eq!(error, SaslError::Denied("{\"status\":\"invalid_token\"}".to_owned()));
}

#[test]
fn a_first_message_of_oauthbearer_is_read() {
    let parse = |message: &str| InitialResponse::parse(message.as_bytes());
    let found = parse("n,a=ada,\u{1}auth=BEARER  a.b=\u{1}x=y z\u{1}\u{1}").unwrap();
    assert_eq!((found.authorization.as_str(), found.token.reveal()), ("ada", "a.b="));
    assert_eq!(found.extensions, [("x".to_owned(), "y z".to_owned())]);
    for message in [
        "",
        "n,,",
        "n,,\u{1}",
        "n,,\u{1}\u{1}",
        "n,,\u{1}auth=Bearer a\u{1}",
        "y,,\u{1}auth=Bearer a\u{1}\u{1}",
        "n,,\u{1}auth=Basic a\u{1}\u{1}",
        "n,,\u{1}auth=Bearer \u{1}\u{1}",
        "n,,\u{1}auth=Bearer a=b\u{1}\u{1}",
        "n,,\u{1}auth=Bearer a\u{1}1=b\u{1}\u{1}",
    ] {
        assert!(parse(message).is_err(), "{message:?}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let token = unsecured("unsecuredLoginStringClaim_sub=\"ada\"").unwrap().unwrap();
    let mut scram = ClientExchange::scram(ScramHash::Sha256, credentials("ada", "pass-word"), false, "abc".to_owned());
    scram.respond(b"").unwrap();
    scram.respond(b"r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").unwrap();
    let shown = [
        format!("{:?}", ClientExchange::plain(credentials("ada", "pass-word"))),
        format!("{scram:?}"),
        format!("{:?}", ClientExchange::bearer(&token)),
        format!("{token:?}"),
        format!("{:?}", JaasEntry::parse("m required password=\"pass-word\";").unwrap()),
        format!("{:?}", scram_credential(ScramHash::Sha256, "pass-word", b"salt")),
    ];
    for text in shown {
        assert!(!text.contains("pass-word") && !text.contains(token.value.reveal()), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_sides_agree_exactly_when_the_password_is_right(
        user in "[ -~]{1,12}",
        password in "\\PC{1,12}",
        other in "\\PC{1,12}",
        salt in proptest::collection::vec(any::<u8>(), 1..40),
        wide in any::<bool>(),
    ) {
        let hash = if wide { ScramHash::Sha512 } else { ScramHash::Sha256 };
        for known in [&password, &other] {
            let users = One { user: &user, password: known, scram: Some(scram_credential(hash, known, &salt)) };
            let mut clients = [
                (Mechanism::Plain, ClientExchange::plain(credentials(&user, &password))),
                (
                    Mechanism::Scram(hash),
                    ClientExchange::scram(hash, credentials(&user, &password), false, "client".to_owned()),
                ),
            ];
            for (mechanism, client) in &mut clients {
                let mut server = ServerExchange::new(*mechanism, "server".to_owned(), UnsecuredValidator::default());
                let outcome = converse(client, &mut server, &users);
                prop_assert_eq!(outcome.is_ok(), *known == password, "{} {:?}", mechanism, outcome);
                if let Ok(found) = outcome {
                    prop_assert_eq!(&found, &user);
                }
            }
        }
    }

    #[test]
    fn whatever_the_other_side_says_is_survived(said in proptest::collection::vec(any::<u8>(), 0..200), text in "[nrsivecpa=,+/0-9A-Za-z\u{1}. ]{0,80}") {
        let users = One { user: "u", password: "p", scram: None };
        let token = unsecured("unsecuredLoginStringClaim_sub=\"ada\"").unwrap().unwrap();
        for said in [said.as_slice(), text.as_bytes()] {
            for mechanism in Mechanism::ALL {
                let mut server = ServerExchange::new(mechanism, "server".to_owned(), UnsecuredValidator::default());
                let _ = server.evaluate(said, &users, NOW);
                let mut client = match mechanism {
                    Mechanism::Plain => ClientExchange::plain(credentials("u", "p")),
                    Mechanism::Scram(hash) => ClientExchange::scram(hash, credentials("u", "p"), false, "r".to_owned()),
                    Mechanism::OauthBearer => ClientExchange::bearer(&token),
                };
                client.respond(b"").unwrap();
                let _ = client.respond(said);
                let _ = client.respond(said);
            }
            let _ = jwt::inspect(Secret::from(String::from_utf8_lossy(said).into_owned()), &ClaimNames::default());
        }
        let _ = JaasEntry::parse(&text);
    }
}

//! JAAS texts, read by Kurier and by Java's own parser: the same entries, the same refusals.
#![allow(clippy::disallowed_methods, reason = "driver: starts Java")]

use kurier_harness::skip_without_java;
use kurier_kafka::security::jaas::JaasEntry;

/// Reads texts in hexadecimal, one a line; prints what Java makes of each, in hexadecimal where it is not ours to choose the characters.
const JAVA: &str = r#"
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.common.config.types.Password;
import org.apache.kafka.common.security.JaasContext;

public class Jaas {
    static String hex(String text) {
        return HexFormat.of().formatHex(text.getBytes(StandardCharsets.UTF_8));
    }

    public static void main(String[] args) {
        Scanner lines = new Scanner(System.in);
        while (lines.hasNextLine()) {
            String text = new String(HexFormat.of().parseHex(lines.nextLine().substring(1)), StandardCharsets.UTF_8);
            StringBuilder out = new StringBuilder();
            try {
                JaasContext context = JaasContext.loadClientContext(Map.of("sasl.jaas.config", new Password(text)));
                var entry = context.configurationEntries().get(0);
                out.append("entry ").append(hex(entry.getLoginModuleName()));
                TreeMap<String, String> options = new TreeMap<>();
                for (var option : entry.getOptions().entrySet())
                    options.put(hex(String.valueOf(option.getKey())), hex(String.valueOf(option.getValue())));
                options.forEach((key, value) -> out.append(' ').append(key).append('=').append(value));
            } catch (Exception e) {
                out.append("error ").append(hex(String.valueOf(e.getMessage())));
            }
            System.out.println(out);
        }
    }
}
"#;

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn ours(text: &str) -> String {
    match JaasEntry::parse(text) {
        Ok(entry) => {
            let mut options: Vec<_> =
                entry.options().map(|(key, value)| format!(" {}={}", hex(key), hex(value.reveal()))).collect();
            options.sort();
            format!("entry {}{}", hex(&entry.module), options.concat())
        }
        Err(why) => format!("error {}", hex(&why)),
    }
}

/// Texts from a seed, of the pieces that matter to the tokenizer.
fn made_up(count: usize) -> Vec<String> {
    const PIECES: [&str; 40] = [
        "a.b.Module",
        "required",
        "REQUISITE",
        "Optional",
        " ",
        " ",
        " ",
        "\n",
        "\r",
        "\t",
        ";",
        ";",
        "=",
        "=",
        "user",
        "name",
        "-",
        "1",
        "2.5",
        ".",
        "\"",
        "'",
        "\"x y\"",
        "'q\"r'",
        "\"\\n\\t\\\\\\\"\"",
        "\"\\101\\7\\400\\1234\"",
        "/",
        "//",
        "/*",
        "*/",
        "#",
        ",",
        "{",
        "ä",
        "€",
        "_",
        "$",
        "\\",
        "\u{7f}",
        "\u{1}",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut chance = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let mut texts = Vec::new();
    for _ in 0..count {
        // Half of them begin well, or else nearly all would fail at the flag.
        let mut text = String::from(if chance(2) == 0 { "m required " } else { "" });
        for _ in 0..chance(6) {
            text.push_str(if chance(3) == 0 { " key=" } else { "" });
            text.push_str(PIECES[chance(PIECES.len())]);
        }
        if chance(3) > 0 {
            text.push(';');
        }
        texts.push(text);
    }
    texts
}

#[test]
fn jaas_texts_mean_what_they_mean_to_java() {
    let Some(java) = skip_without_java("jaas_texts_mean_what_they_mean_to_java") else { return };
    let known = [
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"ada\" password=\"a;b=c\";",
        "org.apache.kafka.common.security.scram.ScramLoginModule REQUIRED username=ada password='x' tokenauth=true;",
        "m required a=1;",
        "m required a=-;",
        "m required a=-x;",
        "m required a=\"unterminated",
        "m required a=\"ends with \\",
        "m required; n optional b=c;",
        "com.sun.security.auth.module.JndiLoginModule required;",
        "com.sun.security.auth.module.LdapLoginModule required a=b;",
        "",
    ];
    let mut texts: Vec<String> = known.into_iter().map(str::to_owned).collect();
    texts.extend(made_up(3_000));
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("Jaas.java");
    std::fs::write(&source, JAVA).unwrap();
    let input: String = texts.iter().map(|text| format!("x{}\n", hex(text))).collect();
    let output = java.run(source.to_str().unwrap(), &[], input.as_bytes()).unwrap();
    let theirs: Vec<&str> = output.lines().collect();
    assert_eq!(theirs.len(), texts.len());
    let mut entries = 0;
    for (text, theirs) in texts.iter().zip(theirs) {
        // Java's exception for a login module without a name has no words, and one that is not allowed is by a system property.
        let nameless = format!("error {}", hex("Login module not specified in JAAS config"));
        let theirs = theirs.replace(&format!("error {}", hex("null")), &nameless);
        let allowed = hex(" is not allowed.");
        let theirs = theirs.find(&allowed).map_or(theirs.as_str(), |at| &theirs[..at + allowed.len()]);
        assert_eq!(ours(text), theirs, "{text:?}");
        entries += usize::from(theirs.starts_with("entry"));
    }
    assert!(entries > 100, "only {entries} texts meant anything");
}
